/** A splat from a URL, a dropped file, bytes or the page itself, to packed rows: the page's side of the worker that reads. */

import { startWorker } from "./workers.js";

/** @typedef {import("./load_worker.js").Limit} Limit */
/** @typedef {import("./load_worker.js").LoadMessage} LoadMessage */
/** @typedef {import("./load_worker.js").WorkerSource} WorkerSource */
/**
 * What to open; embedded: the scene of a page that was exported.
 * @typedef {{url: string, name?: string} | {file: File} | {bytes: ArrayBuffer, name: string} | {embedded: true}} Source
 */
/**
 * What is called meanwhile. count: Gaussians in the source, shown: how many will come at most; note: a sentence or more
 * about what is not as in the source, or empty. After onfail nothing comes any more, nor after cancel().
 * @typedef {{
 *   limit?: Limit,
 *   onbegin?: (scene: {count: number, degree: number, shown: number, name: string}) => void,
 *   onrows?: (rows: import("./pack.js").PackedRows) => void,
 *   ondone?: (scene: {count: number, leftOut: number, note: string}) => void,
 *   onfail?: (sentence: string) => void,
 *   onprogress?: (share: number) => void,
 * }} LoadHandlers
 */

/** Opens one splat at a time. */
export class Loader {
  constructor() {
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {Source | null} what is being read */
    this.source = null;
    /** @type {LoadHandlers | null} */
    this.handlers = null;
    /** @type {LoadMessage[]} what came before it was opened */
    this.early = [];
  }

  /** Begin to read a source that will be opened; what was being read before is cancelled. @param {Source} source */
  prepare(source) {
    this.start(source, null);
  }

  /** Read a source; what was being read before is cancelled. @param {Source} source @param {LoadHandlers} handlers */
  open(source, handlers) {
    const limit = handlers.limit ?? Infinity;
    if (source === this.source && !this.handlers) this.worker?.postMessage({ limit });
    else this.start(source, limit);
    const { worker, early } = this;
    this.handlers = handlers;
    this.early = [];
    for (const message of early) this.heard(worker, message);
  }

  /** @param {Source} source @param {Limit | null} limit null: told later */
  start(source, limit) {
    this.cancel();
    const name = sourceName(source);
    const worker = startWorker("load_worker.js");
    this.worker = worker;
    this.source = source;
    worker.onmessage = ({ data }) => this.heard(worker, data);
    worker.onerror = (event) => {
      this.heard(worker, { type: "fail", sentence: `${name} could not be read: ${event.message ?? "no worker"}.` });
    };
    worker.postMessage({ source: workerSource(source), name, limit });
  }

  /** Stop reading; none of the handlers is called any more. */
  cancel() {
    this.worker?.terminate();
    this.worker = this.source = this.handlers = null;
    this.early = [];
  }

  /** @param {Worker | null} worker @param {LoadMessage} message */
  heard(worker, message) {
    const { handlers } = this;
    if (worker !== this.worker) return;
    if (!handlers) return void this.early.push(message);
    if (message.type === "done" || message.type === "fail") this.cancel();
    if (message.type === "begin") handlers.onbegin?.(message);
    else if (message.type === "rows") handlers.onrows?.(message.rows);
    else if (message.type === "progress") handlers.onprogress?.(message.share);
    else if (message.type === "done") handlers.ondone?.(message);
    else handlers.onfail?.(message.sentence);
  }
}

/** What people call a source. @param {Source} source */
export function sourceName(source) {
  if ("file" in source) return source.file.name;
  if ("embedded" in source) return document.title || "This page's scene";
  if (source.name !== undefined) return source.name;
  return "url" in source ? addressName(source.url) : "The splat";
}

/** The last part of an address, as people read it. @param {string} url */
function addressName(url) {
  const name = url.split(/[?#]/)[0].split("/").pop() || url;
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a name with a percent sign of its own
  }
}

/** What a worker, whose own address is another, can open. @param {Source} source @returns {WorkerSource} */
function workerSource(source) {
  if ("url" in source) return { url: new URL(source.url, document.baseURI).href };
  if (!("embedded" in source)) return source;
  const blocks = document.querySelectorAll("script[data-splat]");
  return { texts: Array.from(blocks, (block) => block.textContent ?? "") };
}
