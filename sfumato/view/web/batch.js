/** Gaussians as they come, good ones and bad ones, to batches of whole rows: a small one first, so that something is soon seen. */

import { ROW, createColumns, isDrawable, keepOnly, restOf } from "./pack.js";

/** @typedef {import("./pack.js").Columns} Columns */

const BATCH_FIRST = 4 * ROW;
const BATCH_MOST = 64 * ROW;

/** What cannot be shown, in one sentence that is meant for the reader of the page. */
export class LoadError extends Error {}

/** Gathers Gaussians; `emit` gets columns that hold only until it returns. */
export class Batcher {
  /**
   * @param {number} degree
   * @param {(columns: Columns) => void} emit
   * @param {((columns: Columns, index: number) => boolean) | null} [wanted]  asked once for each Gaussian that is
   *   drawable, in order
   */
  constructor(degree, emit, wanted = null) {
    this.degree = degree;
    this.leftOut = 0; // not drawable
    this.emit = emit;
    this.wanted = wanted;
    this.columns = createColumns(BATCH_FIRST, degree);
    this.capacity = BATCH_FIRST;
  }

  /** How many may be written at columns.count now. */
  get room() {
    return this.capacity - this.columns.count;
  }

  /** `n` Gaussians, at most `room`, have been written at columns.count. @param {number} n */
  commit(n) {
    const { columns, wanted } = this;
    const start = columns.count;
    columns.count += n;
    this.leftOut += keepOnly(columns, start, (index) => isDrawable(columns, index));
    if (wanted) keepOnly(columns, start, (index) => wanted(columns, index));
    if (this.room === 0) this.flush();
  }

  /** Hand on what is there; between the first and the last Gaussian only called when whole rows are full. */
  flush() {
    if (this.columns.count) this.emit(this.columns);
    if (this.capacity < BATCH_MOST && this.room === 0) {
      this.capacity *= 2;
      this.columns = createColumns(this.capacity, this.degree);
    }
    this.columns.count = 0;
  }
}

/**
 * The parts of columns that begin at Gaussian `start`, as columns of their own on the same memory.
 * @param {Columns} columns @param {number} start @param {number} count @returns {Columns}
 */
export function columnsFrom(columns, start, count) {
  const end = start + count;
  const rest = restOf(columns.degree);
  return {
    count,
    degree: columns.degree,
    means: columns.means.subarray(3 * start, 3 * end),
    quats: columns.quats.subarray(4 * start, 4 * end),
    logScales: columns.logScales.subarray(3 * start, 3 * end),
    logitOpacities: columns.logitOpacities.subarray(start, end),
    sh0: columns.sh0.subarray(3 * start, 3 * end),
    shN: columns.shN.subarray(rest * start, rest * end),
  };
}
