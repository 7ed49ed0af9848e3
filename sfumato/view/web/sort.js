/** Where Gaussians are, and a camera, to the order in which the visible ones are drawn: nearest first. */

import { ROW } from "./pack.js";

/** @typedef {import("./pack.js").PackedRows} PackedRows */
/**
 * What decides the order.
 * @typedef {object} SortView
 * @property {ArrayLike<number>} viewmat
 * @property {ArrayLike<number>} K
 * @property {number} width
 * @property {number} height
 * @property {number} near world units; what is nearer is left out
 * @property {number} size factor on every Gaussian's size
 * @property {number} margin share of the picture's size around it that is kept too
 */

const SORT_BUCKETS = 1 << 17;
const SORT_BLOCK = 1 << 14; // Gaussians looked at by one call
/** Standard deviations out to which an opaque Gaussian reaches alpha 1/255. */
export const REACH = Math.sqrt(2 * Math.log(255));
/** Pixels^2 added to both variances, as RenderSettings.low_pass. */
export const LOW_PASS = 0.3;
/** Share of the half picture, as RenderSettings.fov_margin. */
export const FOV_MARGIN = 0.3;

/** Centers and reaches of Gaussians, and room to sort them. */
export class SortCloud {
  /** @param {number} capacity Gaussians, rounded up to whole rows */
  constructor(capacity) {
    const room = Math.ceil(capacity / ROW) * ROW;
    this.count = 0; // places in use, those that fill up rows included
    this.places = new Float32Array(4 * room); // x y z of the center, and how far it can be seen; negative: never
    this.depths = new Float32Array(room);
    this.bits = new Uint32Array(this.depths.buffer);
    this.indices = new Uint32Array(room);
    this.starts = new Uint32Array(SORT_BUCKETS + 1);
  }

  get capacity() {
    return this.indices.length;
  }

  /** Add rows behind those that are there; there must be room. @param {Pick<PackedRows, "ranges" | "geometry" | "looks">} rows */
  append(rows) {
    const centers = new Float32Array(rows.geometry.buffer, rows.geometry.byteOffset, rows.geometry.length);
    const from = 4 * this.count;
    this.places.set(centers, from);
    for (let i = 0; i < rows.looks.length / 2; i++) this.places[from + 4 * i + 3] = reachOf(rows, i);
    this.count += rows.looks.length / 2;
  }
}

/**
 * Keeps clouds by number and sorts them on demand: what the worker does, or the page itself where no worker starts.
 * @typedef {{kind: "begin", id: number, capacity: number} | {kind: "drop", id: number}
 *   | {kind: "rows", id: number, rows: Pick<PackedRows, "ranges" | "geometry" | "looks">}
 *   | {kind: "sort", id: number, view: SortView, order: Uint32Array}} SortMessage
 * @typedef {{id: number, order: Uint32Array, count: number, places: number, nearest: number, farthest: number, milliseconds: number}} SortReply
 */
export class SortDesk {
  constructor() {
    /** @type {Map<number, SortCloud>} */
    this.clouds = new Map();
  }

  /** @param {SortMessage} message @returns {SortReply | null} */
  answer(message) {
    const cloud = this.clouds.get(message.id);
    if (message.kind === "begin") this.clouds.set(message.id, new SortCloud(message.capacity));
    else if (message.kind === "drop") this.clouds.delete(message.id);
    else if (message.kind === "rows") cloud?.append(message.rows);
    else return sortReply(cloud, message);
    return null;
  }
}

/** @param {SortCloud | undefined} cloud @param {{id: number, view: SortView, order: Uint32Array}} message @returns {SortReply} */
function sortReply(cloud, { id, view, order }) {
  if (!cloud) return { id, order, count: 0, places: 0, nearest: 0, farthest: 0, milliseconds: 0 };
  const start = performance.now();
  const room = order.length >= cloud.count ? order : new Uint32Array(cloud.capacity);
  const { count, nearest, farthest } = sortFrontToBack(cloud, view, room);
  return { id, order: room, count, places: cloud.count, nearest, farthest, milliseconds: performance.now() - start };
}

/** How far from its center a Gaussian can be seen, world units; -1 when it has no opacity. @param {Pick<PackedRows, "ranges" | "looks">} rows @param {number} i */
export function reachOf(rows, i) {
  const scales = rows.looks[2 * i];
  if (rows.looks[2 * i + 1] >>> 24 === 0) return -1;
  const row = 8 * Math.floor(i / ROW);
  const low = rows.ranges[row];
  const largest = Math.max(scales & 1023, (scales >>> 10) & 1023, (scales >>> 20) & 1023);
  return REACH * Math.exp(low + ((rows.ranges[row + 1] - low) * largest) / 1023);
}

