/** Lines that explain a scene: cameras as frusta, a grid with axes, a box; and which camera a click means. */

import { axesOf, positionOf, projected, rayThrough } from "./camera.js";
import { add, along, cross, distance, dot, lengthOf, normalized, scaled, subtract } from "./vector.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./vector.js").Vector} Vector */
/** @typedef {import("./vector.js").Numbers} Numbers */
/** @typedef {import("./motion.js").Bounds} Bounds */
/** @typedef {{positions: Float32Array, color: number[]}} Lines positions: 2 points a line, color: [r, g, b, a] */

/** @type {Record<string, number[]>} */
const COLORS = {
  train: [0.45, 0.66, 1, 0.9],
  test: [1, 0.66, 0.27, 0.95],
  chosen: [1, 1, 1, 1],
  grid: [0.6, 0.6, 0.6, 0.35],
  box: [0.8, 0.8, 0.8, 0.8],
  x: [0.93, 0.33, 0.31, 1],
  y: [0.4, 0.78, 0.36, 1],
  z: [0.35, 0.55, 0.98, 1],
};
const CLICK_REACH = 14; // pixels from a line that a click may miss it by

/**
 * How large cameras are drawn: a part of the usual distance to the nearest neighbour, and of the scene.
 * @param {Camera[]} cameras
 * @param {Bounds | null} bounds
 */
export function frustumSize(cameras, bounds) {
  const places = cameras.map(positionOf);
  const nearest = places.map((place, i) => Math.min(...places.filter((_, k) => k !== i).map((other) => distance(place, other))));
  const known = nearest.filter((gap) => gap > 0 && Number.isFinite(gap)).sort((a, b) => a - b);
  const gap = known.length ? 0.5 * known[known.length >> 1] : Infinity;
  const size = bounds ? Math.min(0.12 * bounds.radius, Math.max(0.04 * bounds.radius, gap)) : gap;
  return Number.isFinite(size) && size > 0 ? size : 0.1;
}

/**
 * The corners of a camera's picture, `depth` in front of it: top left, top right, bottom right, bottom left.
 * @param {Camera} camera
 * @param {number} depth world units
 * @returns {Vector[]}
 */
export function frustumCorners(camera, depth) {
  const { forward } = axesOf(camera);
  const { width, height } = camera;
  return [[0, 0], [width, 0], [width, height], [0, height]].map(([x, y]) => {
    const { origin, direction } = rayThrough(camera, x, y);
    return along(origin, depth / dot(direction, forward), direction);
  });
}

/**
 * Cameras as pyramids with a mark on the upper side.
 * @param {Camera[]} cameras
 * @param {number} depth world units
 * @returns {Float32Array} (16 n points, 3)
 */
export function frustumLines(cameras, depth) {
  return flatLines(cameras.flatMap((camera) => {
    const apex = positionOf(camera);
    const [a, b, c, d] = frustumCorners(camera, depth);
    const roof = along(scaled(add(a, b), 0.5), 0.25, subtract(a, d)); // which side is up
    return [apex, a, apex, b, apex, c, apex, d, a, b, b, c, c, d, d, a, a, roof, roof, b];
  }));
}

/**
 * A square grid across `up` through a point.
 * @param {Numbers} middle
 * @param {Numbers} up unit
 * @param {number} step world units between lines
 * @param {number} count of cells to each side
 * @returns {Float32Array}
 */
export function gridLines(middle, up, step, count) {
  const [u, v] = levelAxes(up);
  /** @type {Vector[]} */
  const points = [];
  for (let i = -count; i <= count; i++) {
    for (const [p, q] of [[u, v], [v, u]]) {
      const start = along(middle, i * step, p);
      points.push(along(start, -count * step, q), along(start, count * step, q));
    }
  }
  return flatLines(points);
}

/**
 * The twelve edges of a box along the axes of the world.
 * @param {Numbers} low
 * @param {Numbers} high
 * @returns {Float32Array}
 */
export function boxLines(low, high) {
  /** @param {number} bits which of the corners */
  const corner = (bits) => /** @type {Vector} */ ([0, 1, 2].map((axis) => (bits & (1 << axis) ? high : low)[axis]));
  const edges = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((bits) => [1, 2, 4].filter((axis) => !(bits & axis)).flatMap((axis) => [corner(bits), corner(bits | axis)]));
  return flatLines(edges);
}

/**
 * 1, 2 or 5 times a power of ten: the largest that is not above the value.
 * @param {number} value > 0
 */
export function roundStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * (value >= 5 * power ? 5 : value >= 2 * power ? 2 : 1);
}

