/** Pinhole cameras as plain objects: made, resized, fitted to another picture, and asked where things are. */

import { anyAcross, cross, dot, normalized, subtract } from "./vector.js";

/**
 * OpenCV axes: x right, y down, z forward. The top-left pixel's center is (0.5, 0.5).
 * @typedef {object} Camera
 * @property {number[]} viewmat 16 numbers, row-major, camera <- world
 * @property {number[]} K fx, fy, cx, cy in pixels
 * @property {number} width pixels
 * @property {number} height pixels
 */
/** @typedef {import("./vector.js").Vector} Vector */
/** @typedef {import("./vector.js").Numbers} Numbers */

/**
 * A camera at `position` looking at `target`, `up` upwards, `focal` in pixels. Where those leave the direction open,
 * some direction is taken: a person who looks straight up must not lose the picture.
 * @param {Numbers} position @param {Numbers} target @param {Numbers} up
 * @param {number} focal @param {number} width @param {number} height @returns {Camera}
 */
export function lookAt(position, target, up, focal, width, height) {
  const away = subtract(target, position);
  const forward = dot(away, away) > 0 ? normalized(away) : normalized(anyAcross(up));
  const sideways = cross(forward, normalized(up));
  const right = dot(sideways, sideways) > 1e-12 ? normalized(sideways) : anyAcross(forward);
  return cameraFrom(position, right, cross(forward, right), forward, [focal, focal, width / 2, height / 2], width, height);
}

/**
 * A camera from its three axes in the world.
 * @param {Numbers} position @param {Numbers} right @param {Numbers} down @param {Numbers} forward
 * @param {Numbers} K @param {number} width @param {number} height @returns {Camera}
 */
export function cameraFrom(position, right, down, forward, K, width, height) {
  const viewmat = [right, down, forward].flatMap((axis) => [axis[0], axis[1], axis[2], -dot(axis, position)]);
  return { viewmat: [...viewmat, 0, 0, 0, 1], K: Array.from(K), width, height };
}

/** The center of projection in the world. @param {Camera} camera @returns {Vector} */
export function positionOf({ viewmat: v }) {
  return [
    -(v[0] * v[3] + v[4] * v[7] + v[8] * v[11]),
    -(v[1] * v[3] + v[5] * v[7] + v[9] * v[11]),
    -(v[2] * v[3] + v[6] * v[7] + v[10] * v[11]),
  ];
}

/** The camera's axes in the world. @param {Camera} camera @returns {{right: Vector, down: Vector, forward: Vector}} */
export function axesOf({ viewmat: v }) {
  return { right: [v[0], v[1], v[2]], down: [v[4], v[5], v[6]], forward: [v[8], v[9], v[10]] };
}

/** The same camera with its picture resampled: intrinsics scale exactly. @param {Camera} camera @param {number} width @param {number} height @returns {Camera} */
export function resized(camera, width, height) {
  const [x, y] = [width / camera.width, height / camera.height];
  const [fx, fy, cx, cy] = camera.K;
  return { viewmat: camera.viewmat, K: [fx * x, fy * y, cx * x, cy * y], width, height };
}

/**
 * The camera on a picture of another shape: all that it sees stays visible, pixels keep their shape, and the principal
 * point keeps its place relative to the picture.
 * @param {Camera} camera @param {number} width @param {number} height @returns {Camera}
 */
export function fitted(camera, width, height) {
  const scale = Math.min(width / camera.width, height / camera.height);
  const [fx, fy, cx, cy] = camera.K;
  const K = [fx * scale, fy * scale, (cx * width) / camera.width, (cy * height) / camera.height];
  return { viewmat: camera.viewmat, K, width, height };
}

/** The ray through a point of the picture, its direction of length 1. @param {Camera} camera @param {number} x pixels @param {number} y pixels @returns {{origin: Vector, direction: Vector}} */
export function rayThrough(camera, x, y) {
  const { viewmat: v, K } = camera;
  const [a, b] = [(x - K[2]) / K[0], (y - K[3]) / K[1]];
  const direction = normalized([v[0] * a + v[4] * b + v[8], v[1] * a + v[5] * b + v[9], v[2] * a + v[6] * b + v[10]]);
  return { origin: positionOf(camera), direction };
}

/** Where a point of the world is on the picture; depth in world units along the view, negative behind. @param {Camera} camera @param {Numbers} point @returns {{x: number, y: number, depth: number}} */
export function projected(camera, point) {
  const { viewmat: v, K } = camera;
  const [x, y, depth] = [0, 4, 8].map((row) => dot(v.slice(row, row + 3), point) + v[row + 3]);
  return { x: (K[0] * x) / depth + K[2], y: (K[1] * y) / depth + K[3], depth };
}
