/** Pictures and films of the scene: a PNG of what is seen, and one turn around it as a WebM video. */

import { orbited } from "./motion.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {{width: number, height: number, data: Uint8Array}} Pixels RGBA, top row first */

const TURN_SECONDS = 10;
const FILM_TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

/**
 * @param {Pixels} pixels
 * @returns {Promise<Blob>} PNG
 */
export async function pictureOf({ width, height, data }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser gave no place to make a picture");
  context.putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("this browser made no PNG"))), "image/png");
  });
}

/**
 * One turn of the view around its pivot, filmed as it is drawn.
 */
export class Turntable {
  /**
   * @param {Stage} stage
   * @param {ArrayLike<number>} up unit
   * @param {(film: Blob | null) => void} done film: null where nothing was recorded
   * @param {number} [seconds] of a turn
   */
  constructor(stage, up, done, seconds = TURN_SECONDS) {
    const type = typeof MediaRecorder === "undefined" ? undefined : FILM_TYPES.find((name) => MediaRecorder.isTypeSupported(name));
    if (!type || !stage.canvas.captureStream) throw new Error("This browser cannot record a video of the scene.");
    this.stage = stage;
    this.first = stage.pose;
    this.seconds = seconds;
    this.start = performance.now();
    this.up = up;
    /** @type {Blob[]} */
    const parts = [];
    this.stream = stage.canvas.captureStream(30);
    this.recorder = new MediaRecorder(this.stream, { mimeType: type, videoBitsPerSecond: 12e6 });
    this.recorder.ondataavailable = (event) => void parts.push(event.data);
    this.recorder.onstop = () => {
      for (const track of this.stream.getTracks()) track.stop();
      const film = new Blob(parts, { type: "video/webm" });
      done(film.size > 0 ? film : null);
    };
    this.mover = () => this.step();
    stage.fixed = stage.adaptive ? stage.shrink : 1; // a film whose size changes is broken
    stage.movers.push(this.mover);
    this.recorder.start(500);
    stage.request();
  }

  /** By the clock, as the film runs by it: a slow browser shows fewer pictures of the turn, not more of the film. */
  step() {
    const share = Math.min(1, (performance.now() - this.start) / (1000 * this.seconds));
    this.stage.set(orbited(this.first, this.up, 2 * Math.PI * share, 0));
    if (share === 1) this.stop();
    return share < 1;
  }

  /** End now, with what there is. */
  stop() {
    const { movers } = this.stage;
    if (!movers.includes(this.mover)) return;
    this.stage.movers = movers.filter((mover) => mover !== this.mover);
    this.stage.fixed = null;
    this.stage.set(this.first);
    this.recorder.stop();
  }
}