/**
 * Write the indices of what `view` can see into `order`, nearest first; returns how many, and their nearest and farthest depth.
 *
 * A stable counting sort. Its keys are the bits of the depths, which as whole numbers are in the order of the depths
 * and have the same relative resolution near and far: 1/4096 or better over nine octaves of depth.
 * @param {SortCloud} cloud @param {SortView} view @param {Uint32Array} order with room for cloud.count
 */
export function sortFrontToBack(cloud, view, order) {
  const { bits, indices, starts } = cloud;
  const { count, nearest, farthest } = gatherVisible(cloud, view);
  if (count === 0) return { count, nearest: 0, farthest: 0 };
  const lowest = bitsOf(nearest);
  const shift = Math.max(0, 32 - Math.clz32(bitsOf(farthest) - lowest) - Math.log2(SORT_BUCKETS));
  const used = ((bitsOf(farthest) - lowest) >>> shift) + 1;
  starts.fill(0, 0, used + 1);
  for (let i = 0; i < count; i++) starts[((bits[i] - lowest) >>> shift) + 1]++;
  for (let i = 1; i < used; i++) starts[i] += starts[i - 1];
  for (let i = 0; i < count; i++) order[starts[(bits[i] - lowest) >>> shift]++] = indices[i];
  return { count, nearest, farthest };
}

/**
 * Depths and indices of what touches the picture, packed to the front of cloud.depths and cloud.indices.
 *
 * A Gaussian is at most as wide on the picture as its longest axis times the Jacobian's row, whose length is
 * fx / z * sqrt(1 + slope^2) with the slope clamped as in the projection; so nothing visible is left out.
 * @param {SortCloud} cloud @param {SortView} view
 */
function gatherVisible(cloud, view) {
  const numbers = Float64Array.from([
    ...Array.from(view.viewmat).slice(0, 12),
    view.near,
    ...slopesOf(view.K[0], view.K[2], view.width, view),
    ...slopesOf(view.K[1], view.K[3], view.height, view),
  ]);
  const range = Float64Array.of(Infinity, 0);
  let count = 0;
  for (let from = 0; from < cloud.count; from += SORT_BLOCK) {
    count = gatherBlock(cloud, numbers, range, count, from, Math.min(cloud.count, from + SORT_BLOCK));
  }
  return { count, nearest: range[0], farthest: range[1] };
}

/**
 * The same for Gaussians `from` to `to`; returns the count so far. One loop over everything would be compiled while it
 * runs, which in V8 now and then ends in code that takes twice as long.
 * @param {SortCloud} cloud @param {Float64Array} numbers @param {Float64Array} range @param {number} count
 * @param {number} from @param {number} to
 */
function gatherBlock({ places, depths, indices }, numbers, range, count, from, to) {
  const [v0, v1, v2, v3] = [numbers[0], numbers[1], numbers[2], numbers[3]];
  const [v4, v5, v6, v7] = [numbers[4], numbers[5], numbers[6], numbers[7]];
  const [v8, v9, v10, v11, near] = [numbers[8], numbers[9], numbers[10], numbers[11], numbers[12]];
  const [left, right, widen] = [numbers[13], numbers[14], numbers[15]];
  const [top, bottom, heighten] = [numbers[16], numbers[17], numbers[18]];
  let [nearest, farthest] = [range[0], range[1]];
  for (let i = from; i < to; i++) {
    const px = places[4 * i];
    const py = places[4 * i + 1];
    const pz = places[4 * i + 2];
    const reach = places[4 * i + 3];
    const z = v8 * px + v9 * py + v10 * pz + v11;
    if (!(z > near) || reach < 0) continue;
    const x = v0 * px + v1 * py + v2 * pz + v3;
    const across = reach * widen;
    if (x + across < z * left || x - across > z * right) continue;
    const y = v4 * px + v5 * py + v6 * pz + v7;
    const upright = reach * heighten;
    if (y + upright < z * top || y - upright > z * bottom) continue;
    depths[count] = z;
    indices[count++] = i;
    if (z < nearest) nearest = z;
    if (z > farthest) farthest = z;
  }
  range[0] = nearest;
  range[1] = farthest;
  return count;
}

/** Slopes of the picture's two borders, and how much wider than its reach a Gaussian can look. @param {number} focal @param {number} center @param {number} size pixels @param {SortView} view */
function slopesOf(focal, center, size, view) {
  const pad = view.margin * size + REACH * Math.sqrt(LOW_PASS);
  const steepest = (Math.max(Math.abs(center), Math.abs(size - center)) + 0.5 * FOV_MARGIN * size) / focal;
  return [(-center - pad) / focal, (size - center + pad) / focal, view.size * Math.sqrt(1 + steepest * steepest)];
}

const sortFloat = new Float32Array(1);
const sortWord = new Uint32Array(sortFloat.buffer);

/** @param {number} value */
function bitsOf(value) {
  sortFloat[0] = value;
  return sortWord[0];
}
