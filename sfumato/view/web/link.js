/** A view and the settings that differ from the page's, to the part of an address behind #, and back. */

import { axesOf, lookAt, positionOf } from "./camera.js";
import { SETTINGS, readSetting } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./motion.js").Pose} Pose */

/**
 * `at=1,2,3&to=0,0,0&up=0,-1,0&focal=500&frame=640x480&look=centers`: where the camera is, the point it turns around,
 * which way is up in the picture, its lens in pixels, then settings.
 * @param {Pose} pose
 * @param {Settings} settings
 * @param {Settings} usual what the page shows without a link
 */
export function writeLink({ camera, distance }, settings, usual) {
  const { down, forward } = axesOf(camera);
  const at = positionOf(camera);
  const [fx, fy, cx, cy] = camera.K;
  const { width, height } = camera;
  const far = Math.max(...at.map(Math.abs)) / distance;
  const digits = Math.min(15, 6 + Math.max(0, Math.ceil(Math.log10(far)))); // the direction is the difference of two places
  /** @type {[string, string][]} */
  const parts = [
    ["at", linkNumbers(at, digits)],
    ["to", linkNumbers([0, 1, 2].map((i) => at[i] + distance * forward[i]), digits)],
    ["up", linkNumbers([0, 1, 2].map((i) => -down[i]))],
    ["focal", linkNumbers(Math.abs(fx - fy) > 1e-4 * fx ? [fx, fy] : [fx])],
    ["frame", `${width}x${height}`],
  ];
  if (Math.hypot(cx - width / 2, cy - height / 2) > 1e-4 * width) parts.push(["center", linkNumbers([cx, cy])]);
  for (const [name, value] of Object.entries(settings)) {
    if (value === usual[/** @type {keyof Settings} */ (name)]) continue;
    parts.push([name, typeof value === "boolean" ? String(Number(value)) : String(value).replace("#", "")]);
  }
  return parts.map(([name, value]) => `${name}=${value}`).join("&");
}

/**
 * What a link says; parts that are missing or make no sense are left out, and a camera is whole or null.
 * @param {string} hash with or without #
 * @returns {{pose: Pose | null, settings: Partial<Settings>}}
 */
export function readLink(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {Record<string, string | number | boolean>} */
  const settings = {};
  for (const name of Object.keys(SETTINGS)) {
    const value = readSetting(name, parts.get(name) ?? "");
    if (value !== null) settings[name] = value;
  }
  return { pose: linkPose(parts), settings: /** @type {Partial<Settings>} */ (settings) };
}

/**
 * @param {URLSearchParams} parts
 * @returns {Pose | null}
 */
function linkPose(parts) {
  const [at, to, up] = ["at", "to", "up"].map((name) => linkList(parts.get(name), 3));
  const focal = linkList(parts.get("focal"), 2) ?? linkList(parts.get("focal"), 1);
  const frame = linkList((parts.get("frame") ?? "").replace("x", ","), 2);
  if (!at || !to || !up || !focal || !frame || Math.min(...focal, ...frame) <= 0) return null;
  const distance = Math.hypot(to[0] - at[0], to[1] - at[1], to[2] - at[2]);
  const camera = lookAt(at, to, up, focal[0], frame[0], frame[1]);
  const center = linkList(parts.get("center"), 2) ?? [frame[0] / 2, frame[1] / 2];
  const K = /** @type {[number, number, number, number]} */ ([focal[0], focal[1] ?? focal[0], center[0], center[1]]);
  return camera.viewmat.every(Number.isFinite) && distance > 0 ? { camera: { ...camera, K }, distance } : null;
}

/**
 * @param {string | null} text numbers with commas
 * @param {number} count
 * @returns {number[] | null}
 */
function linkList(text, count) {
  const numbers = (text ?? "").split(",").map((word) => (word.trim() === "" ? NaN : Number(word)));
  return numbers.length === count && numbers.every(Number.isFinite) ? numbers : null;
}

/** @param {number[]} values @param {number} [digits] that count */
function linkNumbers(values, digits = 6) {
  return values.map((value) => String(Number(value.toPrecision(digits)))).join(",");
}
