/** How a view moves: turning, shifting, zooming, walking and flying, each from a pose to a new pose. */

import { axesOf, cameraFrom, fitted, lookAt, positionOf, projected, rayThrough } from "./camera.js";
import { add, along, cross, dot, lengthOf, matrixFromQuaternion, mixed, normalized, quaternionFromMatrix, scaled, slerp, subtract, turned } from "./vector.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./vector.js").Vector} Vector */
/** @typedef {import("./vector.js").Numbers} Numbers */
/** @typedef {{camera: Camera, distance: number}} Pose distance: world units from the camera to what it turns around */
/** @typedef {{low: Numbers, high: Numbers, middle: Numbers, radius: number}} Bounds */

const POLE = 0.03; // radians: closer to straight up or down no turning goes, so nothing flips over

/**
 * What the view turns around: the point in the middle of the view at its distance.
 * @param {Pose} pose
 * @returns {Vector}
 */
export function pivotOf({ camera, distance: away }) {
  return along(positionOf(camera), away, axesOf(camera).forward);
}

/**
 * Turn around the pivot: positive yaw shows more of the right side, positive pitch more from above.
 * @param {Pose} pose
 * @param {Numbers} up unit
 * @param {number} yaw radians
 * @param {number} pitch radians
 * @returns {Pose}
 */
export function orbited(pose, up, yaw, pitch) {
  const axes = turnedAxes(pose.camera, up, yaw, pitch);
  return placed(pose, along(pivotOf(pose), -pose.distance, axes.forward), axes);
}

/**
 * Turn the head to the left (positive yaw) and down (positive pitch): the camera stays where it is.
 * @param {Pose} pose
 * @param {Numbers} up unit
 * @param {number} yaw radians
 * @param {number} pitch radians
 * @returns {Pose}
 */
export function looked(pose, up, yaw, pitch) {
  return placed(pose, positionOf(pose.camera), turnedAxes(pose.camera, up, yaw, pitch));
}

/**
 * Tilt the picture, clockwise as seen.
 * @param {Pose} pose
 * @param {number} angle radians
 * @returns {Pose}
 */
export function rolled(pose, angle) {
  const { right, down, forward } = axesOf(pose.camera);
  const axes = { right: turned(right, forward, -angle), down: turned(down, forward, -angle), forward };
  return placed(pose, positionOf(pose.camera), axes);
}

/**
 * Move sideways so that what is `depth` away follows the pointer.
 * @param {Pose} pose
 * @param {number} x to the right, focal lengths
 * @param {number} y downwards, focal lengths
 * @param {number} depth world units
 * @returns {Pose}
 */
export function shifted(pose, x, y, depth) {
  const { right, down } = axesOf(pose.camera);
  return moved(pose, add(scaled(right, -x * depth), scaled(down, -y * depth)));
}

/**
 * Come nearer to a point, which keeps its place in the picture; what the view turns around comes along.
 * @param {Pose} pose
 * @param {Numbers} point world
 * @param {number} factor of the distance that is left: 0.5 is half as far
 * @returns {Pose}
 */
export function zoomed(pose, point, factor) {
  const at = positionOf(pose.camera);
  const depth = projected(pose.camera, point).depth;
  if (!(depth > 0)) return pose;
  const away = scaled(subtract(at, point), factor - 1);
  // near something new, that is what one wants to turn around; far from both, the old pivot keeps its place
  const distance = pose.distance + (factor - 1) * depth;
  const next = distance > 0.3 * depth * factor ? distance : depth * factor;
  return { ...moved(pose, away), distance: next };
}

/**
 * Move along the axes of the view.
 * @param {Pose} pose
 * @param {Numbers} steps right, down, forward; world units
 * @returns {Pose}
 */
export function walked(pose, steps) {
  const { right, down, forward } = axesOf(pose.camera);
  return moved(pose, add(scaled(right, steps[0]), add(scaled(down, steps[1]), scaled(forward, steps[2]))));
}

/**
 * @param {Pose} pose
 * @param {Numbers} by world units
 * @returns {Pose}
 */
export function moved(pose, by) {
  return placed(pose, add(positionOf(pose.camera), by), axesOf(pose.camera));
}

/**
 * The pose with this point in its middle, nearer: what a double click asks for.
 * @param {Pose} pose
 * @param {Numbers} point world
 * @returns {Pose}
 */
export function focused(pose, point) {
  const depth = projected(pose.camera, point).depth;
  const { camera } = pose;
  const distance = Math.max(0.6 * depth, 1e-6);
  const middle = rayThrough(camera, camera.width / 2, camera.height / 2).direction;
  const forward = axesOf(camera).forward;
  const away = distance / Math.max(dot(middle, forward), 0.1); // with a principal point off the middle, the middle of the picture
  return { camera: placed(pose, along(point, -away, middle), axesOf(camera)).camera, distance };
}

