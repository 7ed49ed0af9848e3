/** The worker that reads a splat, from a URL, a file, bytes or the page's own text, and posts its packed rows as they come. */

import { Batcher, LoadError, columnsFrom } from "./batch.js";
import { ROW, buffersOf, importanceOf, packRows } from "./pack.js";
import { PlyReader, isPly } from "./ply.js";
import { SqueezeReader, isSqueezed } from "./squeeze.js";
import { isWire, readWire } from "./wire.js";

/** @typedef {import("./pack.js").Columns} Columns */
/** @typedef {import("./pack.js").PackedRows} PackedRows */
/** @typedef {{url: string} | {file: File} | {bytes: ArrayBuffer} | {texts: string[]}} WorkerSource */
/** @typedef {{stream: ReadableStream<Uint8Array>, size: number}} OpenedSource  size: bytes, Infinity where not known */
/** @typedef {{push(bytes: Uint8Array): void | Promise<void>, end(): void | Promise<void>, notes: string[], cut: string}} SplatReader */
/**
 * @typedef {{type: "begin", count: number, degree: number, shown: number, name: string}
 *   | {type: "rows", rows: PackedRows} | {type: "progress", share: number}
 *   | {type: "done", count: number, leftOut: number, note: string} | {type: "fail", sentence: string}} LoadMessage
 */
/** Most Gaussians that can be shown: at all, or of degree 0, 1, 2, 3. @typedef {number | number[]} Limit */

const LOAD_PIECE = 1 << 22; // bytes given to a reader at a time
const LOAD_SMALL = 12 << 21; // bytes; every graphics card holds 2 million Gaussians, and few formats have smaller ones
const OTHER_FORMATS = /\.(spz|splat|ksplat|sog|glb|gltf|usdz?|rad)$/i;

if (typeof importScripts === "function") {
  /** @type {(limit: Limit) => void} */
  let tellLimit = () => {};
  /** @type {Promise<Limit>} */
  const told = new Promise((resolve) => (tellLimit = resolve));
  self.addEventListener("message", ({ data: { source, name, limit } }) => {
    if (source) void loadAll(source, name, limit ?? told);
    else tellLimit(limit);
  });
}

/** @param {WorkerSource} source @param {string} name @param {Limit | Promise<Limit>} limit */
async function loadAll(source, name, limit) {
  try {
    await new SplatLoad(source, name, limit, tellLoad).run();
  } catch (error) {
    const sentence = error instanceof LoadError ? error.message : `${name} could not be read: ${error}`;
    tellLoad({ type: "fail", sentence });
  }
}

/** @param {LoadMessage} message @param {ArrayBuffer[]} [transfer] */
function tellLoad(message, transfer = []) {
  self.postMessage(message, { transfer });
}

/** One reading of one source; a second pass when there are more Gaussians than may be shown. */
export class SplatLoad {
  /**
   * @param {WorkerSource} source @param {string} name
   * @param {Limit | Promise<Limit>} limit a promise, where the page is not ready
   *   to say, is waited for only if it matters
   * @param {(message: LoadMessage, transfer?: ArrayBuffer[]) => void} tell
   */
  constructor(source, name, limit, tell) {
    this.source = source;
    this.name = name;
    this.told = limit;
    /** @type {Limit} */
    this.limit = limit instanceof Promise ? Infinity : limit;
    this.most = Infinity; // Gaussians of this scene that can be shown
    this.tell = tell;
    this.count = 0; // handed on
    this.passes = 1;
    this.passed = 0;
    this.leftOut = 0;
    /** @type {string[]} */
    this.notes = [];
    /** Importance of every drawable Gaussian in order, when not all may be shown. @type {number[]} */
    this.measured = [];
    /** @type {Batcher | null} */
    this.batcher = null;
  }

  async run() {
    await this.pass((count, degree) => {
      this.most = typeof this.limit === "number" ? this.limit : this.limit[degree];
      if (count > this.most) {
        this.passes = 2;
        return new Batcher(degree, () => {}, (columns, index) => this.measured.push(importanceOf(columns, index)) < 0);
      }
      this.tell({ type: "begin", count, degree, shown: count, name: this.name });
      return new Batcher(degree, (columns) => this.post(columns));
    });
    if (this.measured.length) await this.select();
    if (!this.count) throw new LoadError(`${this.name} shows nothing: none of its Gaussians has finite numbers.`);
    if (this.leftOut) {
      const some = this.leftOut === 1 ? "1 Gaussian has" : `${this.leftOut.toLocaleString("en")} Gaussians have`;
      this.notes.push(`${some} numbers that are not finite, or no rotation; not shown.`);
    }
    this.tell({ type: "done", count: this.count, leftOut: this.leftOut, note: this.notes.join(" ") });
  }

  /** The second pass: the same again, and only the most important are kept. */
  async select() {
    const { measured, most: limit } = this;
    const order = Float64Array.from(measured).sort();
    const least = order[Math.max(0, order.length - limit)];
    let ties = limit - measured.reduce((sum, value) => sum + (value > least ? 1 : 0), 0);
    let index = 0;
    this.passed = 1;
    this.notes = [];
    await this.pass((count, degree) => {
      this.tell({ type: "begin", count, degree, shown: Math.min(limit, measured.length), name: this.name });
      return new Batcher(degree, (columns) => this.post(columns), () => {
        const value = measured[index++];
        return value > least || (value === least && ties-- > 0);
      });
    });
    if (measured.length > limit) {
      this.notes.unshift(
        `This device can show ${limit.toLocaleString("en")} of the ${measured.length.toLocaleString("en")} Gaussians: ` +
          "those of the largest opacity times area are kept.",
      );
    }
  }

