/** What is drawn into: a picture with its depths, and splats between two stages. */

import { makeFramebuffer, makeTexture } from "./graphics.js";
import { ROW } from "./pack.js";

/** Rows of splats that are projected and then drawn in one go at most; a few MB. */
export const SPLAT_ROWS = 256;

/** Blended color and transmittance of every pixel, and a depth. */
export class Target {
  /** @param {WebGL2RenderingContext} gl @param {number} width @param {number} height @param {number} format of the picture */
  constructor(gl, width, height, format) {
    this.gl = gl;
    this.width = width;
    this.height = height;
    this.picture = makeTexture(gl, format, width, height);
    this.depth = makeTexture(gl, gl.DEPTH_COMPONENT32F, width, height);
    this.framebuffer = makeFramebuffer(gl, [this.picture], this.depth);
    this.marks = makeFramebuffer(gl, [], this.depth);
  }

  delete() {
    for (const texture of [this.picture, this.depth]) this.gl.deleteTexture(texture);
    for (const framebuffer of [this.framebuffer, this.marks]) this.gl.deleteFramebuffer(framebuffer);
  }
}

/** Splats on their way from projection to blending: as many rows as a cloud has, SPLAT_ROWS at most. */
export class SplatBuffer {
  /** @param {WebGL2RenderingContext} gl @param {number} rows */
  constructor(gl, rows) {
    this.gl = gl;
    this.rows = rows;
    this.shapes = makeTexture(gl, gl.RGBA32UI, ROW, rows);
    this.paints = makeTexture(gl, gl.RGBA32UI, ROW, rows);
    this.framebuffer = makeFramebuffer(gl, [this.shapes, this.paints], null);
  }

  delete() {
    for (const texture of [this.shapes, this.paints]) this.gl.deleteTexture(texture);
    this.gl.deleteFramebuffer(this.framebuffer);
  }
}
