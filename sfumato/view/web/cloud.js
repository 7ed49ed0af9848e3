/** Packed rows of Gaussians as textures of the graphics card, added row by row and made again after a lost context. */

import { makeTexture } from "./graphics.js";
import { BANDS, ROW } from "./pack.js";

/** @typedef {import("./pack.js").PackedRows} PackedRows */

/** Bytes of graphics memory that a Gaussian takes, its place in the order included. @param {number} degree */
export function bytesPerGaussian(degree) {
  return 28 + 4 * BANDS.slice(1, degree + 1).reduce((words, band) => words + band.words, 0);
}

export class Cloud {
  /** @param {WebGL2RenderingContext} gl @param {number} id @param {number} capacity Gaussians @param {number} degree */
  constructor(gl, id, capacity, degree) {
    this.gl = gl;
    this.id = id;
    this.degree = degree;
    this.rows = Math.max(1, Math.ceil(capacity / ROW));
    /** @type {PackedRows[]} what the textures hold, kept for a lost context, picking and bounds */
    this.parts = [];
    this.filled = 0; // rows
    this.count = 0; // real Gaussians
    this.version = 0; // grows with every part
    this.visible = 0; // places of the order in use
    this.textures = this.#makeTextures();
    this.order = makeTexture(gl, gl.R32UI, ROW, this.rows);
  }

  get bytes() {
    return this.rows * (ROW * bytesPerGaussian(this.degree) + 32);
  }

  /** How many rows are still free. */
  get free() {
    return this.rows - this.filled;
  }

  /** @param {PackedRows} part */
  add(part) {
    this.#upload(part, this.filled);
    this.parts.push(part);
    this.filled += part.ranges.length / 8;
    this.count += part.count;
    this.version++;
  }

  /** @param {Uint32Array} order with room for whole rows @param {number} visible */
  setOrder(order, visible) {
    const { gl } = this;
    this.visible = visible;
    const rows = Math.ceil(visible / ROW);
    if (rows === 0) return;
    gl.bindTexture(gl.TEXTURE_2D, this.order);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, ROW, rows, gl.RED_INTEGER, gl.UNSIGNED_INT, order);
  }

  /** Make everything again in a new context; the order has to be sorted again. */
  restore() {
    this.textures = this.#makeTextures();
    this.order = makeTexture(this.gl, this.gl.R32UI, ROW, this.rows);
    this.visible = 0;
    let row = 0;
    for (const part of this.parts) {
      this.#upload(part, row);
      row += part.ranges.length / 8;
    }
  }

  delete() {
    for (const { texture } of this.textures) this.gl.deleteTexture(texture);
    this.gl.deleteTexture(this.order);
  }

  #makeTextures() {
    const { gl, rows } = this;
    const bands = [gl.RG32UI, gl.RGBA32UI, gl.RGBA32UI].slice(0, this.degree);
    return [
      { name: "ranges", width: 2, format: gl.RGBA32F },
      { name: "geometry", width: ROW, format: gl.RGBA32UI },
      { name: "looks", width: ROW, format: gl.RG32UI },
      ...bands.map((format, i) => ({ name: `sh${i + 1}`, width: ROW, format })),
    ].map((kind) => ({ ...kind, texture: makeTexture(gl, kind.format, kind.width, rows) }));
  }

  /** @param {PackedRows} part @param {number} row */
  #upload(part, row) {
    const { gl } = this;
    const rows = part.ranges.length / 8;
    const arrays = [part.ranges, part.geometry, part.looks, part.sh1, part.sh2, part.sh3];
    this.textures.forEach(({ texture, width, format }, i) => {
      const array = arrays[i];
      if (!array || rows === 0) return;
      const layout = format === gl.RG32UI ? gl.RG_INTEGER : format === gl.RGBA32F ? gl.RGBA : gl.RGBA_INTEGER;
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, width, rows, layout, i ? gl.UNSIGNED_INT : gl.FLOAT, array);
    });
  }
}
