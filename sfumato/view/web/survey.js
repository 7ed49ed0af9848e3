/** Packed Gaussians, read on the processor: the surface under a pixel, and where the scene is. */

import { axesOf, positionOf } from "./camera.js";
import { ROW } from "./pack.js";
import { FOV_MARGIN, LOW_PASS, REACH, reachOf } from "./sort.js";
import { add, along, distance, dot, matrixFromQuaternion, scaled, subtract } from "./vector.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./pack.js").PackedRows} PackedRows */
/** @typedef {import("./vector.js").Vector} Vector */
/** @typedef {{opacity: number, size: number, near: number}} Shown what the sliders do to the Gaussians */
/** @typedef {{low: Vector, high: Vector, middle: Vector, radius: number}} Bounds radius: of a sphere around the middle */

const ENOUGH = 0.25; // alpha of a pixel that counts as a surface
const SAMPLE = 2000; // Gaussians that bounds look at
const BEGINNINGS = 6; // of the search for the subject

/** @typedef {{place: Vector, size: number, weight: number, away: number}} Sampled size: standard deviation; away: from the point that is tried */

/** The mean of Gaussian i. @param {PackedRows} rows @param {number} i @returns {Vector} */
export function meanAt(rows, i) {
  const floats = new Float32Array(rows.geometry.buffer, rows.geometry.byteOffset + 16 * i, 3);
  return [floats[0], floats[1], floats[2]];
}

/** Opacity in [0, 1] of Gaussian i. @param {PackedRows} rows @param {number} i */
export function opacityAt(rows, i) {
  return (rows.looks[2 * i + 1] >>> 24) / 255;
}

/** Standard deviations of Gaussian i, times its axes in the world. @param {PackedRows} rows @param {number} i @param {number} size factor @returns {Vector[]} */
export function axesAt(rows, i, size) {
  const row = 8 * Math.floor(i / ROW);
  const [low, high] = [rows.ranges[row], rows.ranges[row + 1]];
  const word = rows.geometry[4 * i + 3];
  const others = [20, 10, 0].map((shift) => (((word >>> shift) & 1023) / 1023 - 0.5) * Math.SQRT2);
  const most = Math.sqrt(Math.max(0, 1 - dot(others, others)));
  const m = matrixFromQuaternion([...others.slice(0, word >>> 30), most, ...others.slice(word >>> 30)]);
  return [0, 1, 2].map((axis) => {
    const level = (rows.looks[2 * i] >>> (10 * axis)) & 1023;
    return scaled([m[axis], m[3 + axis], m[6 + axis]], size * Math.exp(low + ((high - low) * level) / 1023));
  });
}

/**
 * The visible surface under a pixel: the median, by what each adds to the pixel, of where the Gaussians in it are
 * densest along its ray. null where there is next to nothing.
 * @param {PackedRows[]} parts @param {Camera} camera @param {Shown} shown @param {number} x pixels @param {number} y pixels
 * @returns {Vector | null}
 */
export function surfaceUnder(parts, camera, shown, x, y) {
  const { right, down, forward } = axesOf(camera);
  const eye = positionOf(camera);
  const ray = add(forward, add(scaled(right, (x - camera.K[2]) / camera.K[0]), scaled(down, (y - camera.K[3]) / camera.K[1])));
  const hits = parts.flatMap((rows) =>
    candidates(rows, camera, shown, x, y).flatMap((i) => contribution(rows, i, camera, shown, eye, ray, x, y) ?? []),
  );
  hits.sort((a, b) => a.order - b.order);
  let through = 1;
  for (const hit of hits) {
    hit.weight = hit.alpha * through;
    through *= 1 - hit.alpha;
  }
  if (1 - through < ENOUGH) return null;
  hits.sort((a, b) => a.depth - b.depth);
  let left = 0.5 * (1 - through);
  const middle = hits.find((hit) => (left -= hit.weight) <= 0) ?? hits[hits.length - 1];
  return along(eye, middle.depth, ray);
}

/** @type {WeakMap<PackedRows, Float32Array>} how far each Gaussian can be seen, worked out at the first pick */
const knownReaches = new WeakMap();

/** @param {PackedRows} rows */
function reachesOf(rows) {
  let reaches = knownReaches.get(rows);
  if (!reaches) {
    reaches = new Float32Array(rows.looks.length / 2);
    for (let i = 0; i < reaches.length; i++) reaches[i] = reachOf(rows, i);
    knownReaches.set(rows, reaches);
  }
  return reaches;
}

/**
 * Gaussians that may touch the pixel, by the sphere around them, as wide as the projection can make it (see sort.js).
 * @param {PackedRows} rows @param {Camera} camera @param {Shown} shown @param {number} x @param {number} y
 */