  /** Read the source once. @param {(count: number, degree: number) => Batcher} begin */
  async pass(begin) {
    const { stream, size } = await openSource(this.source, this.name);
    if (!(size < LOAD_SMALL)) this.limit = await this.told;
    const started = (/** @type {number} */ count, /** @type {number} */ degree) => (this.batcher = begin(count, degree));
    const input = stream.getReader();
    /** @type {SplatReader | null} */
    let reader = null;
    /** @type {Uint8Array} */
    let start = new Uint8Array(0);
    let came = 0;
    let told = 0;
    let broken = "";
    for (;;) {
      const piece = await input.read().catch((error) => {
        broken = `The connection broke (${error.message}); reload the page to try again`;
        return { done: true, value: undefined };
      });
      const { done, value } = piece;
      if (value) {
        came += value.length;
        const share = size < Infinity ? Math.min(1, came / size) : 0;
        if (share >= told + 0.01 || share === 1) {
          told = share;
          this.tell({ type: "progress", share: (this.passed + share) / this.passes });
        }
      }
      if (!reader) {
        start = joinedStart(start, value);
        if (start.length < 4 && !done) continue;
        if (isWire(start)) return this.takeWire(start, input);
        reader = this.readerFor(start, started, size);
        await reader.push(start);
      } else if (value) {
        for (let at = 0; at < value.length; at += LOAD_PIECE) await reader.push(value.subarray(at, at + LOAD_PIECE));
      }
      if (done) break;
    }
    reader.cut = broken;
    await reader.end();
    this.leftOut = this.batcher?.leftOut ?? 0;
    this.notes.push(...reader.notes);
  }

  /**
   * @param {Uint8Array} start @param {(count: number, degree: number) => Batcher} begin @param {number} size
   * @returns {SplatReader}
   */
  readerFor(start, begin, size) {
    if (isSqueezed(start)) return new SqueezeReader(this.name, begin);
    if (!start.length) throw new LoadError(`${this.name} is empty.`);
    if (OTHER_FORMATS.test(this.name) && !isPly(start)) {
      throw new LoadError(`${this.name} is no PLY, which is all that this page reads itself: open it with "sfumato view".`);
    }
    return new PlyReader(this.name, begin, size);
  }

  /** A snapshot is packed already. @param {Uint8Array} start @param {ReadableStreamDefaultReader<Uint8Array>} input */
  async takeWire(start, input) {
    const parts = [start];
    for (let piece = await input.read(); !piece.done; piece = await input.read()) parts.push(piece.value);
    const { header, rows } = readWire(await new Blob(/** @type {BlobPart[]} */ (parts)).arrayBuffer());
    this.tell({ type: "begin", count: rows.count, degree: rows.degree, shown: rows.count, name: this.name });
    this.leftOut = header.left_out ?? 0;
    this.count = rows.count;
    this.tell({ type: "rows", rows }, buffersOf(rows));
  }

  /** Pack a batch and hand it on; only the last one of a scene has a row that is not full. @param {Columns} columns */
  post(columns) {
    for (let start = 0; start < columns.count; start += 16 * ROW) {
      const rows = packRows(columnsFrom(columns, start, Math.min(16 * ROW, columns.count - start)));
      this.count += rows.count;
      this.tell({ type: "rows", rows }, buffersOf(rows));
    }
  }
}

/** @param {Uint8Array} start @param {Uint8Array | undefined} more */
function joinedStart(start, more) {
  if (!more) return start;
  const both = new Uint8Array(start.length + more.length);
  both.set(start);
  both.set(more, start.length);
  return both;
}

/** @param {WorkerSource} source @param {string} name @returns {Promise<OpenedSource>} */
async function openSource(source, name) {
  if ("file" in source) return { stream: source.file.stream(), size: source.file.size };
  if ("bytes" in source) return { stream: new Blob([source.bytes]).stream(), size: source.bytes.byteLength };
  if ("texts" in source) return { stream: textStream(source.texts), size: textBytes(source.texts) };
  const response = await fetch(source.url).catch(() => null);
  if (!response) throw new LoadError(`${name} could not be fetched: there is no connection to the server.`);
  if (!response.ok || !response.body) {
    throw new LoadError(`${name} could not be fetched: the server answered ${response.status} ${response.statusText}.`);
  }
  const whole = response.headers.get("Content-Encoding") ? null : response.headers.get("Content-Length");
  return { stream: response.body, size: whole === null ? Infinity : Number(whole) };
}

/** Base64 in pieces, each of whole groups of four letters but the last, to bytes. @param {string[]} texts */
function textStream(texts) {
  let index = 0;
  return new ReadableStream({
    pull(controller) {
      if (index === texts.length) return controller.close();
      const letters = atob(texts[index++]);
      const bytes = new Uint8Array(letters.length);
      for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
      controller.enqueue(bytes);
    },
  });
}

/** @param {string[]} texts */
function textBytes(texts) {
  return texts.reduce((sum, text) => sum + Math.floor((text.length * 3) / 4), 0);
}
