/** What another program read -> a file of float32 that format_programs.py opens, and a line of JSON that describes it.

A row: mean (3), log scales (3), rotation wxyz (4), opacity in [0, 1], sh0 (3), then the other harmonics, RGB of each basis.
With `covariances`, their xx xy xz yy yz zz and a NaN stand in place of log scales and rotation.
*/

import { readFileSync, writeFileSync } from "node:fs";

const PLAIN = 14; // numbers of a row without harmonics

/** The file given on the command line as an ArrayBuffer of its own. */
export function input() {
  const bytes = readFileSync(process.argv[2]);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

/** @param {number} count @param {number} bases beyond the first @param {(i: number) => number[]} row @param {object} also */
export function output(count, bases, row, also = {}) {
  const width = PLAIN + 3 * bases;
  const rows = new Float32Array(count * width);
  for (let i = 0; i < count; i++) {
    const numbers = row(i);
    if (numbers.length !== width) throw new Error(`a row has ${numbers.length} numbers, not ${width}`);
    rows.set(numbers, i * width);
  }
  writeFileSync(process.argv[3], rows);
  console.log(JSON.stringify({ count, bases, ...also }));
}

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