/**
 * Everything that shall be seen beside the scene, name -> lines, null for what shall not.
 * @param {{cameras: boolean, grid: boolean, box: boolean}} wanted
 * @param {(Camera & {split: string})[]} cameras
 * @param {number} size of a frustum, world units
 * @param {number | null} chosen index of a camera
 * @param {Bounds | null} bounds
 * @param {Numbers} up unit
 * @returns {Record<string, Lines | null>}
 */
export function overlayLines(wanted, cameras, size, chosen, bounds, up) {
  /** @type {(name: string, positions: Float32Array) => Lines | null} */
  const lines = (name, positions) => (positions.length ? { positions, color: COLORS[name] } : null);
  const kind = (/** @type {string} */ split) => cameras.filter((camera, i) => wanted.cameras && camera.split === split && i !== chosen);
  const one = wanted.cameras && chosen !== null ? [cameras[chosen]] : [];
  /** @type {Record<string, Lines | null>} */
  const all = { train: lines("train", frustumLines(kind("train"), size)), test: lines("test", frustumLines(kind("test"), size)) };
  all.chosen = lines("chosen", frustumLines(one, size));
  all.box = wanted.box && bounds ? lines("box", boxLines(bounds.low, bounds.high)) : null;
  return { ...all, ...groundLines(wanted.grid ? bounds : null, up) };
}

/**
 * @param {Bounds | null} bounds
 * @param {Numbers} up unit
 * @returns {Record<string, Lines | null>}
 */
function groundLines(bounds, up) {
  if (!bounds) return { grid: null, x: null, y: null, z: null };
  const step = roundStep(Math.max(bounds.radius, 1e-6) / 3);
  const corners = [bounds.low, bounds.high];
  // as low as the lowest corner of the box
  const floor = [0, 1, 2].reduce((sum, i) => sum + Math.min(...corners.map((corner) => corner[i] * up[i])), 0);
  const middle = along(bounds.middle, floor - dot(bounds.middle, up), up);
  /** @type {Record<string, Lines | null>} */
  const made = { grid: { positions: gridLines(middle, up, step, 10), color: COLORS.grid } };
  for (const [i, name] of ["x", "y", "z"].entries()) {
    const tip = /** @type {Vector} */ ([0, 1, 2].map((axis) => (axis === i ? 2 * step : 0)));
    made[name] = { positions: flatLines([middle, add(middle, tip)]), color: COLORS[name] };
  }
  return made;
}

/**
 * The camera that a click means: the one whose drawn pyramid is nearest to it, in front among those in reach.
 * @param {Camera[]} cameras
 * @param {number} size as drawn
 * @param {Camera} view
 * @param {number} x pixels of the view
 * @param {number} y pixels
 * @returns {number | null} index
 */
export function cameraAt(cameras, size, view, x, y) {
  const eye = positionOf(view);
  let best = null;
  let least = Infinity;
  for (const [index, camera] of cameras.entries()) {
    const apex = positionOf(camera);
    if (distance(eye, apex) < 0.5 * size) continue; // one looks out of it
    const points = [apex, ...frustumCorners(camera, size)].map((point) => projected(view, point));
    if (points.some(({ depth }) => depth <= 0)) continue;
    const [a, ...corners] = points;
    const miss = Math.min(...corners.flatMap((corner, i) => [segmentGap(a, corner, x, y), segmentGap(corner, corners[(i + 1) % 4], x, y)]));
    const within = insidePolygon(corners, x, y);
    if (miss > CLICK_REACH && !within) continue;
    const rank = a.depth * (1 + (within ? 0 : miss / CLICK_REACH));
    if (rank < least) [best, least] = [index, rank];
  }
  return best;
}

/** @typedef {{x: number, y: number}} Spot */

/** @param {Spot} a @param {Spot} b @param {number} x @param {number} y how far the point is from the line between a and b */
function segmentGap(a, b, x, y) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const share = Math.min(1, Math.max(0, ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - a.x - share * dx, y - a.y - share * dy);
}

/** @param {Spot[]} corners of a convex polygon @param {number} x @param {number} y */
function insidePolygon(corners, x, y) {
  const sides = corners.map((a, i) => {
    const b = corners[(i + 1) % corners.length];
    return (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x) > 0;
  });
  return sides.every((side) => side === sides[0]);
}

/** Two unit vectors across `up`, along the axes of the world as far as may be. @param {Numbers} up */
function levelAxes(up) {
  const flat = [[1, 0, 0], [0, 0, 1]].map((axis) => subtract(axis, scaled(up, dot(axis, up))));
  const first = normalized(lengthOf(flat[0]) > 0.3 ? flat[0] : flat[1]);
  return [first, cross(up, first)];
}

/** @param {Vector[]} points */
function flatLines(points) {
  return new Float32Array(points.flat());
}
