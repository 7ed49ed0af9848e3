/** The scene of an exported file to batches of Gaussians; sfumato/view/squeeze.py writes it. */

import { LoadError } from "./batch.js";

/** @typedef {import("./batch.js").Batcher} Batcher */

/** Whether bytes begin as an exported scene does. @param {Uint8Array} bytes */
export function isSqueezed(bytes) {
  return String.fromCharCode(...bytes.subarray(0, 4)) === "sfx1";
}

/** Reads one scene: push() its bytes in pieces of any size, then end(). */
export class SqueezeReader {
  /** @param {string} name @param {(count: number, degree: number) => Batcher} begin */
  constructor(name, begin) {
    this.name = name;
    this.begin = begin;
    /** @type {string[]} */
    this.notes = [];
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    throw new LoadError(`${this.name} holds ${bytes.length} bytes that cannot be read.`);
  }

  end() {}
}
