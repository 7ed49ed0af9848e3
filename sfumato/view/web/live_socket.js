/** The connection of a live page: messages and whole snapshots in, wishes out; after a drop it comes back by itself. */

/**
 * What is known of the connection: `connecting` at first, `open`, `lost` (it is tried again by itself), `ended` (the
 * training said goodbye) or `refused` (the server gave a reason).
 * @typedef {"connecting" | "open" | "lost" | "ended" | "refused"} LiveConnection
 */
/**
 * @typedef {object} LiveListener
 * @property {(message: Record<string, any>) => void} message
 * @property {(bytes: ArrayBuffer, announced: Record<string, any>) => void} snapshot
 * @property {(connection: LiveConnection, detail: {tries: number, wait: number, reason: string}) => void} connection
 *   wait: milliseconds until it is tried again
 */
/**
 * What is used of a WebSocket.
 * @typedef {{binaryType: string, readyState: number, send: (text: string) => void, close: () => void,
 *   onopen: any, onmessage: any, onclose: any}} LiveWire
 */

const LIVE_WAITS = [500, 1000, 2000, 4000, 8000, 15000]; // ms before the first, second ... try
const LIVE_GOING = 1001; // RFC 6455, 7.4.1: the other side ends
const LIVE_REFUSALS = new Set([1003, 1008, 1009, 1013]);
const LIVE_OPEN = 1; // WebSocket.OPEN

/**
 * Milliseconds before a try; a little by chance, so that many pages do not come back at once.
 * @param {number} tries so many failed already
 * @param {number} [chance] 0 to 1
 */
export function liveWait(tries, chance = Math.random()) {
  return Math.round(LIVE_WAITS[Math.min(tries, LIVE_WAITS.length - 1)] * (0.8 + 0.4 * chance));
}

/** A connection that lasts as long as the training does. */
export class LiveSocket {
  /**
   * @param {string} url ws: or wss:
   * @param {LiveListener} listener
   * @param {{open?: (url: string) => LiveWire, later?: (action: () => void, ms: number) => any}} [world] for tests
   */
  constructor(url, listener, world = {}) {
    this.url = url;
    this.listener = listener;
    this.open = world.open ?? ((address) => new WebSocket(address));
    this.later = world.later ?? ((action, ms) => setTimeout(action, ms));
    this.tries = 0;
    /** @type {LiveWire | null} */
    this.wire = null;
    /** @type {number | null} */
    this.limit = null;
    /** @type {{announced: Record<string, any>, bytes: Uint8Array<ArrayBuffer>, filled: number} | null} what comes in pieces */
    this.partial = null;
    this.generation = 0; // of tries: a timer of an earlier one does nothing
    this.connect();
  }

  /** Try now. */
  connect() {
    const generation = ++this.generation;
    const wire = this.open(this.url);
    this.wire = wire;
    this.partial = null;
    wire.binaryType = "arraybuffer";
    wire.onopen = () => {
      this.listener.connection("open", { tries: this.tries, wait: 0, reason: "" });
      this.ready();
    };
    wire.onmessage = (/** @type {{data: string | ArrayBuffer}} */ event) => {
      this.tries = 0; // only now: a server that closes at once is no server
      if (typeof event.data === "string") this.hear(JSON.parse(event.data));
      else this.collect(event.data);
    };
    wire.onclose = (/** @type {{code: number, reason: string}} */ event) => {
      if (generation === this.generation) this.closed(event.code, event.reason);
    };
  }

  /** Say that another snapshot may come: the last one is shown. */
  ready() {
    this.send(this.limit === null ? { type: "ready" } : { type: "ready", limit: this.limit });
  }

  /**
   * @param {Record<string, any>} message
   * @returns {boolean} whether it was sent
   */
  send(message) {
    if (this.wire?.readyState !== LIVE_OPEN) return false;
    this.wire.send(JSON.stringify(message));
    return true;
  }

  /** @param {Record<string, any>} message */
  hear(message) {
    if (message.type === "snapshot") this.partial = { announced: message, bytes: new Uint8Array(message.bytes), filled: 0 };
    else this.listener.message(message);
  }

  /** @param {ArrayBuffer} piece */
  collect(piece) {
    const { partial } = this;
    if (!partial || partial.filled + piece.byteLength > partial.bytes.length) return;
    partial.bytes.set(new Uint8Array(piece), partial.filled);
    partial.filled += piece.byteLength;
    if (partial.filled < partial.bytes.length) return;
    this.partial = null;
    this.listener.snapshot(partial.bytes.buffer, partial.announced);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  closed(code, reason) {
    this.wire = null;
    if (code === LIVE_GOING || LIVE_REFUSALS.has(code)) {
      this.listener.connection(code === LIVE_GOING ? "ended" : "refused", { tries: this.tries, wait: 0, reason });
      return;
    }
    const wait = liveWait(this.tries);
    this.tries += 1;
    const { generation } = this;
    this.listener.connection("lost", { tries: this.tries, wait, reason });
    this.later(() => {
      if (generation === this.generation && !this.wire) this.connect();
    }, wait);
  }
}
