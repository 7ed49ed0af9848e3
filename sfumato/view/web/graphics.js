/** The WebGL2 context: got or refused in a sentence, programs, textures and targets made. */

/** Why there is no picture, in one sentence for people. */
export class GraphicsError extends Error {}

const NO_WEBGL =
  "This browser shows no WebGL2, which the viewer draws with: switch on hardware acceleration, or try a current Firefox, Chrome, Edge or Safari.";

/**
 * The canvas's WebGL2 context. Throws GraphicsError where there is none.
 * @param {HTMLCanvasElement} canvas
 */
export function openContext(canvas) {
  const gl = canvas.getContext("webgl2", {
    alpha: false,
    antialias: false,
    depth: false,
    stencil: false,
    powerPreference: "high-performance",
  });
  if (!gl) throw new GraphicsError(NO_WEBGL);
  return gl;
}

/** A linked pair of shaders and the places of its uniforms. Whether the driver took them is asked at the first use: until then it compiles beside us. */
export class Program {
  /** @param {WebGL2RenderingContext} gl @param {string} vertex @param {string} fragment GLSL without its version */
  constructor(gl, vertex, fragment) {
    this.gl = gl;
    this.program = gl.createProgram();
    for (const [type, text] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(type));
      gl.shaderSource(shader, `#version 300 es\nprecision highp float;\nprecision highp int;\n${text}`);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
      gl.deleteShader(shader);
    }
    gl.linkProgram(this.program);
    this.taken = false; // by the driver, as far as we know
    /** @type {Map<string, WebGLUniformLocation | null>} */
    this.places = new Map();
  }

  /** Make it what draws. Throws GraphicsError when the driver refuses it. */
  use() {
    if (!this.taken) this.#check();
    this.gl.useProgram(this.program);
    return this;
  }

  #check() {
    const { gl } = this;
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const log = (gl.getAttachedShaders(this.program) ?? []).map((shader) => gl.getShaderInfoLog(shader)).join(" ");
      throw new GraphicsError(`This graphics driver refuses a shader: ${log || gl.getProgramInfoLog(this.program)}`);
    }
    this.taken = true;
  }

  /** Set a float or a vector of up to four; names that the shader does not use are ignored. @param {string} name @param {...number} values */
  float(name, ...values) {
    const place = this.#place(name);
    if (values.length === 1) this.gl.uniform1f(place, values[0]);
    else if (values.length === 2) this.gl.uniform2fv(place, values);
    else if (values.length === 3) this.gl.uniform3fv(place, values);
    else this.gl.uniform4fv(place, values); // longer ones are arrays of vec4
    return this;
  }

  /** @param {string} name @param {number} value */
  int(name, value) {
    this.gl.uniform1i(this.#place(name), value);
    return this;
  }

  /** Bind a texture to a unit and a sampler. @param {string} name @param {number} unit @param {WebGLTexture | null} texture */
  texture(name, unit, texture) {
    this.gl.activeTexture(this.gl.TEXTURE0 + unit);
    this.gl.bindTexture(this.gl.TEXTURE_2D, texture);
    return this.int(name, unit);
  }

  /** @param {string} name */
  #place(name) {
    let place = this.places.get(name);
    if (place === undefined) {
      place = this.gl.getUniformLocation(this.program, name);
      this.places.set(name, place);
    }
    return place;
  }
}

/**
 * A texture of one level that is read texel by texel, filled with zeros.
 * @param {WebGL2RenderingContext} gl @param {number} format sized internal format @param {number} width @param {number} height
 */
export function makeTexture(gl, format, width, height) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
  return texture;
}

/**
 * A framebuffer of textures.
 * @param {WebGL2RenderingContext} gl @param {WebGLTexture[]} colors @param {WebGLTexture | null} depth
 */
export function makeFramebuffer(gl, colors, depth) {
  const framebuffer = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
  const names = colors.map((_, i) => gl.COLOR_ATTACHMENT0 + i);
  colors.forEach((texture, i) => gl.framebufferTexture2D(gl.FRAMEBUFFER, names[i], gl.TEXTURE_2D, texture, 0));
  if (depth) gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, depth, 0);
  gl.drawBuffers(names.length ? names : [gl.NONE]);
  return framebuffer;
}

/**
 * What blended colors are kept in: 16-bit floats, or 8 bits where a graphics card cannot blend those. A software
 * renderer is nearly twice as fast with 32 bits, which it need not convert.
 * @param {WebGL2RenderingContext} gl
 */
export function pictureFormat(gl) {
  const floats = gl.getExtension("EXT_color_buffer_float");
  if (floats && isSoftware(gl) && gl.getExtension("EXT_float_blend")) return gl.RGBA32F;
  return floats || gl.getExtension("EXT_color_buffer_half_float") ? gl.RGBA16F : gl.RGBA8;
}

/** Whether pictures are made by the processor. @param {WebGL2RenderingContext} gl */
export function isSoftware(gl) {
  let name = String(gl.getParameter(gl.RENDERER));
  if (/webkit/i.test(name)) { // others tell at once, and Firefox warns of the extension
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    if (info) name = String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL));
  }
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}
