/** A sorted cloud and a camera to blended pixels: project, then blend, range by range, as our kernels do. */

import { positionOf } from "./camera.js";
import { Program } from "./graphics.js";
import { ROW } from "./pack.js";
import { COMPOSE_FRAGMENT, MARK_FRAGMENT, QUADS, SPLAT_VERTEX, WHOLE_TARGET, projectShader, splatFragment } from "./shaders.js";
import { CENTER_FRAGMENT, CENTER_VERTEX, ELLIPSOID_FRAGMENT, ELLIPSOID_VERTEX } from "./solid.js";
import { SPLAT_ROWS, SplatBuffer } from "./targets.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./cloud.js").Cloud} Cloud */
/** @typedef {import("./targets.js").Target} Target */
/** @typedef {"soft" | "ellipsoids" | "centers"} Kind */
/**
 * How the Gaussians are shown.
 * @typedef {object} Look
 * @property {Kind} kind
 * @property {number} opacity factor
 * @property {number} size factor
 * @property {number} degree of the spherical harmonics that are evaluated at most
 * @property {number} deviations standard deviations out to which an ellipsoid is drawn
 * @property {number[]} background red, green, blue in [0, 1]
 * @property {number} exposure stops
 * @property {boolean} antialiased as RenderSettings.antialiased
 * @property {number} near as RenderSettings.near
 * @property {number} pointSize pixels, diameter of a center
 * @property {number} fadeMs how long a change of kind takes
 */

const FINISHED = 1 / 512; // transmittance; what is behind cannot change the pixel by more than half a level
const LIGHT = [-0.36, -0.48, -0.8]; // over the left shoulder of whoever looks; camera axes
const FIRST_RANGE = 8; // rows of splats that are blended before finished pixels are looked for

