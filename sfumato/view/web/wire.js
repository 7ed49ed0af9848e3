/** The bytes of a live snapshot, as sfumato/view/packed.py writes them, to packed rows. */

import { BANDS, MAX_DEGREE, ROW } from "./pack.js";

/** @typedef {import("./pack.js").PackedRows} PackedRows */

/** How a snapshot begins. */
export const WIRE_MAGIC = "sfp1";

/** Whether bytes begin as a snapshot does. @param {Uint8Array} bytes */
export function isWire(bytes) {
  return [...WIRE_MAGIC].every((letter, index) => bytes[index] === letter.charCodeAt(0));
}

/**
 * The header and the rows of a snapshot; the rows are views of `buffer`, nothing is copied.
 * Throws an Error with one sentence when the bytes are not a whole snapshot.
 * @param {ArrayBuffer} buffer @returns {{header: Record<string, any>, rows: PackedRows}}
 */
export function readWire(buffer) {
  if (buffer.byteLength < 8 || !isWire(new Uint8Array(buffer, 0, 4))) throw new Error("These bytes are no snapshot.");
  const length = new DataView(buffer).getUint32(4, true);
  if (8 + length > buffer.byteLength || (8 + length) % 16) throw new Error("The snapshot's header is damaged.");
  /** @type {Record<string, any>} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { count, degree } = header;
  if (!Number.isInteger(count) || count < 0 || !Number.isInteger(degree) || degree < 0 || degree > MAX_DEGREE) {
    throw new Error("The snapshot's header is damaged.");
  }
  const rows = Math.ceil(count / ROW);
  const sizes = [rows * 32, rows * ROW * 16, rows * ROW * 8];
  for (let band = 1; band <= degree; band++) sizes.push(rows * ROW * 4 * BANDS[band].words);
  const whole = sizes.reduce((sum, size) => sum + size, 8 + length);
  if (buffer.byteLength !== whole) {
    throw new Error(`The snapshot is not whole: its header promises ${whole} bytes, and ${buffer.byteLength} came.`);
  }
  let at = 8 + length;
  const [ranges, ...words] = sizes.map((size, index) => {
    at += size;
    return index ? new Uint32Array(buffer, at - size, size / 4) : new Float32Array(buffer, at - size, size / 4);
  });
  const [geometry, looks, sh1, sh2, sh3] = /** @type {Uint32Array[]} */ (words);
  return { header, rows: { count, degree, ranges: /** @type {Float32Array} */ (ranges), geometry, looks, sh1, sh2, sh3 } };
}
