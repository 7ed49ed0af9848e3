/** The viewer's renderer: Gaussians in, and a camera, to the picture on a canvas. */

import { Cloud, bytesPerGaussian } from "./cloud.js";
import { GraphicsError, makeFramebuffer, makeTexture, openContext, pictureFormat } from "./graphics.js";
import { LineDrawer } from "./lines.js";
import { ROW } from "./pack.js";
import { Painter } from "./painter.js";
import { Sorter } from "./sorter.js";
import { boundsOf, surfaceUnder } from "./survey.js";
import { Target } from "./targets.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./pack.js").PackedRows} PackedRows */
/** @typedef {import("./painter.js").Look} Look */
/** @typedef {import("./painter.js").Kind} Kind */
/** @typedef {import("./sorter.js").SortWish} SortWish */

const MOST_BYTES = 1 << 29; // of Gaussians, on a graphics card that says nothing about its memory
const MOST_BYTES_SMALL = 1 << 28; // on a phone
const SURE_BYTES = 1 << 26; // that every graphics card has room for
const COARSE = 4; // pixels, side of what knows one depth for lines
const SORT_MARGIN = 0.1; // of the picture's size: what turns into view before the next order comes

export class Renderer {
  /** Throws GraphicsError, one sentence, where there is no WebGL2. @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = openContext(canvas);
    /** @type {Look} */
    this.look = {
      kind: "soft",
      opacity: 1,
      size: 1,
      degree: 3,
      deviations: 1.5,
      background: [0, 0, 0],
      exposure: 0,
      antialiased: false,
      near: 0.2,
      pointSize: 3,
      fadeMs: 300,
    };
    /** @type {(() => void) | null} another draw would change the picture */
    this.onstale = null;
    /** @type {(() => void) | null} the graphics card is gone for a while */
    this.onlost = null;
    /** @type {(() => void) | null} and back; the picture is on its way */
    this.onrestored = null;
    /** @type {((sentence: string) => void) | null} what is there cannot be shown */
    this.onfail = null;
    this.lost = false;
    this.statistics = { gaussians: 0, drawn: 0, sortMs: 0, frameMs: 0, bytes: 0 };
    this.lastDraw = 0;
    this.changed = false; // since the last draw
    this.clouds = 0; // made so far
    /** @type {Cloud | null} what is shown */
    this.cloud = null;
    /** @type {Cloud | null} what is shown as soon as it is sorted */
    this.next = null;
    /** @type {Camera | null} of the last draw */
    this.camera = null;
    /** @type {{kind: Kind, since: number} | null} the look that fades out */
    this.fading = null;
    /** @type {Kind} of the last draw */
    this.kind = "soft";
    this.share = 1; // of the new look in a crossfade
    this.painter = new Painter(this.gl);
    this.painter.prepare("blend color", "compose", "mark");
    this.sorter = new Sorter((reply) => this.#receive(reply), (sentence) => this.onfail?.(sentence));
    this.format = pictureFormat(this.gl);
    this.target = new Target(this.gl, canvas.width, canvas.height, this.format);
    /** @type {Target | null} of the look that fades out */
    this.second = null;
    /** @type {Target | null} expected depths of soft splats, for lines */
    this.depths = null;
    this.lines = new LineDrawer(this.gl);
    canvas.addEventListener("webglcontextlost", (event) => this.#lose(event));
    canvas.addEventListener("webglcontextrestored", () => this.#restore());
  }

  /** How many Gaussians this graphics card can hold. @param {number} [degree] */
  limitAt(degree = 3) {
    const rows = this.gl.getParameter(this.gl.MAX_TEXTURE_SIZE) || 4096;
    const small = typeof matchMedia === "function" && matchMedia("(pointer: coarse) and (max-width: 1024px)").matches;
    const fitting = Math.floor((small ? MOST_BYTES_SMALL : MOST_BYTES) / bytesPerGaussian(degree) / ROW) * ROW;
    return Math.min(rows * ROW, fitting);
  }

  get limit() {
    return this.limitAt(3);
  }

  /** The same for each degree. */
  get limits() {
    return [0, 1, 2, 3].map((degree) => this.limitAt(degree));
  }

  /** Whether another draw would change the picture. */
  get stale() {
    return !this.lost && (this.changed || this.fading !== null);
  }

  /** Start a cloud that comes in parts; what is shown stays until the first of them is sorted. Throws GraphicsError when there is no room. @param {number} count @param {number} degree */
  begin(count, degree) {
    this.#discardNext();
    this.next = new Cloud(this.gl, ++this.clouds, count, degree);
    this.painter.prepare(`project ${degree}`);
    // asking waits for all that the graphics card has to do
    if (this.next.bytes > SURE_BYTES && this.gl.getError() === this.gl.OUT_OF_MEMORY) {
      this.#discardNext();
      throw new GraphicsError(`The graphics card has no room for ${count.toLocaleString("en")} Gaussians.`);
    }
    this.sorter.begin(this.next.id, this.next.rows * ROW);
  }

  /** @param {PackedRows} rows of the cloud that was begun */
  add(rows) {
    const cloud = this.next ?? this.cloud;
    if (!cloud) throw new Error("add needs begin first");
    const more = rows.ranges.length / 8;
    if (more > cloud.free) throw new Error(`add: ${cloud.free} rows are left of those that begin asked for; got ${more}`);
    cloud.add(rows);
    this.sorter.append(cloud.id, rows);
    if (this.camera) return this.#follow(this.camera);
    this.changed = true; // from where it is seen comes with the first draw
    this.#tell();
  }

  /** A whole new cloud. @param {PackedRows} rows */
  replace(rows) {
    this.begin((rows.ranges.length / 8) * ROW, rows.degree);
    this.add(rows);
  }

  /** No Gaussians at all. */
  clear() {
    this.#discardNext();
    this.#drop(this.cloud);
    this.cloud = null;
    this.changed = true;
    this.#tell();
  }

  /** Draw now, with the newest order there is. @param {Camera} camera */
  draw(camera) {
    this.camera = camera;
    if (this.lost) return;
    this.#resize(camera.width, camera.height);
    this.#follow(camera);
    this.changed = false;
    if (!this.cloud && this.next?.filled) return; // the first picture comes with the first order
    const share = this.#fade();
    const depths = this.#depthTarget();
    this.painter.paint(this.look.kind, this.cloud, camera, this.look, this.target, depths);
    if (this.fading) this.painter.paint(this.fading.kind, this.cloud, camera, this.look, this.#secondTarget(), null);
    this.share = share;
    this.#present(null);
    this.#count();
    if (this.fading) this.#tell();
  }

  /** Draw with a fresh order and no crossfade left; resolves when the pixels are in the canvas. @param {Camera} camera */
  async settle(camera) {
    for (let done = false; !done; ) {
      this.camera = camera;
      const cloud = this.next ?? this.cloud;
      if (cloud && cloud.filled) await this.sorter.exactly(this.#wish(cloud, camera));
      done = !this.lost && (this.sorter.broken || !(this.next && this.next.filled));
      if (this.lost) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    this.kind = this.look.kind;
    this.fading = null;
    this.draw(camera);
    await this.#finished();
  }

  /** The visible surface under a pixel of a camera's picture, in the world. @param {Camera} camera @param {number} x pixels @param {number} y pixels */
  pick(camera, x, y) {
    return surfaceUnder(this.cloud?.parts ?? [], camera, this.look, x, y);
  }

  /** Where what is well seen is. */
  bounds() {
    return boundsOf((this.cloud?.filled ? this.cloud : this.next)?.parts ?? []);
  }

  /** Lines over the picture, until they are replaced or taken away by null. @param {string} name @param {import("./lines.js").Lines | null} lines */
  setLines(name, lines) {
    this.lines.set(name, lines);
    this.changed = true;
    this.#tell();
  }

  /** The last picture that was drawn, top row first. */
  pixels() {
    const { gl } = this;
    const { width, height } = this.target;
    const data = new Uint8Array(4 * width * height);
    const texture = makeTexture(gl, gl.RGBA8, width, height);
    const framebuffer = makeFramebuffer(gl, [texture], null);
    this.#present(framebuffer);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
    gl.deleteFramebuffer(framebuffer);
    gl.deleteTexture(texture);
    return { width, height, data };
  }

  /** @param {number} width @param {number} height pixels */
  #resize(width, height) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    if (this.target.width === width && this.target.height === height) return;
    this.target.delete();
    this.second?.delete();
    this.depths?.delete();
    this.second = this.depths = null;
    this.target = new Target(this.gl, width, height, this.format);
  }

  /** Where the scene is, in few pixels, as long as there are lines that it may hide. */
  #depthTarget() {
    const wanted = !this.lines.empty && this.look.kind === "soft";
    if (!wanted) this.depths?.delete();
    const [width, height] = [this.target.width, this.target.height].map((size) => Math.ceil(size / COARSE));
    if (!wanted) this.depths = null;
    else this.depths ??= new Target(this.gl, width, height, this.format);
    return this.depths;
  }

  #secondTarget() {
    this.second ??= new Target(this.gl, this.target.width, this.target.height, this.format);
    return this.second;
  }

  /** How much of the new look is to be seen. */
  #fade() {
    const now = performance.now();
    if (this.look.kind !== this.kind) {
      this.fading = this.look.fadeMs > 0 ? { kind: this.kind, since: now } : null;
      this.kind = this.look.kind;
    }
    const share = this.fading ? (now - this.fading.since) / Math.max(1, this.look.fadeMs) : 1;
    if (share >= 1) this.fading = null;
    if (!this.fading) {
      this.second?.delete();
      this.second = null;
    }
    return Math.min(1, share * share * (3 - 2 * share));
  }

  /** The picture and its lines. @param {WebGLFramebuffer | null} framebuffer null: the canvas, whose rows run upwards */
  #present(framebuffer) {
    this.#compose(framebuffer);
    if (this.lines.empty || !this.camera) return;
    const { near } = this.look;
    const width = 1.4 * Math.max(1, this.canvas.width / (this.canvas.clientWidth || this.canvas.width));
    /** @type {import("./lines.js").SceneDepth} */
    const scene = this.depths
      ? { texture: this.depths.picture, kind: "expected", near }
      : { texture: this.target.depth, kind: "near over z", near };
    this.lines.draw(this.camera, scene, width, framebuffer === null);
  }

