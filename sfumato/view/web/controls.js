/** Pointers, wheel and keys, to movements of the view on the stage. */

import { positionOf, projected, rayThrough } from "./camera.js";
import { focused, looked, moved, orbited, pivotOf, rolled, shifted, walked, zoomed } from "./motion.js";
import { calm } from "./stage.js";
import { along, scaled } from "./vector.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {{x: number, y: number, type: string}} Touch */

const TURN = 4; // radians for a drag over the shorter side of the canvas
const KEY_TURN = 1.4; // radians a second
const KEY_ZOOM = 1.6; // e-fold a second
const FLY = 0.7; // distances to the pivot a second
const TAP = 0.06; // seconds that pressing a key briefly is worth, however short it was
const CLICK = 6; // pixels a click may wander
const TWICE = 350; // ms between the two clicks of a double click
const GLIDE = 0.11; // seconds in which the glide after a drag loses two thirds of its speed

/** Keys that move while they are held: [right, down, forward], or turns of the view. @type {Record<string, number[]>} */
const WALKS = { w: [0, 0, 1], s: [0, 0, -1], a: [-1, 0, 0], d: [1, 0, 0], q: [0, 1, 0], e: [0, -1, 0] };
/** @type {Record<string, [number, number]>} yaw, pitch of the place one looks from */
const TURNS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
/** @type {Record<string, number>} */
const ZOOMS = { "+": -1, "=": -1, "-": 1, _: 1 };