/**
 * On the way from one pose to another: what is looked at moves evenly, the view turns on the shortest way, and both
 * are seen on a picture of the given size.
 * @param {Pose} from
 * @param {Pose} to
 * @param {number} share 0 to 1
 * @returns {Pose}
 */
export function flown(from, to, share) {
  const { width, height } = to.camera;
  const [a, b] = [fitted(from.camera, width, height), to.camera];
  const [p, q] = [from, to].map(({ camera }) => quaternionFromMatrix(camera.viewmat.filter((_, i) => i < 12 && i % 4 < 3)));
  const m = matrixFromQuaternion(slerp(p, q, share));
  const [right, down, forward] = /** @type {Vector[]} */ ([m.slice(0, 3), m.slice(3, 6), m.slice(6, 9)]);
  const distance = from.distance ** (1 - share) * to.distance ** share;
  const position = along(mixed(pivotOf(from), pivotOf(to), share), -distance, forward);
  const K = a.K.map((value, i) => value + share * (b.K[i] - value));
  return { camera: cameraFrom(position, right, down, forward, K, width, height), distance };
}

/**
 * A view of a whole scene: from the front and a little above, everything that counts in the picture.
 * @param {Bounds} bounds
 * @param {Numbers} up unit
 * @param {number} width pixels
 * @param {number} height pixels
 * @returns {Pose}
 */
export function framed(bounds, up, width, height) {
  const focal = 0.9 * Math.max(width, height); // 58 degrees over the longer side
  const radius = Math.max(bounds.radius, 1e-6);
  const distance = radius * Math.hypot(1, (2 * focal) / Math.min(width, height)); // the sphere touches the shorter side
  const ahead = subtract([0, 0, 1], scaled(up, up[2]));
  const level = lengthOf(ahead) > 0.1 ? normalized(ahead) : normalized(subtract([0, 1, 0], scaled(up, up[1])));
  const forward = normalized(along(level, -0.3, up));
  const position = along(bounds.middle, -distance, forward);
  return { camera: lookAt(position, bounds.middle, up, focal, width, height), distance };
}

/**
 * The pose of a camera that is there: it turns around the part of the scene that it looks at.
 * @param {Camera} camera
 * @param {Bounds | null} bounds of the scene, where it is known
 * @returns {Pose}
 */
export function poseOf(camera, bounds) {
  if (!bounds) return { camera, distance: 1 };
  const ahead = dot(subtract(bounds.middle, positionOf(camera)), axesOf(camera).forward);
  return { camera, distance: Math.max(ahead, 0.1 * bounds.radius, 1e-6) };
}

/**
 * Which way is up, as a unit vector: as told, else what the cameras agree on, else -y as in most captures.
 * @param {Numbers | null | undefined} told
 * @param {Camera[]} cameras
 * @returns {Vector}
 */
export function upOf(told, cameras) {
  if (told && lengthOf(told) > 0) return normalized(told);
  const sum = cameras.reduce((total, camera) => subtract(total, axesOf(camera).down), /** @type {Vector} */ ([0, 0, 0]));
  return lengthOf(sum) > 0.1 * cameras.length && cameras.length > 0 ? normalized(sum) : [0, -1, 0];
}

/**
 * @param {Pose} pose
 * @param {Numbers} position
 * @param {{right: Vector, down: Vector, forward: Vector}} axes
 * @returns {Pose}
 */
function placed({ camera, distance }, position, { right, down, forward }) {
  return { camera: cameraFrom(position, right, down, forward, camera.K, camera.width, camera.height), distance };
}

/**
 * The axes after turning about `up`, then about the level line to the right; orthonormal whatever came before.
 * @param {Camera} camera
 * @param {Numbers} up unit
 * @param {number} yaw radians
 * @param {number} pitch radians
 */
function turnedAxes(camera, up, yaw, pitch) {
  const { down, forward } = axesOf(camera);
  const sideways = cross(forward, up);
  const level = lengthOf(sideways) > 1e-4 ? normalized(sideways) : axesOf(camera).right;
  const fromUp = Math.acos(Math.min(1, Math.max(-1, dot(forward, up))));
  // a view that begins beyond the pole's margin may stay there, but turns only away from it
  const [low, high] = [Math.min(POLE, fromUp), Math.max(Math.PI - POLE, fromUp)];
  const tilt = fromUp - Math.min(high, Math.max(low, fromUp + pitch)); // positive: up
  const turn = (/** @type {Numbers} */ axis) => turned(turned(axis, level, tilt), up, yaw);
  const ahead = normalized(turn(forward));
  const below = turn(down);
  const right = normalized(cross(below, ahead));
  return { right, down: cross(ahead, right), forward: ahead };
}