  /** @param {WebGLFramebuffer | null} framebuffer */
  #compose(framebuffer) {
    const { gl, target, look } = this;
    const program = this.painter.program("compose");
    const share = this.second && this.fading ? this.share : 1;
    program.texture("picture", 0, target.picture).texture("before", 1, share < 1 && this.second ? this.second.picture : target.picture);
    program.float("share", share).float("gain", 2 ** look.exposure).float("level", 0);
    program.float("background", look.background[0], look.background[1], look.background[2]);
    program.int("bottom", framebuffer ? -1 : target.height - 1);
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    this.painter.fill(target.width, target.height);
  }

  /** @param {Cloud} cloud @param {Camera} camera @returns {SortWish} */
  #wish(cloud, camera) {
    const { viewmat, K, width, height } = camera;
    const view = { viewmat, K, width, height, near: this.look.near, size: Math.max(this.look.size, 1), margin: SORT_MARGIN };
    return { id: cloud.id, version: cloud.version, view };
  }

  /** @param {Camera} camera */
  #follow(camera) {
    const cloud = this.next?.filled ? this.next : this.cloud;
    if (cloud && !this.lost) this.sorter.follow(this.#wish(cloud, camera));
  }

  /** @param {import("./sort.js").SortReply} reply */
  #receive(reply) {
    if (this.lost) return;
    if (this.next && reply.id === this.next.id) {
      this.#drop(this.cloud);
      [this.cloud, this.next] = [this.next, null];
    }
    if (!this.cloud || reply.id !== this.cloud.id) return;
    this.cloud.setOrder(reply.order, reply.count);
    this.statistics.sortMs = reply.milliseconds;
    this.changed = true;
    this.#tell();
  }

  #discardNext() {
    this.#drop(this.next);
    this.next = null;
  }

  /** @param {Cloud | null} cloud */
  #drop(cloud) {
    if (!cloud) return;
    cloud.delete();
    this.sorter.drop(cloud.id);
  }

  /** Say, a little later, that another draw would change the picture. */
  #tell() {
    queueMicrotask(() => this.onstale?.());
  }

  #count() {
    const now = performance.now();
    const since = now - this.lastDraw;
    this.lastDraw = now;
    const { statistics } = this;
    if (since < 1000) statistics.frameMs = statistics.frameMs ? 0.8 * statistics.frameMs + 0.2 * since : since;
    statistics.gaussians = this.cloud?.count ?? 0;
    statistics.drawn = this.cloud?.visible ?? 0;
    statistics.bytes = (this.cloud?.bytes ?? 0) + (this.next?.bytes ?? 0);
  }

  /** Resolves when the graphics card has done all that it was asked for. */
  async #finished() {
    const { gl } = this;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    if (!fence) return;
    gl.flush();
    while (!gl.isContextLost() && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    gl.deleteSync(fence);
  }

  /** @param {Event} event */
  #lose(event) {
    event.preventDefault(); // or it is never given back
    this.lost = true;
    this.onlost?.();
  }

  #restore() {
    this.lost = false;
    this.format = pictureFormat(this.gl);
    this.painter = new Painter(this.gl);
    this.target = new Target(this.gl, this.canvas.width, this.canvas.height, this.format);
    this.second = this.depths = null;
    this.lines.restore(this.gl);
    this.cloud?.restore();
    this.next?.restore();
    this.sorter.forget();
    this.onrestored?.();
    if (this.camera) this.draw(this.camera);
  }
}