/** Moves the stage's pose as a person asks; `flying` says how. */
export class Controls {
  /**
   * @param {Stage} stage
   * @param {ArrayLike<number>} up unit
   * @param {{click: (x: number, y: number) => void, point: (x: number, y: number) => void, flying: (on: boolean) => void}} told
   *   point: the pointer hovers there; CSS pixels of the canvas
   */
  constructor(stage, up, told) {
    this.stage = stage;
    this.up = up;
    this.told = told;
    this.flying = false;
    this.pace = 1; // scene units that walking is measured by, at least and at most, see `speed`
    /** @type {Map<number, Touch>} */
    this.pointers = new Map();
    /** Keys that are down, by their place on the keyboard: what they mean may change while they are held. @type {Map<string, string>} */
    this.held = new Map();
    this.fast = false;
    this.depth = 1;
    this.wheel = 0;
    /** @type {ArrayLike<number> | null} */
    this.aim = null;
    this.aimedAt = { x: NaN, y: NaN, time: 0 };
    this.start = { x: 0, y: 0, time: 0, still: true };
    this.lastClick = { x: NaN, y: NaN, time: -Infinity };
    /** How the last drag goes on by itself: pixels a second. */
    this.glide = { x: 0, y: 0, pan: false, touch: false, time: 0 };
    stage.movers.push((dt) => this.step(dt));
    this.listen(stage.canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  listen(canvas) {
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.lift(/** @type {PointerEvent} */ (event)));
    }
    canvas.addEventListener("wheel", (event) => this.scroll(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("blur", () => this.held.clear());
    addEventListener("keyup", (event) => {
      if (event.key === "Meta") this.held.clear(); // a Mac says nothing of keys that are let go before it
      else this.held.delete(event.code || event.key);
      this.fast = event.shiftKey;
    });
  }

  /** @param {boolean} [on] */
  fly(on = !this.flying) {
    if (on === this.flying) return;
    this.flying = on;
    this.stage.canvas.classList.toggle("flying", on);
    if (!on) this.repivot();
    this.told.flying(on);
  }

  /** After flying: turn around what is in the middle now. */
  repivot() {
    const [width, height] = this.stage.size;
    const seen = this.stage.pick(width / 2, height / 2);
    if (!seen) return;
    const depth = projected(this.stage.pose.camera, seen).depth;
    if (depth > 0) this.stage.pose = { ...this.stage.pose, distance: depth };
  }

  /** @param {PointerEvent} event */
  down(event) {
    const { canvas } = this.stage;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    event.preventDefault();
    const point = this.place(event);
    this.pointers.set(event.pointerId, { ...point, type: event.pointerType });
    this.glide.time = 0;
    if (this.pointers.size === 1) this.start = { ...point, time: event.timeStamp, still: event.button === 0 };
    else this.start.still = false;
    const middle = this.middle();
    this.depth = this.depthAt(middle.x, middle.y);
    canvas.classList.add("dragging");
    this.stage.held = true;
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const point = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.told.point(point.x, point.y);
    if (Math.hypot(point.x - this.start.x, point.y - this.start.y) > CLICK) this.start.still = false;
    if (this.start.still) return;
    const old = this.middle();
    const spread = this.spread();
    this.pointers.set(event.pointerId, { ...point, type: before.type });
    const now = this.middle();
    const [dx, dy] = [now.x - old.x, now.y - old.y];
    if (this.pointers.size === 2) this.pinch(now, dx, dy, this.spread() / (spread || 1));
    else if (this.pointers.size === 3) this.lean(dx, dy);
    else if (this.pointers.size === 1) this.pull(event, dx, dy);
  }

  /** @param {PointerEvent} event */
  lift(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.pointers.size > 0) return;
    const { x, y } = this.place(event);
    this.stage.canvas.classList.remove("dragging");
    this.stage.held = false;
    this.stage.restLater();
    if (event.type === "pointerup" && this.start.still) this.click(x, y, event.timeStamp);
    if (event.timeStamp - this.glide.time < 60 && !calm() && !this.start.still) this.stage.request();
    else this.glide.time = 0;
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} time ms
   */
  click(x, y, time) {
    const { x: oldX, y: oldY, time: oldTime } = this.lastClick;
    const twice = time - oldTime < TWICE && Math.hypot(x - oldX, y - oldY) < 4 * CLICK;
    this.lastClick = { x, y, time: twice ? -Infinity : time };
    if (twice) this.focus(x, y);
    else this.told.click(x, y);
  }

  /** Go to what is seen at a point of the canvas. @param {number} x @param {number} y */
  focus(x, y) {
    const { stage } = this;
    const seen = stage.pick(x, y);
    if (!seen) return;
    const there = focused({ ...stage.pose, camera: stage.screen }, seen);
    this.act(() => stage.fly({ ...there, camera: { ...stage.pose.camera, viewmat: there.camera.viewmat } }));
  }

  /**
   * One pointer pulls.
   * @param {PointerEvent} event
   * @param {number} dx
   * @param {number} dy
   */
  pull(event, dx, dy) {
    const pan = event.shiftKey || (event.buttons & 6) !== 0; // right or middle button
    const touch = event.pointerType === "touch";
    this.slide(dx, dy, pan, touch);
    const seconds = Math.max(0.008, (event.timeStamp - this.glide.time) / 1000);
    const fresh = seconds < 0.1 ? 0.5 : 1; // how much of the speed is this movement's, not the ones' before
    const blend = (/** @type {number} */ old, /** @type {number} */ now) => old + fresh * (now - old);
    const speed = seconds < 0.1 ? seconds : 0.016;
    this.glide = { x: blend(this.glide.x, dx / speed), y: blend(this.glide.y, dy / speed), pan, touch, time: event.timeStamp };
  }

  /**
   * Follow a pointer by so many pixels.
   * @param {number} dx
   * @param {number} dy
   * @param {boolean} pan
   * @param {boolean} touch
   */
  slide(dx, dy, pan, touch) {
    const { stage, up } = this;
    const { screen } = stage;
    const [fx, fy] = screen.K;
    if (pan) return this.act(() => stage.set(shifted(stage.pose, dx / fx, dy / fy, this.depth)));
    if (this.flying) {
      const angle = (touch ? -1 : 1) / fx; // a finger pulls the scene, a mouse turns the head
      return this.act(() => stage.set(looked(stage.pose, up, -dx * angle, dy * angle)));
    }
    const angle = TURN / Math.min(...stage.size);
    this.act(() => stage.set(orbited(stage.pose, up, -dx * angle, dy * angle)));
  }

  /**
   * Two fingers move and pinch to the point between them.
   * @param {{x: number, y: number}} at
   * @param {number} dx
   * @param {number} dy
   * @param {number} ratio of the distance between the fingers, now to before
   */
  pinch(at, dx, dy, ratio) {
    const { stage } = this;
    const [fx, fy] = stage.screen.K;
    const after = shifted(stage.pose, dx / fx, dy / fy, this.depth);
    const point = this.pointAt({ ...stage.screen, viewmat: after.camera.viewmat }, at.x, at.y, this.depth);
    const factor = 1 / Math.min(4, Math.max(0.25, ratio || 1));
    this.depth *= factor;
    this.act(() => stage.set(zoomed(after, point, factor)));
  }

  /** Three fingers: up and down along the world's vertical, tilt sideways. @param {number} dx @param {number} dy */
  lean(dx, dy) {
    const { stage } = this;
    const lifted = moved(stage.pose, scaled(this.up, (dy * this.depth) / stage.screen.K[1]));
    this.act(() => stage.set(rolled(lifted, dx / Math.min(...stage.size))));
  }

  /** @param {WheelEvent} event */
  scroll(event) {
    event.preventDefault();
    const unit = [1, 33, 400][event.deltaMode]; // pixels, lines, pages
    const turns = (Math.sign(event.deltaY) * Math.min(240, Math.abs(event.deltaY * unit))) / 100;
    const { x, y } = this.place(event);
    if (Math.hypot(x - this.aimedAt.x, y - this.aimedAt.y) > 3 || event.timeStamp - this.aimedAt.time > 400) {
      this.aim = this.stage.pick(x, y) ?? this.pointAt(this.stage.screen, x, y, this.stage.pose.distance);
    }
    this.aimedAt = { x, y, time: event.timeStamp };
    this.wheel += turns * (event.ctrlKey ? 0.9 : 0.18); // a pinch on a touchpad comes as small steps with Control
    this.stage.flight = null;
    this.stage.request();
  }

  /**
   * A key of the page; true when it moves the view.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    this.fast = event.shiftKey;
    if (!Object.hasOwn(WALKS, name) && !Object.hasOwn(TURNS, name) && !Object.hasOwn(ZOOMS, name)) return false;
    if (event.repeat) return true;
    if (Object.hasOwn(WALKS, name)) this.fly(true);
    this.held.set(event.code || name, name);
    this.press(name, TAP); // a short press counts, however soon the key is let go
    this.stage.request();
    return true;
  }

  /**
   * What a held key does in so many seconds.
   * @param {string} name
   * @param {number} dt
   */
  press(name, dt) {
    const { stage, up } = this;
    const quick = this.fast ? 3 : 1;
    if (Object.hasOwn(TURNS, name)) {
      const [yaw, pitch] = TURNS[name].map((turn) => turn * KEY_TURN * dt);
      this.act(() => stage.set(this.flying ? looked(stage.pose, up, -yaw, -pitch) : orbited(stage.pose, up, yaw, pitch)));
    } else if (Object.hasOwn(ZOOMS, name)) {
      const factor = Math.exp(ZOOMS[name] * KEY_ZOOM * dt);
      this.act(() => stage.set(zoomed(stage.pose, pivotOf(stage.pose), factor)));
    } else {
      const step = quick * FLY * dt * Math.min(this.pace, Math.max(0.02 * this.pace, stage.pose.distance));
      this.act(() => stage.set(walked(stage.pose, scaled(WALKS[name], step))));
    }
  }

  /**
   * A frame's worth of what goes on by itself: held keys, wheel, glide.
   * @param {number} dt seconds
   */
  step(dt) {
    for (const name of this.held.values()) this.press(name, dt);
    const rolling = this.roll(dt);
    const gliding = this.coast(dt);
    return this.held.size > 0 || rolling || gliding;
  }

  /** The wheel's way, softened over a few frames. @param {number} dt */
  roll(dt) {
    if (this.wheel === 0 || !this.aim) return false;
    const rest = calm() || Math.abs(this.wheel) < 0.004 ? 0 : this.wheel * Math.exp(-dt / 0.05);
    const { stage, aim } = this;
    const factor = Math.exp(this.wheel - rest);
    this.wheel = rest;
    this.act(() => stage.set(zoomed(stage.pose, aim, factor)));
    return rest !== 0;
  }

  /** @param {number} dt */
  coast(dt) {
    if (this.glide.time === 0 || this.pointers.size > 0) return false;
    const { x, y, pan, touch } = this.glide;
    this.glide.x *= Math.exp(-dt / GLIDE);
    this.glide.y *= Math.exp(-dt / GLIDE);
    if (Math.hypot(x, y) < 12) this.glide.time = 0;
    else this.slide(x * dt, y * dt, pan, touch);
    return this.glide.time !== 0;
  }

  /** Everything a person does to the view goes through here. @param {() => void} change */
  act(change) {
    this.stage.touched = true;
    change();
  }

  /** @param {MouseEvent} event @returns {{x: number, y: number}} CSS pixels of the canvas */
  place(event) {
    const box = this.stage.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** The middle of all pointers. */
  middle() {
    const points = [...this.pointers.values()];
    const mean = (/** @type {"x" | "y"} */ axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
    return { x: mean("x"), y: mean("y") };
  }

  /** How far apart two fingers are. */
  spread() {
    const [a, b] = [...this.pointers.values()];
    return b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  }

  /** How deep in the picture something is seen; without anything, as deep as the pivot. @param {number} x @param {number} y */
  depthAt(x, y) {
    const seen = this.stage.pick(x, y);
    const depth = seen ? projected(this.stage.pose.camera, seen).depth : 0;
    return depth > 0 ? depth : this.stage.pose.distance;
  }

  /**
   * The point of the world at a depth behind a point of the canvas.
   * @param {import("./camera.js").Camera} camera
   * @param {number} x
   * @param {number} y
   * @param {number} depth
   */
  pointAt(camera, x, y, depth) {
    const { direction } = rayThrough(camera, x, y);
    const ahead = rayThrough(camera, camera.K[2], camera.K[3]).direction;
    const cosine = ahead[0] * direction[0] + ahead[1] * direction[1] + ahead[2] * direction[2];
    return along(positionOf(camera), depth / cosine, direction);
  }
}
