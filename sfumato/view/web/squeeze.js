/** The scene of an exported file to batches of Gaussians; sfumato/view/squeeze.py writes it, and says how. */

import { LoadError } from "./batch.js";
import { MAX_DEGREE, ROW, SH_C0, createColumns, restOf } from "./pack.js";

/** @typedef {import("./batch.js").Batcher} Batcher */
/** @typedef {import("./pack.js").Columns} Columns */
/**
 * @typedef {{count: number, degree: number, segment: number, scale: number, turn: number, color: number, opacity: number,
 *   bands: number[]}} SqueezeHeader  steps of every property; opacity: levels above zero
 */
/** @typedef {{header: SqueezeHeader, count: number, places: Int32Array[], numbers: Int32Array[], boxes: DataView}} SqueezeSegment */

const SQUEEZE_PLACES = 4; // columns of places: differences of the upper bits' Morton codes; lower bits of x, y, z
const SQUEEZE_TOP = 5; // upper bits of each coordinate
const MOST_SEGMENT = 1 << 24; // Gaussians; ours have 65536
const SQUEEZE_BOX = 40; // bytes: lowest x y z, step, bits of a coordinate
const SQRT3 = Math.sqrt(3);
const SQRT6 = Math.sqrt(6);

/** Whether bytes begin as an exported scene does. @param {Uint8Array} bytes */
export function isSqueezed(bytes) {
  return String.fromCharCode(...bytes.subarray(0, 4)) === "sfx1";
}

/**
 * Reads one scene: push() its bytes in pieces of any size, then end(), both awaited. `begin` is told the number of
 * Gaussians and their degree, and returns the Batcher. Both throw LoadError when the bytes are damaged.
 */
export class SqueezeReader {
  /** @param {string} name @param {(count: number, degree: number) => Batcher} begin */
  constructor(name, begin) {
    this.name = name;
    this.begin = begin;
    /** @type {string[]} */
    this.notes = [];
    /** Pieces that wait for more, and their bytes. @type {Uint8Array[]} */
    this.pieces = [];
    this.waiting = 0;
    this.wanted = 8; // bytes that are needed for the next step
    /** @type {SqueezeHeader | null} */
    this.header = null;
    /** @type {Batcher | null} */
    this.batcher = null;
    this.came = 0; // Gaussians
    this.cut = ""; // what ended it too soon, where that is known
  }

  /** @param {Uint8Array} bytes */
  async push(bytes) {
    this.pieces.push(bytes);
    this.waiting += bytes.length;
    while (this.waiting >= this.wanted && !this.done) {
      const held = this.held();
      const view = new DataView(held.buffer, held.byteOffset, held.byteLength);
      const size = view.getUint32(this.header ? 0 : 4, true) + (this.header ? 4 : 8);
      if (held.length < size) {
        this.wanted = size;
        return;
      }
      if (this.header) await this.readSegment(held.subarray(4, size));
      else this.readHeader(held.subarray(8, size));
      this.pieces = [held.subarray(size)];
      this.waiting = held.length - size;
      this.wanted = 4;
    }
  }

  async end() {
    if (!this.done) {
      if (!this.came) this.damaged();
      const all = this.header?.count.toLocaleString("en");
      this.notes.push(`${this.cut || "The file is truncated"}: ${this.came.toLocaleString("en")} of ${all} Gaussians are there.`);
    }
    this.batcher?.flush();
  }

  get done() {
    return this.header !== null && this.came === this.header.count;
  }

  /** All that waits, in one piece. */
  held() {
    if (this.pieces.length > 1) {
      const whole = new Uint8Array(this.waiting);
      let at = 0;
      for (const piece of this.pieces) {
        whole.set(piece, at);
        at += piece.length;
      }
      this.pieces = [whole];
    }
    return this.pieces[0];
  }

  /** @returns {never} */
  damaged() {
    throw new LoadError(`${this.name} is damaged: its scene cannot be read; export or copy it again.`);
  }

  /** @param {Uint8Array} bytes */
  readHeader(bytes) {
    /** @type {SqueezeHeader} */
    let header;
    try {
      header = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      this.damaged();
    }
    const { count, degree, segment, bands } = header ?? this.damaged();
    const whole = [count, degree, segment].every((value) => Number.isInteger(value) && value >= 0);
    if (!whole || segment > MOST_SEGMENT || !count || degree > MAX_DEGREE || !segment || segment % ROW || !(bands?.length >= degree)) this.damaged();
    this.header = header;
    this.batcher = this.begin(count, degree);
  }

  /** @param {Uint8Array} bytes */
  async readSegment(bytes) {
    const header = /** @type {SqueezeHeader} */ (this.header);
    const count = Math.min(header.segment, header.count - this.came);
    const data = await inflated(bytes).catch(() => this.damaged());
    const segment = parseSegment(data, count, header);
    if (!segment) this.damaged();
    const columns = createColumns(ROW, header.degree);
    for (let start = 0; start < count; start += ROW) {
      columns.count = Math.min(ROW, count - start);
      expandRow(segment, start, columns);
      this.handOn(columns);
    }
    this.came += count;
  }