export class Painter {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    /** @type {Map<string, Program>} */
    this.programs = new Map();
    this.splats = new SplatBuffer(gl, 1);
    this.tuning = { marks: true, first: FIRST_RANGE }; // tests and benchmarks change it
    this.quads = gl.createVertexArray();
    gl.bindVertexArray(this.quads);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, quadIndices(), gl.STATIC_DRAW);
    this.nothing = gl.createVertexArray();
  }

  /** Compile, beside what else is done, the programs that a first picture needs. @param {...string} names */
  prepare(...names) {
    for (const name of names) this.#made(name);
  }

  /** A program, in use; compiled when it was not asked for before. @param {string} name */
  program(name) {
    return this.#made(name).use();
  }

  /** @param {string} name */
  #made(name) {
    let program = this.programs.get(name);
    if (!program) this.programs.set(name, (program = new Program(this.gl, ...textsOf(name))));
    return program;
  }

  /** Fill the bound framebuffer by the program in use. @param {number} width @param {number} height */
  fill(width, height) {
    this.gl.viewport(0, 0, width, height);
    this.gl.bindVertexArray(this.nothing);
    this.gl.drawArrays(this.gl.TRIANGLES, 0, 3);
  }

  /**
   * Draw a cloud into a target that is cleared first.
   * @param {Kind} kind @param {Cloud | null} cloud @param {Camera} camera @param {Look} look @param {Target} target
   * @param {Target | null} depths is given the expected depths of soft splats, if there is one
   */
  paint(kind, cloud, camera, look, target, depths) {
    const { gl } = this;
    for (const { framebuffer } of depths ? [depths, target] : [target]) {
      gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
      gl.depthMask(true);
      gl.clearBufferfv(gl.COLOR, 0, [0, 0, 0, 1]);
      gl.clearBufferfv(gl.DEPTH, 0, [0]);
    }
    if (cloud) this.#makeRoom(cloud);
    if (cloud && kind === "soft") this.#soft(cloud, camera, look, target, depths);
    else if (cloud) this.#solid(kind, cloud, camera, look, target);
    gl.disable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
  }

  /** For the splats of one go. @param {Cloud} cloud */
  #makeRoom(cloud) {
    const rows = Math.min(cloud.rows, SPLAT_ROWS);
    if (this.splats.rows >= rows) return;
    this.splats.delete();
    this.splats = new SplatBuffer(this.gl, rows);
  }

  /** @param {Cloud} cloud @param {Camera} camera @param {Look} look @param {Target} target @param {Target | null} depths */
  #soft(cloud, camera, look, target, depths) {
    const ranges = rangesOf(cloud.visible, this.tuning.first);
    ranges.forEach(({ first, count }, i) => {
      this.#project(cloud, camera, look, first, count, false);
      this.#blend("color", target, camera, count);
      if (depths) this.#blend("depth", depths, camera, count);
      if (this.tuning.marks && i + 1 < ranges.length) this.#mark(target);
    });
  }

  /** @param {Kind} kind @param {Cloud} cloud @param {Camera} camera @param {Look} look @param {Target} target */
  #solid(kind, cloud, camera, look, target) {
    const { gl } = this;
    for (const { first, count } of rangesOf(cloud.visible, SPLAT_ROWS)) {
      this.#project(cloud, camera, look, first, count, true);
      gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
      gl.viewport(0, 0, target.width, target.height);
      gl.enable(gl.DEPTH_TEST);
      gl.depthFunc(gl.GREATER); // depth is near / z
      gl.depthMask(true);
      if (kind === "ellipsoids") this.#ellipsoids(cloud, camera, look, first, count);
      else this.#centers(look, camera, count);
    }
  }

  /** @param {Cloud} cloud @param {Camera} camera @param {Look} look @param {number} first @param {number} count */
  #ellipsoids(cloud, camera, look, first, count) {
    const program = this.program("ellipsoids");
    this.#bind(program, cloud, camera, look);
    program.texture("paints", 7, this.splats.paints).int("first", first).int("visible", first + count);
    program.float("deviations", look.deviations).float("light", ...LIGHT);
    this.#drawQuads(count);
  }

  /** @param {Look} look @param {Camera} camera @param {number} count */
  #centers(look, camera, count) {
    const { gl } = this;
    const program = this.program("centers");
    program.texture("shapes", 0, this.splats.shapes).texture("paints", 1, this.splats.paints);
    program.float("size", camera.width, camera.height).float("near", look.near).float("pointSize", look.pointSize);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.POINTS, 0, count);
  }

  /**
   * The splats of a range, into this.splats.
   * @param {Cloud} cloud @param {Camera} camera @param {Look} look
   * @param {number} first @param {number} count @param {boolean} everything also what soft splats would not show
   */
  #project(cloud, camera, look, first, count, everything) {
    const { gl } = this;
    const program = this.program(`project ${cloud.degree}`);
    this.#bind(program, cloud, camera, look);
    program.float("eye", ...positionOf(camera)).int("first", first).int("visible", first + count).int("shown", look.degree);
    program.int("antialiased", +look.antialiased).int("everything", +everything);
    gl.disable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.splats.framebuffer);
    this.fill(ROW, Math.ceil(count / ROW));
  }

  /** What READ_GAUSSIANS asks for. @param {Program} program @param {Cloud} cloud @param {Camera} camera @param {Look} look */
  #bind(program, cloud, camera, look) {
    program.float("viewmat[0]", ...camera.viewmat.slice(0, 12));
    program.float("K", camera.K[0], camera.K[1], camera.K[2], camera.K[3]);
    program.float("size", camera.width, camera.height).float("factors", look.opacity, look.size);
    program.float("near", look.near);
    program.texture("order", 0, cloud.order);
    cloud.textures.forEach(({ name, texture }, i) => program.texture(name, i + 1, texture));
  }

  /** Front to back: the target's alpha is what still shines through. @param {"color" | "depth"} what @param {Target} target @param {Camera} camera @param {number} count */
  #blend(what, target, camera, count) {
    const { gl } = this;
    const program = this.program(`blend ${what}`);
    program.texture("shapes", 0, this.splats.shapes).texture("paints", 1, this.splats.paints);
    program.float("size", camera.width, camera.height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.framebuffer);
    gl.viewport(0, 0, target.width, target.height);
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.DST_ALPHA, gl.ONE, gl.ZERO, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.GREATER); // splats are drawn at depth 0.5, finished pixels have 1, the others 0
    gl.depthMask(false);
    this.#drawQuads(count);
  }

  /** Give finished pixels a depth that nothing passes, so that later ranges cost them nothing. @param {Target} target */
  #mark(target) {
    const { gl } = this;
    const program = this.program("mark");
    program.texture("picture", 0, target.picture).float("finished", FINISHED).float("level", 1);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.marks);
    gl.depthMask(true);
    this.fill(target.width, target.height);
  }

  /** @param {number} count */
  #drawQuads(count) {
    const { gl } = this;
    gl.bindVertexArray(this.quads);
    gl.drawElementsInstanced(gl.TRIANGLES, 6 * QUADS, gl.UNSIGNED_SHORT, 0, Math.ceil(count / QUADS));
  }
}

/** Vertex and fragment shader of a program. @param {string} name @returns {[string, string]} */
function textsOf(name) {
  if (name === "ellipsoids") return [ELLIPSOID_VERTEX, ELLIPSOID_FRAGMENT];
  if (name === "centers") return [CENTER_VERTEX, CENTER_FRAGMENT];
  if (name === "blend color") return [SPLAT_VERTEX, splatFragment("color")];
  if (name === "blend depth") return [SPLAT_VERTEX, splatFragment("depth")];
  if (name === "mark") return [WHOLE_TARGET, MARK_FRAGMENT];
  if (name === "compose") return [WHOLE_TARGET, COMPOSE_FRAGMENT];
  return [WHOLE_TARGET, projectShader(Number(name.replace("project ", "")))];
}

/** Two triangles a quad. */
function quadIndices() {
  const corners = [0, 1, 2, 2, 1, 3];
  return Uint16Array.from({ length: 6 * QUADS }, (_, i) => 4 * Math.floor(i / 6) + corners[i % 6]);
}

/** Places of the order in ranges that double in length: the nearest splats finish most pixels. @param {number} visible @param {number} rows of the first range */
function rangesOf(visible, rows) {
  const ranges = [];
  for (let first = 0; first < visible; ) {
    const count = Math.min(visible - first, Math.min(rows, SPLAT_ROWS) * ROW);
    ranges.push({ first, count });
    first += count;
    rows *= 2;
  }
  return ranges;
}