function candidates(rows, { viewmat, K, width, height }, shown, x, y) {
  const [v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11] = viewmat;
  const centers = new Float32Array(rows.geometry.buffer, rows.geometry.byteOffset, rows.geometry.length);
  const reaches = reachesOf(rows);
  const [a, b] = [(x - K[2]) / K[0], (y - K[3]) / K[1]];
  const blur = (REACH * Math.sqrt(LOW_PASS)) / Math.min(K[0], K[1]);
  const steepest = (spread(K[2], width) / K[0]) ** 2 + (spread(K[3], height) / K[1]) ** 2;
  const widen = shown.size * Math.sqrt(1 + steepest);
  const found = [];
  for (let i = 0; i < reaches.length; i++) {
    const mx = centers[4 * i];
    const my = centers[4 * i + 1];
    const mz = centers[4 * i + 2];
    const z = v8 * mx + v9 * my + v10 * mz + v11;
    if (!(z > shown.near) || reaches[i] < 0) continue;
    const reach = widen * reaches[i] + z * blur;
    if (Math.abs(v0 * mx + v1 * my + v2 * mz + v3 - a * z) > reach) continue;
    if (Math.abs(v4 * mx + v5 * my + v6 * mz + v7 - b * z) > reach) continue;
    found.push(i);
  }
  return found;
}

/** Pixels from the principal point to the farther border, and the margin of the Jacobian. @param {number} center @param {number} size */
function spread(center, size) {
  return Math.max(Math.abs(center), Math.abs(size - center)) + 0.5 * FOV_MARGIN * size;
}

/**
 * What a Gaussian adds to the pixel by EWA projection, as kernels/reference/project.py, and where along the ray.
 * @param {PackedRows} rows @param {number} i @param {Camera} camera @param {Shown} shown
 * @param {Vector} eye @param {Vector} ray of depth 1 @param {number} x @param {number} y
 */
function contribution(rows, i, camera, shown, eye, ray, x, y) {
  const { viewmat: v, K, width, height } = camera;
  const axes = axesAt(rows, i, shown.size);
  const mean = meanAt(rows, i);
  const rowOf = (/** @type {number} */ r) => v.slice(4 * r, 4 * r + 3);
  const [mx, my, z] = [0, 1, 2].map((r) => dot(rowOf(r), mean) + v[4 * r + 3]);
  const inside = (/** @type {number} */ slope, /** @type {number} */ f, /** @type {number} */ c, /** @type {number} */ size) =>
    Math.min(Math.max(slope, (-c - 0.5 * FOV_MARGIN * size) / f), (size - c + 0.5 * FOV_MARGIN * size) / f);
  const across = axes.map((axis) => (K[0] / z) * (dot(rowOf(0), axis) - inside(mx / z, K[0], K[2], width) * dot(rowOf(2), axis)));
  const down = axes.map((axis) => (K[1] / z) * (dot(rowOf(1), axis) - inside(my / z, K[1], K[3], height) * dot(rowOf(2), axis)));
  const [xx, xy, yy] = [dot(across, across) + LOW_PASS, dot(across, down), dot(down, down) + LOW_PASS];
  const [dx, dy] = [x - K[2] - (K[0] * mx) / z, y - K[3] - (K[1] * my) / z];
  const exponent = (-0.5 * (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy)) / (xx * yy - xy * xy);
  const alpha = Math.min(0.999, opacityAt(rows, i) * shown.opacity) * Math.exp(exponent);
  if (!(alpha >= 1 / 255)) return null;
  return { order: z, depth: densest(axes, subtract(mean, eye), ray, z), alpha, weight: 0 };
}

/** Depth at which the ray is nearest to the Gaussian's middle, in its own measure. @param {Vector[]} axes @param {Vector} away from the eye @param {Vector} ray @param {number} z of the middle */
function densest(axes, away, ray, z) {
  const lengths = axes.map((axis) => Math.max(dot(axis, axis), 1e-30));
  const own = (/** @type {Vector} */ vector) => axes.map((axis, k) => dot(axis, vector) / lengths[k]);
  const [m, r] = [own(away), own(ray)];
  const depth = dot(m, r) / dot(r, r);
  const reach = REACH * Math.sqrt(Math.max(...lengths));
  return Math.min(Math.max(depth, z - reach, 1e-6), z + reach);
}

/**
 * Where the subject is: the half of what is solid that lies closest together. Weighed by opacity over size, as the
 * subject of a capture is made of many small Gaussians, and what is around it of few large ones.
 * @param {PackedRows[]} parts @returns {Bounds}
 */
