/** Columns of Gaussians to the quantised rows that a graphics card holds; sfumato/view/packed.py makes the same numbers. */

/**
 * Gaussians as stored in splat files, one after the other in each array; `count` of them, arrays may be longer.
 * @typedef {{
 *   count: number, degree: number, means: Float32Array, quats: Float32Array, logScales: Float32Array,
 *   logitOpacities: Float32Array, sh0: Float32Array, shN: Float32Array,
 * }} Columns  means xyz, quats wxyz of any length, sh0 rgb; shN: ((degree + 1)^2 - 1) * 3, basis-major, then rgb
 */

/**
 * Quantised Gaussians: `count` of them, in whole rows of 1024, the last filled up with opacity 0.
 * @typedef {{
 *   count: number, degree: number, ranges: Float32Array, geometry: Uint32Array, looks: Uint32Array,
 *   sh1?: Uint32Array, sh2?: Uint32Array, sh3?: Uint32Array,
 * }} PackedRows
 * ranges, 8 a row: lowest, highest log scale; lowest, highest color; largest |coefficient| of bands 1 to 3; 0.
 * geometry, 4 a Gaussian: bits of the mean's float32; quaternion: index of the largest of wxyz << 30, the others in
 * order, each (v sqrt(1/2) + 1/2) 1023 in 10 bits. looks, 2 a Gaussian: log scales over the row's range, 10 bits each;
 * color 0.5 + C0 sh0 over the row's range, 8 bits each, and opacity << 24. sh: 7, 8, 6 bits a coefficient, sign and
 * square root of |v| / limit.
 */

/** Gaussians that share ranges. */
export const ROW = 1024;
/** Highest degree of spherical harmonics that is shown. */
export const MAX_DEGREE = 3;
/** Band -> bits of a coefficient, words of all of them. */
export const BANDS = [
  { bits: 0, words: 0 },
  { bits: 7, words: 2 },
  { bits: 8, words: 4 },
  { bits: 6, words: 4 },
];
/** The spherical harmonic of degree 0: 1 / (2 sqrt(pi)). */
export const SH_C0 = 0.28209479177387814;

const PACK_TINY = 1e-30; // a range below it counts as none

/**
 * Numbers of shN that a Gaussian has.
 * @param {number} degree
 */
export function restOf(degree) {
  return 3 * ((degree + 1) ** 2 - 1);
}

/**
 * Room for `capacity` Gaussians, none there yet.
 * @param {number} capacity @param {number} degree @returns {Columns}
 */
export function createColumns(capacity, degree) {
  return {
    count: 0,
    degree,
    means: new Float32Array(3 * capacity),
    quats: new Float32Array(4 * capacity),
    logScales: new Float32Array(3 * capacity),
    logitOpacities: new Float32Array(capacity),
    sh0: new Float32Array(3 * capacity),
    shN: new Float32Array(restOf(degree) * capacity),
  };
}

/**
 * Remove, in place, the Gaussians from `start` on that `keep` says no to; returns how many.
 * @param {Columns} columns @param {number} start @param {(index: number) => boolean} keep
 */
export function keepOnly(columns, start, keep) {
  const fields = packFields(columns);
  let to = start;
  for (let from = start; from < columns.count; from++) {
    if (!keep(from)) continue;
    if (to !== from) for (const [array, n] of fields) array.copyWithin(to * n, from * n, from * n + n);
    to++;
  }
  const gone = columns.count - to;
  columns.count = to;
  return gone;
}

/**
 * Whether all numbers of a Gaussian are finite and its rotation is one.
 * @param {Columns} columns @param {number} index
 */
export function isDrawable({ degree, means, quats, logScales, logitOpacities, sh0, shN }, index) {
  const q = 4 * index;
  if (!(quats[q] || quats[q + 1] || quats[q + 2] || quats[q + 3])) return false;
  let sum = logitOpacities[index] * 0; // 0 times what is not finite is not 0
  for (let i = q; i < q + 4; i++) sum += quats[i] * 0;
  for (let i = 3 * index; i < 3 * index + 3; i++) sum += means[i] * 0 + logScales[i] * 0 + sh0[i] * 0;
  const rest = restOf(degree);
  for (let i = rest * index; i < rest * (index + 1); i++) sum += shN[i] * 0;
  return sum === 0;
}