  /** Into the batch, which may be full in between. @param {Columns} row */
  handOn(row) {
    const batcher = /** @type {Batcher} */ (this.batcher);
    for (let from = 0; from < row.count; ) {
      const n = Math.min(row.count - from, batcher.room);
      const to = batcher.columns;
      const at = to.count;
      const rest = restOf(row.degree);
      to.means.set(row.means.subarray(3 * from, 3 * (from + n)), 3 * at);
      to.quats.set(row.quats.subarray(4 * from, 4 * (from + n)), 4 * at);
      to.logScales.set(row.logScales.subarray(3 * from, 3 * (from + n)), 3 * at);
      to.logitOpacities.set(row.logitOpacities.subarray(from, from + n), at);
      to.sh0.set(row.sh0.subarray(3 * from, 3 * (from + n)), 3 * at);
      to.shN.set(row.shN.subarray(rest * from, rest * (from + n)), rest * at);
      batcher.commit(n);
      from += n;
    }
  }
}

/** @param {Uint8Array} bytes */
async function inflated(bytes) {
  const stream = new Blob([/** @type {BlobPart} */ (bytes)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The whole numbers of a segment, column by column; null when its bytes are too few or too many.
 * @param {Uint8Array} data @param {number} count @param {SqueezeHeader} header @returns {SqueezeSegment | null}
 */
function parseSegment(data, count, header) {
  const width = SQUEEZE_PLACES + 10 + restOf(header.degree);
  const rows = Math.ceil(count / ROW);
  let at = 5 * width + SQUEEZE_BOX * rows;
  if (data.length < at) return null;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const columns = [];
  for (let c = 0; c < width; c++) {
    const column = new Int32Array(count);
    if (data.length < at + data[c] * count) return null;
    for (let byte = 0; byte < data[c]; byte++) {
      for (let i = 0; i < count; i++) column[i] |= data[at + i] << (8 * byte);
      at += count;
    }
    if (c >= SQUEEZE_PLACES) {
      const middle = view.getInt32(width + 4 * c, true);
      for (let i = 0; i < count; i++) column[i] = middle + ((column[i] >> 1) ^ -(column[i] & 1));
    }
    columns.push(column);
  }
  if (at !== data.length) return null;
  const places = columns.splice(0, SQUEEZE_PLACES);
  const boxes = new DataView(data.buffer, data.byteOffset + 5 * width, SQUEEZE_BOX * rows);
  return { header, count, places, numbers: columns, boxes };
}

/** Fill columns with the row that begins at `start`. @param {SqueezeSegment} segment @param {number} start @param {Columns} columns */
function expandRow(segment, start, columns) {
  const { header, numbers } = segment;
  const n = columns.count;
  const end = start + n;
  expandPlaces(segment, start, columns);
  for (let axis = 0; axis < 3; axis++) {
    const scales = numbers[axis];
    for (let i = start, at = axis; i < end; i++, at += 3) columns.logScales[at] = scales[i] * header.scale;
  }
  const [xs, ys, zs] = numbers.slice(3, 6);
  for (let i = start, at = 0; i < end; i++, at += 4) {
    const x = xs[i] * header.turn;
    const y = ys[i] * header.turn;
    const z = zs[i] * header.turn;
    columns.quats[at] = Math.sqrt(Math.max(0, 1 - (x * x + y * y + z * z)));
    columns.quats[at + 1] = x;
    columns.quats[at + 2] = y;
    columns.quats[at + 3] = z;
  }
  for (let i = 0; i < n; i++) {
    const opacity = Math.max(1e-4, Math.min(numbers[9][start + i] / header.opacity, 1 - 1e-4));
    columns.logitOpacities[i] = Math.log(opacity / (1 - opacity));
  }
  expandColors(numbers, 6, header.color, SH_C0, start, columns.sh0, 0, 3, n);
  const rest = restOf(header.degree);
  for (let j = 0; 3 * j < rest; j++) {
    const step = header.bands[Math.floor(Math.sqrt(j + 1)) - 1];
    expandColors(numbers, 10 + 3 * j, step, 1, start, columns.shN, 3 * j, rest, n);
  }
}

/** @param {SqueezeSegment} segment @param {number} start @param {Columns} columns */
function expandPlaces({ places, boxes }, start, { count, means }) {
  const box = (start / ROW) * SQUEEZE_BOX;
  const cell = boxes.getFloat64(box + 24, true);
  const below = boxes.getFloat64(box + 32, true) - SQUEEZE_TOP;
  let code = 0;
  for (let i = 0; i < count; i++) {
    code += places[0][start + i];
    for (let axis = 0; axis < 3; axis++) {
      let top = 0;
      for (let bit = 0; bit < SQUEEZE_TOP; bit++) top |= ((code >> (3 * bit + axis)) & 1) << bit;
      const place = (top << below) | places[1 + axis][start + i];
      means[3 * i + axis] = boxes.getFloat64(box + 8 * axis, true) + (place + 0.5) * cell;
    }
  }
}

/**
 * Red, green, blue of three columns, brightness and two colors, divided by `unit`.
 * @param {Int32Array[]} numbers @param {number} first @param {number} step @param {number} unit @param {number} start
 * @param {Float32Array} to @param {number} at @param {number} stride @param {number} n
 */
function expandColors(numbers, first, step, unit, start, to, at, stride, n) {
  const a = numbers[first];
  const b = numbers[first + 1];
  const c = numbers[first + 2];
  for (let i = start; i < start + n; i++, at += stride) {
    const gray = (a[i] * step) / SQRT3;
    const side = (b[i] * step) / Math.SQRT2;
    const tint = (c[i] * step) / SQRT6;
    to[at] = (gray + side + tint) / unit;
    to[at + 1] = (gray - 2 * tint) / unit;
    to[at + 2] = (gray - side + tint) / unit;
  }
}
