/** What a person can set on the page: the values at the start, their limits, and how they reach the renderer. */

/** @typedef {"soft" | "ellipsoids" | "centers"} LookKind */
/**
 * @typedef {{look: LookKind, opacity: number, size: number, degree: number, deviations: number, points: number,
 *   background: string, exposure: number, antialiased: boolean, cameras: boolean, grid: boolean, box: boolean,
 *   statistics: boolean}} Settings
 *   opacity: 0 to 1; size: times; degree: of spherical harmonics; deviations: radius of an ellipsoid in standard
 *   deviations; points: size of a center, pixels; background: #rrggbb; exposure: stops
 */

/** @type {Record<LookKind, string>} */
export const LOOKS = { soft: "Soft splats", ellipsoids: "Ellipsoids", centers: "Centers" };

/** Smallest, largest, step. @type {Record<string, [number, number, number]>} */
export const LIMITS = {
  opacity: [0, 1, 0.01],
  size: [0.05, 2, 0.05],
  degree: [0, 3, 1],
  deviations: [0.5, 3, 0.1],
  points: [1, 12, 1],
  exposure: [-4, 4, 0.25],
};

/** @type {Settings} */
export const SETTINGS = {
  look: "soft",
  opacity: 1,
  size: 1,
  degree: 3,
  deviations: 1.5,
  points: 3,
  background: "#000000",
  exposure: 0,
  antialiased: false,
  cameras: false,
  grid: false,
  box: false,
  statistics: false,
};

/**
 * The settings a page asks for.
 * @param {{background?: number[], antialiased?: boolean}} page
 * @returns {Settings}
 */
export function settingsOf(page) {
  const background = page.background ? hexColor(page.background) : SETTINGS.background;
  return { ...SETTINGS, background, antialiased: page.antialiased ?? SETTINGS.antialiased };
}

/**
 * The part of the settings that the renderer draws by; overlays are the page's own.
 * @param {Settings} settings
 */
export function lookOf(settings) {
  return {
    kind: settings.look,
    opacity: settings.opacity,
    size: settings.size,
    degree: settings.degree,
    deviations: settings.deviations,
    background: colorOf(settings.background),
    exposure: settings.exposure,
    antialiased: settings.antialiased,
    pointSize: settings.points,
  };
}

/**
 * A value as a person or a link gave it, made valid; null where nothing valid is meant.
 * @param {string} name of a setting
 * @param {string} text
 * @returns {string | number | boolean | null}
 */
export function readSetting(name, text) {
  const usual = SETTINGS[/** @type {keyof Settings} */ (name)];
  if (name === "look") return Object.hasOwn(LOOKS, text) ? text : null;
  if (name === "background") return /^#?[0-9a-f]{6}$/i.test(text) ? `#${text.replace("#", "").toLowerCase()}` : null;
  if (typeof usual === "boolean") return text === "1" ? true : text === "0" ? false : null;
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) return null;
  const [low, high, step] = LIMITS[name];
  const near = Math.round((Math.min(high, Math.max(low, value)) - low) / step) * step + low;
  return Number(near.toFixed(4)); // 0.1 * 3 is 0.3
}

/**
 * @param {number[]} color [r, g, b] in [0, 1]
 * @returns {string} #rrggbb
 */
export function hexColor(color) {
  const bytes = color.slice(0, 3).map((c) => Math.round(255 * Math.min(1, Math.max(0, c))));
  return `#${bytes.map((b) => b.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * @param {string} hex #rrggbb
 * @returns {number[]} [r, g, b] in [0, 1]
 */
export function colorOf(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16) / 255);
}