/**
 * Opacity times area: the product of the two larger standard deviations.
 * @param {Columns} columns @param {number} index
 */
export function importanceOf(columns, index) {
  const [x, y, z] = columns.logScales.subarray(3 * index, 3 * index + 3);
  return Math.exp(x + y + z - Math.min(x, y, z)) / (1 + Math.exp(-columns.logitOpacities[index]));
}

/**
 * The quantised rows of Gaussians that are all drawable, at the degree of the columns, at most 3.
 * @param {Columns} columns @returns {PackedRows}
 */
export function packRows(columns) {
  const { count } = columns;
  const degree = Math.min(columns.degree, MAX_DEGREE);
  const rows = Math.ceil(count / ROW);
  /** @type {PackedRows} */
  const packed = {
    count,
    degree,
    ranges: new Float32Array(rows * 8),
    geometry: new Uint32Array(rows * ROW * 4),
    looks: new Uint32Array(rows * ROW * 2),
  };
  if (degree >= 1) packed.sh1 = new Uint32Array(rows * ROW * 2);
  if (degree >= 2) packed.sh2 = new Uint32Array(rows * ROW * 4);
  if (degree >= 3) packed.sh3 = new Uint32Array(rows * ROW * 4);
  for (let row = 0; row < rows; row++) {
    const from = row * ROW;
    const to = Math.min(count, from + ROW);
    packGeometry(columns, packed, from, to);
    packLooks(columns, packed, from, to);
    for (const [band, words] of [packed.sh1, packed.sh2, packed.sh3].entries()) {
      if (words) packed.ranges[row * 8 + 4 + band] = packBand(columns, band + 1, words, from, to);
    }
  }
  return packed;
}

/** The buffers of packed rows, to hand over between threads. @param {PackedRows} rows @returns {ArrayBuffer[]} */
export function buffersOf(rows) {
  const arrays = [rows.ranges, rows.geometry, rows.looks, rows.sh1, rows.sh2, rows.sh3];
  const buffers = new Set();
  for (const array of arrays) if (array) buffers.add(array.buffer);
  return [...buffers];
}

/** Every array, and how many numbers of it a Gaussian has. @param {Columns} columns @returns {[Float32Array, number][]} */
function packFields(columns) {
  return [
    [columns.means, 3],
    [columns.quats, 4],
    [columns.logScales, 3],
    [columns.logitOpacities, 1],
    [columns.sh0, 3],
    [columns.shN, restOf(columns.degree)],
  ];
}

/** @param {Columns} columns @param {PackedRows} packed @param {number} from @param {number} to */
function packGeometry({ means, quats }, { geometry }, from, to) {
  const bits = new Uint32Array(means.buffer, means.byteOffset, means.length);
  for (let i = from; i < to; i++) {
    for (let axis = 0; axis < 3; axis++) geometry[4 * i + axis] = bits[3 * i + axis];
    geometry[4 * i + 3] = packQuat(quats[4 * i], quats[4 * i + 1], quats[4 * i + 2], quats[4 * i + 3]);
  }
}

/** @param {number} w @param {number} x @param {number} y @param {number} z */
function packQuat(w, x, y, z) {
  const W = Math.abs(w);
  const X = Math.abs(x);
  const Y = Math.abs(y);
  const Z = Math.abs(z);
  const most = Math.max(W, X, Y, Z);
  const k = W === most ? 0 : X === most ? 1 : Y === most ? 2 : 3; // the first of equals
  const largest = k === 0 ? w : k === 1 ? x : k === 2 ? y : z;
  const a = (k === 0 ? x : w) / largest;
  const b = (k <= 1 ? y : x) / largest;
  const c = (k <= 2 ? z : y) / largest;
  const scale = (Math.SQRT1_2 * 1023) / Math.sqrt(1 + a * a + b * b + c * c);
  const middle = 512; // 0.5 * 1023, and a half to round
  return ((k << 30) | ((a * scale + middle) << 20) | ((b * scale + middle) << 10) | (c * scale + middle)) >>> 0;
}

