/** Views in, fresh orders out: one sort in flight in a worker, and a new one only when the view moved enough. */

import { SortDesk } from "./sort.js";
import { startWorker } from "./workers.js";

/** @typedef {import("./sort.js").SortView} SortView */
/** @typedef {import("./sort.js").SortReply} SortReply */
/** @typedef {import("./sort.js").SortMessage} SortMessage */
/** @typedef {import("./pack.js").PackedRows} PackedRows */
/** @typedef {{id: number, version: number, view: SortView}} SortWish version counts what was added to the cloud */

const TURNED_ENOUGH = 0.004; // of a direction's coordinates: a quarter of a degree
const MOVED_ENOUGH = 0.002; // of the middle depth
const REST_MS = 120; // a view that rests this long is sorted exactly

export class Sorter {
  /**
   * @param {(reply: SortReply) => void} onorder must copy the order out: its memory is used again
   * @param {(sentence: string) => void} onfail no order comes any more, until another cloud begins
   */
  constructor(onorder, onfail) {
    this.onorder = onorder;
    this.onfail = onfail;
    this.broken = false;
    /** @type {SortWish | null} what was asked for last */
    this.wish = null;
    /** @type {SortWish | null} what somebody waits for */
    this.awaited = null;
    /** @type {SortWish | null} what the newest order was made for */
    this.done = null;
    /** @type {SortWish | null} */
    this.inFlight = null;
    this.middleDepth = 1;
    /** @type {Uint32Array[]} */
    this.spare = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    this.send = this.#start();
  }

  /** @param {number} id @param {number} capacity Gaussians */
  begin(id, capacity) {
    this.broken = false;
    this.send({ kind: "begin", id, capacity }, []);
  }

  /** @param {number} id @param {PackedRows} rows */
  append(id, { ranges, geometry, looks }) {
    this.send({ kind: "rows", id, rows: { ranges, geometry, looks } }, []);
  }

  /** @param {number} id */
  drop(id) {
    this.send({ kind: "drop", id }, []);
  }

  /** Ask for the order of a view; it comes by `onorder`, unless the newest one is good enough. @param {SortWish} wish */
  follow(wish) {
    this.wish = wish;
    if (this.broken) return;
    if (!this.inFlight && !this.#goodEnough(wish)) this.#sort(wish);
    clearTimeout(this.timer);
    if (!this.isFresh(wish)) this.timer = setTimeout(() => this.#sortExactly(), REST_MS);
  }

  /** Resolves when the newest order is of exactly this wish, or none is to come. @param {SortWish} wish */
  async exactly(wish) {
    while (!this.broken && !this.isFresh(wish)) {
      this.awaited = this.wish = wish;
      if (!this.inFlight) this.#sort(wish);
      await new Promise((resolve) => this.waiting.add(() => resolve(null)));
    }
    if (this.awaited === wish) this.awaited = null;
  }

  /** Whether the newest order is of exactly this wish. @param {SortWish} wish */
  isFresh(wish) {
    return sameWish(this.done, wish, 0, 0);
  }

  /** Forget what was sorted: the next wish is sorted in any case. */
  forget() {
    this.done = null;
  }

  /** @param {SortWish} wish */
  #goodEnough(wish) {
    return sameWish(this.done, wish, TURNED_ENOUGH, MOVED_ENOUGH * this.middleDepth);
  }

  #sortExactly() {
    if (this.wish && !this.inFlight && !this.broken && !this.isFresh(this.wish)) this.#sort(this.wish);
  }

  /** @param {SortWish} wish */
  #sort(wish) {
    this.inFlight = wish;
    const order = this.spare.pop() ?? new Uint32Array(0);
    this.send({ kind: "sort", id: wish.id, view: wish.view, order }, [order.buffer]);
  }

  /** @param {SortReply} reply */
  #receive(reply) {
    if (reply.id !== this.inFlight?.id) return; // from before it broke
    this.done = this.inFlight;
    this.inFlight = null;
    if (reply.count) this.middleDepth = Math.sqrt(reply.nearest * reply.farthest);
    this.onorder(reply);
    if (this.spare.length === 0) this.spare.push(reply.order);
    if (this.awaited && !this.isFresh(this.awaited)) this.#sort(this.awaited); // before a view that moves on and on
    else if (this.wish && !this.#goodEnough(this.wish)) this.#sort(this.wish);
    this.#wake();
  }

  /** Memory may be short: the scene is there, and nothing of it can be seen. @param {string} reason */
  #fail(reason) {
    this.broken = true;
    this.inFlight = null;
    this.onfail(`The Gaussians could not be sorted: ${reason}.`);
    this.#wake();
  }

  #wake() {
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const wake of waiting) wake();
  }

  /** A function that sends: to a worker, or, where none can be started, to this thread. @returns {(message: SortMessage, transfer: Transferable[]) => void} */
  #start() {
    /** @type {SortMessage[]} all but sorts, for the thread that takes over when the worker does not start */
    const sent = [];
    const here = () => {
      const desk = new SortDesk();
      const answer = (/** @type {SortMessage} */ message) => {
        try {
          return desk.answer(message);
        } catch (error) {
          this.#fail(String(error));
        }
      };
      sent.forEach(answer);
      this.send = (/** @type {SortMessage} */ message) => {
        const reply = answer(message);
        if (reply) setTimeout(() => this.#receive(reply));
      };
      if (this.inFlight) this.#sort(this.inFlight);
      return this.send;
    };
    try {
      const worker = startWorker("sort_worker.js");
      let alive = false;
      worker.onmessage = (event) => {
        alive = true;
        sent.length = 0;
        this.#receive(event.data);
      };
      worker.onerror = (event) => {
        event.preventDefault();
        if (alive) return this.#fail(event.message);
        worker.terminate();
        here();
      };
      return (message, transfer) => {
        if (!alive && message.kind !== "sort") sent.push(message);
        worker.postMessage(message, transfer);
      };
    } catch {
      return here();
    }
  }
}

/** @param {SortWish | null} a @param {SortWish} b @param {number} turn @param {number} move world units */
function sameWish(a, b, turn, move) {
  if (!a || a.id !== b.id || a.version !== b.version) return false;
  const [u, v] = [a.view, b.view];
  if (u.near !== v.near || u.size !== v.size || u.width !== v.width || u.height !== v.height) return false;
  if ([0, 1, 2, 3].some((i) => u.K[i] !== v.K[i])) return false;
  return Array.from(u.viewmat).every((value, i) => Math.abs(value - v.viewmat[i]) <= (i % 4 === 3 ? move : turn));
}
