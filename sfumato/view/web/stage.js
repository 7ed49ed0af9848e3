/** The stage: a canvas, the pose it is seen from, and a picture drawn only when something has changed. */

import { fitted, resized } from "./camera.js";
import { GraphicsError } from "./graphics.js";
import { flown } from "./motion.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./motion.js").Pose} Pose */
/**
 * What the stage needs of a renderer.
 * @typedef {{lost: boolean, draw: (camera: Camera) => void, settle: (camera: Camera) => Promise<unknown>, stale: boolean,
 *   onstale: (() => void) | null, pick: (camera: Camera, x: number, y: number) => ArrayLike<number> | null}} Painter
 */

const SLOW = 60; // ms a frame: slower than this while moving, and the picture is drawn half as wide; twice that, a quarter
const QUICK = 12; // ms a frame: so quick that four times the pixels are not slow
const REST = 160; // ms without a change until the picture is drawn in full
const HELD_REST = 600; // ms, while a finger or button is down: it will move on
const BETWEEN = 300; // ms between pictures of a scene that comes in parts, as long as nobody moves
const MOST = 2; // drawn pixels per CSS pixel, at most: beyond that nobody sees a difference, and a phone gets hot
const FLIGHT = 600; // ms

/** Still pictures for people who do not want motion. */
export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Keeps the picture on the canvas up to date. */
export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas fills its parent, which fills `room` or has the shape of a photo in it
   * @param {HTMLElement} room
   * @param {Painter} painter
   * @param {Pose} pose
   */
  constructor(canvas, room, painter, pose) {
    this.canvas = canvas;
    this.room = room;
    this.painter = painter;
    this.pose = pose;
    this.adaptive = true; // draw smaller while moving where frames are slow; tests switch it off
    /** The scale that is drawn with, whatever moves: for a film. @type {number | null} */
    this.fixed = null;
    this.touched = false; // a person has moved the view
    /** What moves the view: called with the seconds since the last frame; true while there is more to come. @type {((dt: number) => boolean)[]} */
    this.movers = [];
    /** Called after each drawing. @type {(() => void)[]} */
    this.watchers = [];
    /** Called when the view has come to rest. @type {(() => void)[]} */
    this.resters = [];
    /** @type {((dt: number) => boolean) | null} */
    this.flight = null;
    /** Width / height of the picture, where it shall not fill the room. @type {number | null} */
    this.shape = null;
    this.held = false; // a finger or button is down
    this.broken = false; // the graphics driver refused
    this.blank = true; // there is nothing to be drawn yet
    this.first = true; // what is drawn next is the first of it
    this.settling = 0; // who draws the picture in full, in their own time
    this.coming = false; // more of the scene is on its way
    /** Told why, in a sentence. @type {(sentence: string) => void} */
    this.onfail = () => {};
    this.shrink = 1;
    this.drawn = 1; // the scale the canvas was drawn with last
    this.changed = true;
    this.changedAt = -Infinity;
    this.waiting = 0;
    this.last = 0;
    this.askedAt = 0; // for the frame that is waited for
    this.drawMs = 0; // of the last drawing
    this.drawnAt = -Infinity;
    /** @type {number[]} */
    this.times = [];
    this.timer = 0;
    painter.onstale = () => this.answer();
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(room);
    this.fit();
  }

  /** How long the view must be still to be at rest, ms. */
  get pause() {
    return this.held ? HELD_REST : REST;
  }

  /** Width and height in CSS pixels. @returns {[number, number]} */
  get size() {
    const [width, height] = [this.room.clientWidth || 1, this.room.clientHeight || 1];
    const shape = this.shape ?? width / height;
    return [Math.min(width, Math.round(height * shape)), Math.min(height, Math.round(width / shape))];
  }

  /**
   * The camera of the pose on the drawing buffer.
   * @param {number} [scale] 1: every pixel of the screen
   * @returns {Camera}
   */
  camera(scale = 1) {
    const dense = Math.min(devicePixelRatio || 1, MOST) * scale;
    const [width, height] = this.size.map((side) => Math.max(1, Math.round(side * dense)));
    const { camera } = this.pose;
    // the same shape but for the rounding to whole pixels: exactly the camera's own picture
    const own = Math.abs(width / height - camera.width / camera.height) < 1.5 / height;
    return own ? resized(camera, width, height) : fitted(camera, width, height);
  }

  /** The camera in CSS pixels of the canvas, as pointers count. @returns {Camera} */
  get screen() {
    const [width, height] = this.size;
    return resized(this.camera(), width, height);
  }

  /**
   * What is seen at a point of the canvas.
   * @param {number} x CSS pixels
   * @param {number} y CSS pixels
   * @returns {ArrayLike<number> | null} world
   */
  pick(x, y) {
    const camera = this.camera(this.drawn);
    const scale = camera.width / this.size[0];
    return this.painter.pick(camera, x * scale, y * scale);
  }

  /**
   * Show this pose now.
   * @param {Pose} pose
   */
  set(pose) {
    this.flight = null;
    this.move(pose);
  }

  /**
   * Show this pose now; a flight goes on.
   * @param {Pose} pose
   */
  move(pose) {
    if (!pose.camera.viewmat.every(Number.isFinite) || !(pose.distance > 0)) return;
    this.pose = pose;
    this.touch();
  }

  /** Something that changes the picture has changed. */
  touch() {
    this.changed = true;
    this.changedAt = performance.now();
    this.request();
  }

  /**
   * Go there, seen on the way; at once where motion is not wanted.
   * @param {Pose} pose
   * @param {number} [ms]
   */
  fly(pose, ms = FLIGHT) {
    const [width, height] = this.size;
    const from = { ...this.pose, camera: this.screen };
    const to = { ...pose, camera: fitted(pose.camera, width, height) };
    if (calm() || ms <= 0) return this.set(pose);
    let share = 0;
    this.flight = (dt) => {
      share = Math.min(1, share + (1000 * dt) / ms);
      this.move(share < 1 ? flown(from, to, share * share * (3 - 2 * share)) : pose);
      return share < 1;
    };
    this.request();
  }

  /** A frame will be drawn soon. */
  request() {
    if (this.waiting) return;
    this.askedAt = performance.now();
    this.waiting = requestAnimationFrame(() => this.frame(performance.now()));
  }

  /** @param {number} now ms */
  frame(now) {
    this.waiting = 0;
    const gap = now - this.last;
    this.last = now;
    const dt = Math.min(0.1, gap > 0 && gap < 500 ? gap / 1000 : 1 / 60);
    if (this.flight && !this.flight(dt)) this.flight = null;
    const moving = this.movers.map((mover) => mover(dt)).includes(true) || this.flight !== null;
    const resting = !moving && !this.changed && now - this.changedAt > this.pause;
    this.adapt(resting || !this.touched || this.fixed ? 0 : now - this.askedAt + this.drawMs);
    this.drawMs = 0;
    const scale = this.fixed ?? (resting || !this.adaptive ? 1 : this.shrink);
    const fresher = !this.settling && (this.painter.stale || scale !== this.drawn);
    const wanted = !this.blank && (this.changed || fresher);
    const soon = this.coming && !this.touched && now - this.drawnAt < BETWEEN;
    if (wanted && soon) setTimeout(() => this.request(), BETWEEN);
    else if (wanted) this.draw(scale);
    if (moving || (wanted && !soon && fresher && !this.broken)) this.request();
    this.restLater();
  }

  /** There is something to be drawn. */
  begin() {
    this.blank = false;
    this.draw(1); // asks for an order
  }

  /** The painter has something new: the first of all is not to wait for the browser's next frame. */
  answer() {
    if (this.blank || this.settling || !this.first || !this.painter.stale) return this.request();
    this.first = false;
    this.draw(1);
  }

  /** @param {number} scale */
  draw(scale) {
    const start = performance.now();
    this.drawnAt = start;
    this.changed = false;
    this.drawn = scale;
    if (!this.painter.lost && !this.broken) this.paint(this.camera(scale));
    this.drawMs = performance.now() - start;
    for (const watcher of this.watchers) watcher();
  }

  /** @param {Camera} camera */
  paint(camera) {
    try {
      this.painter.draw(camera);
    } catch (error) {
      this.refuse(error);
    }
  }

  /** @param {unknown} error of drawing; one of the graphics driver is said, and not met again with each frame */
  refuse(error) {
    if (!(error instanceof GraphicsError)) throw error;
    this.broken = true;
    this.onfail(error.message);
  }

  /**
   * Learn from how long frames of a movement take how large the next can be.
   * @param {number} ms from asking for a frame to getting it, and drawing; 0: no movement
   */
  adapt(ms) {
    if (ms <= 0) {
      this.times = [];
      return;
    }
    this.times.push(ms);
    const recent = this.times.slice(-3);
    if (recent.length === 3 && Math.min(...recent) > SLOW / this.shrink && this.shrink > 0.25) this.shrink /= 2;
    else if (this.times.length > 10 && Math.max(...this.times.slice(-10)) < QUICK && this.shrink < 1) this.shrink *= 2;
    else return;
    this.times = [];
  }

  /** When nothing has changed for a while: sharpen, and tell who waits for rest. */
  restLater() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.waiting) return;
      if (this.drawn !== 1) this.request();
      for (const rester of this.resters) rester();
    }, this.pause + 20);
  }

  /** The room has another size, or the picture another shape. */
  fit() {
    const [width, height] = this.size;
    const box = /** @type {HTMLElement} */ (this.canvas.parentElement);
    box.style.width = this.shape ? `${width}px` : "";
    box.style.height = this.shape ? `${height}px` : "";
    this.touch();
  }

  /** The picture of this pose, or of where a flight ends, complete and in full. */
  async settle() {
    this.flight?.(Infinity);
    this.flight = null;
    this.changed = false;
    this.drawn = 1;
    const { changedAt } = this;
    this.first = false;
    this.settling++;
    try {
      if (!this.broken) await this.painter.settle(this.camera());
    } catch (error) {
      this.refuse(error);
    }
    this.settling--;
    if (this.changedAt !== changedAt) this.touch(); // meanwhile: this picture is an old one
    else if (this.painter.stale) this.request();
    this.restLater();
  }
}