/** @param {Columns} columns @param {PackedRows} packed @param {number} from @param {number} to */
function packLooks({ logScales, sh0, logitOpacities }, { looks, ranges }, from, to) {
  const at = (from / ROW) * 8;
  const [low, scale] = packRange(logScales, from, to, ranges, at, 1023, 1, 0);
  const [dark, bright] = packRange(sh0, from, to, ranges, at + 2, 255, SH_C0, 0.5);
  for (let i = from; i < to; i++) {
    const j = 3 * i;
    const x = (logScales[j] - low) * scale + 0.5;
    const y = (logScales[j + 1] - low) * scale + 0.5;
    const z = (logScales[j + 2] - low) * scale + 0.5;
    looks[2 * i] = x | (y << 10) | (z << 20);
    const r = (0.5 + SH_C0 * sh0[j] - dark) * bright + 0.5;
    const g = (0.5 + SH_C0 * sh0[j + 1] - dark) * bright + 0.5;
    const b = (0.5 + SH_C0 * sh0[j + 2] - dark) * bright + 0.5;
    const opacity = 255 / (1 + Math.exp(-logitOpacities[i])) + 0.5;
    looks[2 * i + 1] = Math.max(0, Math.min(r, 255)) | (Math.max(0, Math.min(g, 255)) << 8) |
      (Math.max(0, Math.min(b, 255)) << 16) | (opacity << 24);
  }
}

/**
 * Write the lowest and highest of `offset + factor * value` to `ranges` at `at`; returns the lowest, and levels per unit.
 * @param {Float32Array} values @param {number} from @param {number} to @param {Float32Array} ranges @param {number} at
 * @param {number} most @param {number} factor @param {number} offset
 */
function packRange(values, from, to, ranges, at, most, factor, offset) {
  let low = Infinity;
  let high = -Infinity;
  for (let j = 3 * from; j < 3 * to; j++) {
    const value = values[j];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  ranges[at] = offset + factor * low;
  ranges[at + 1] = offset + factor * high;
  const span = ranges[at + 1] - ranges[at];
  return [ranges[at], span > PACK_TINY ? most / span : 0];
}

/**
 * Fill in the words of a band for a row; returns the largest |coefficient|.
 * @param {Columns} columns @param {number} band @param {Uint32Array} words @param {number} from @param {number} to
 */
function packBand({ shN, degree }, band, words, from, to) {
  const { bits, words: count } = BANDS[band];
  const stride = restOf(degree);
  const first = 3 * (band * band - 1);
  const last = restOf(band);
  let limit = 0;
  for (let i = from; i < to; i++) {
    for (let j = i * stride + first; j < i * stride + last; j++) {
      const size = shN[j] < 0 ? -shN[j] : shN[j];
      if (size > limit) limit = size;
    }
  }
  const most = (1 << (bits - 1)) - 1;
  const scale = limit > PACK_TINY ? (most * most) / limit : 0;
  for (let i = from; i < to; i++) {
    let word = i * count;
    let held = 0; // bits that wait for their word to be full
    let filled = 0;
    for (let j = i * stride + first; j < i * stride + last; j++) {
      const value = shN[j] * scale;
      const level = (value < 0 ? most + 0.5 - Math.sqrt(-value) : most + 0.5 + Math.sqrt(value)) | 0;
      held |= level << filled;
      filled += bits;
      if (filled >= 32) {
        words[word++] = held;
        filled -= 32;
        held = filled ? level >> (bits - filled) : 0;
      }
    }
    if (filled) words[word] = held;
  }
  return limit;
}