export function boundsOf(parts) {
  const sample = sampleOf(parts);
  if (sample.length === 0) return { low: [-1, -1, -1], high: [1, 1, 1], middle: [0, 0, 0], radius: 1 };
  const found = densestHalf(sample);
  const half = found.radius;
  const middle = centered(sample, found.middle, 1.6 * half);
  const reach = 3 * sizeOf(sample); // a single Gaussian has a size, too
  const radius = Math.max(1.3 * half, reach, 1e-9);
  const values = [0, 1, 2].map((axis) => sample.map(({ place }) => place[axis]));
  const low = values.map((all, axis) => Math.max(quantile(all, 0.02) - reach, middle[axis] - 2.5 * radius));
  const high = values.map((all, axis) => Math.min(quantile(all, 0.98) + reach, middle[axis] + 2.5 * radius));
  return { low: /** @type {Vector} */ (low), high: /** @type {Vector} */ (high), middle, radius };
}

/** Evenly chosen Gaussians that can be seen: means, largest standard deviations, weights. @param {PackedRows[]} parts @returns {Sampled[]} */
function sampleOf(parts) {
  const all = parts.reduce((sum, part) => sum + part.looks.length / 2, 0);
  const step = Math.ceil(all / SAMPLE) | 1; // odd, as many an order of Gaussians repeats itself
  /** @type {Sampled[]} */
  const sample = [];
  let i = 0;
  for (const rows of parts) {
    for (; i < rows.looks.length / 2; i += step) {
      const reach = reachOf(rows, i);
      if (reach > 0) sample.push({ place: meanAt(rows, i), size: reach / REACH, weight: opacityAt(rows, i), away: 0 });
    }
    i -= rows.looks.length / 2;
  }
  const least = 0.25 * (quantile(sample.map(({ size }) => size), 0.5) ?? 0);
  for (const one of sample) one.weight /= Math.max(one.size, least, 1e-30);
  return sample;
}

/**
 * The ball around half of the weight that is about as small as can be: from a few beginnings, the middle of the half
 * that is nearest, again and again, as in the least trimmed squares of Rousseeuw and Van Driessen 1999.
 * @param {Sampled[]} sample @returns {{middle: Vector, radius: number}}
 */
function densestHalf(sample) {
  const starts = Array.from({ length: BEGINNINGS }, (_, i) => sample[Math.floor(((i + 0.5) * sample.length) / BEGINNINGS)].place);
  const share = 0.5 + 2 / sample.length; // of a handful of Gaussians all are the subject
  const sorted = [...sample];
  let best = { middle: starts[0], radius: Infinity };
  for (let middle of starts) {
    for (let [step, last] = [0, Infinity]; step < 8; step++) {
      const half = nearestShare(sorted, middle, share);
      if (half.radius < best.radius) best = { middle, radius: half.radius };
      if (half.radius > 0.99 * last) break;
      [middle, last] = [half.middle, half.radius];
    }
  }
  return best;
}

/** The middle of what is around a point: of an even wall each part is as dense as the next. @param {Sampled[]} sample @param {Vector} middle @param {number} radius @returns {Vector} */
function centered(sample, middle, radius) {
  for (let step = 0; step < 4; step++) {
    const near = sample.filter(({ place }) => distance(place, middle) <= radius);
    const weight = near.reduce((sum, one) => sum + one.weight, 0);
    if (weight > 0) middle = near.reduce((sum, one) => along(sum, one.weight / weight, one.place), /** @type {Vector} */ ([0, 0, 0]));
  }
  return middle;
}

/** Middle of the share of the weight that is nearest to a point, and how far it reaches from there. @param {Sampled[]} sorted is sorted again @param {Vector} point @param {number} share */
function nearestShare(sorted, point, share) {
  let left = 0;
  for (const one of sorted) {
    one.away = Math.hypot(one.place[0] - point[0], one.place[1] - point[1], one.place[2] - point[2]);
    left += share * one.weight;
  }
  sorted.sort((a, b) => a.away - b.away);
  /** @type {Vector} */
  const sum = [0, 0, 0];
  let [weight, radius] = [0, 0];
  for (const one of sorted) {
    for (let axis = 0; axis < 3; axis++) sum[axis] += one.weight * one.place[axis];
    weight += one.weight;
    radius = one.away;
    if (weight >= left) break;
  }
  return { middle: scaled(sum, 1 / weight), radius };
}

/** The usual size of what weighs most: the harmonic mean, as weights are shares of 1 / size. @param {Sampled[]} sample */
function sizeOf(sample) {
  const total = (/** @type {(one: Sampled) => number} */ value) => sample.reduce((sum, one) => sum + value(one), 0);
  return total(({ weight, size }) => weight * size) / total(({ weight }) => weight);
}

/** @param {number[]} values sorted by this @param {number} share */
function quantile(values, share) {
  return values.sort((a, b) => a - b)[Math.round(share * (values.length - 1))];
}
