/** Overlays of straight lines: drawn over the picture as thin smooth ribbons, faint where the scene hides them. */

import { Program } from "./graphics.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {{positions: Float32Array, color: number[]}} Lines positions: 6 numbers a segment; color: r, g, b, a in [0, 1] */
/**
 * Where the scene is.
 * @typedef {object} SceneDepth
 * @property {WebGLTexture} texture
 * @property {"expected" | "near over z"} kind expected: blended depth and transmittance
 * @property {number} near
 */

const LINE_VERTEX = `
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
uniform vec4 viewmat[3];
uniform vec4 K;
uniform vec2 size;
uniform float near;
uniform float halfWidth; // pixels
uniform float upwards; // -1 where the target's rows run upwards, else 1
out float across; // pixels
out float depth;
vec3 toCamera(vec3 p) { return vec3(dot(viewmat[0], vec4(p, 1.0)), dot(viewmat[1], vec4(p, 1.0)), dot(viewmat[2], vec4(p, 1.0))); }
void main() {
  vec3 a = toCamera(from), b = toCamera(to);
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // nowhere
  if (max(a.z, b.z) <= near) return;
  if (a.z < near) a = mix(a, b, (near - a.z) / (b.z - a.z));
  else if (b.z < near) b = mix(b, a, (near - b.z) / (a.z - b.z));
  vec2 p = K.xy * a.xy / a.z + K.zw, q = K.xy * b.xy / b.z + K.zw;
  vec2 way = q - p;
  way = dot(way, way) > 1e-8 ? normalize(way) : vec2(1.0, 0.0);
  float side = float(gl_VertexID & 1) * 2.0 - 1.0;
  bool last = (gl_VertexID & 2) != 0;
  across = side * (halfWidth + 1.0);
  vec2 pixel = (last ? q : p) + vec2(-way.y, way.x) * across;
  depth = last ? b.z : a.z;
  vec2 unit = pixel / size * 2.0 - 1.0;
  gl_Position = vec4(unit.x * depth, unit.y * upwards * depth, 0.0, depth);
}
`;

const LINE_FRAGMENT = `
uniform highp sampler2D scene;
uniform vec2 size;
uniform float near;
uniform float halfWidth;
uniform float upwards;
uniform bool expected;
uniform vec4 color;
in float across;
in float depth;
out vec4 shown;
void main() {
  vec2 share = gl_FragCoord.xy / size;
  if (upwards < 0.0) share.y = 1.0 - share.y;
  vec4 there = texelFetch(scene, ivec2(share * vec2(textureSize(scene, 0))), 0);
  float solid = expected ? 1.0 - there.a : step(1e-9, there.r);
  float z = expected ? there.r / max(solid, 1e-4) : near / max(there.r, 1e-9);
  float behind = smoothstep(1.0, 1.03, depth / z) * smoothstep(0.2, 0.8, solid);
  float edge = clamp(halfWidth + 0.5 - abs(across), 0.0, 1.0);
  shown = vec4(color.rgb, color.a * edge * mix(1.0, 0.22, behind));
}
`;

export class LineDrawer {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    /** @type {Map<string, {lines: Lines, array: WebGLVertexArrayObject, buffers: WebGLBuffer[], count: number}>} */
    this.sets = new Map();
    /** @type {Program | null} */
    this.program = null;
  }

  get empty() {
    return this.sets.size === 0;
  }

  /** @param {string} name @param {Lines | null} lines null: none any more */
  set(name, lines) {
    const { gl } = this;
    const old = this.sets.get(name);
    if (old) {
      gl.deleteVertexArray(old.array);
      for (const buffer of old.buffers) gl.deleteBuffer(buffer);
      this.sets.delete(name);
    }
    const count = lines ? Math.floor(lines.positions.length / 6) : 0;
    if (!lines || count === 0) return;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const [corners, indices] = [gl.createBuffer(), gl.createBuffer()];
    gl.bindBuffer(gl.ARRAY_BUFFER, corners);
    gl.bufferData(gl.ARRAY_BUFFER, fourfold(lines.positions, count), gl.STATIC_DRAW);
    for (const place of [0, 1]) {
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 24, 12 * place);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, segmentIndices(count), gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    this.sets.set(name, { lines, array, buffers: [corners, indices], count });
  }

  /** In a new context. @param {WebGL2RenderingContext} gl */
  restore(gl) {
    this.gl = gl;
    this.program = null;
    const kept = [...this.sets];
    this.sets.clear();
    for (const [name, { lines }] of kept) this.set(name, lines);
  }

  /** Draw all into the bound framebuffer. @param {Camera} camera @param {SceneDepth} scene @param {number} width of a line in pixels @param {boolean} upwards whether the target's rows run upwards */
  draw(camera, scene, width, upwards) {
    const { gl } = this;
    this.program ??= new Program(gl, LINE_VERTEX, LINE_FRAGMENT);
    const program = this.program.use();
    program.float("viewmat[0]", ...camera.viewmat.slice(0, 12));
    program.float("K", camera.K[0], camera.K[1], camera.K[2], camera.K[3]).float("size", camera.width, camera.height);
    program.float("near", scene.near).float("halfWidth", 0.5 * width).float("upwards", upwards ? -1 : 1);
    program.texture("scene", 0, scene.texture).int("expected", +(scene.kind === "expected"));
    gl.enable(gl.BLEND);
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE);
    for (const { lines, array, count } of this.sets.values()) {
      program.float("color", lines.color[0], lines.color[1], lines.color[2], lines.color[3] ?? 1);
      gl.bindVertexArray(array);
      gl.drawElements(gl.TRIANGLES, 6 * count, gl.UNSIGNED_INT, 0);
    }
    gl.disable(gl.BLEND);
  }
}

/** Every segment once for each corner of its ribbon. @param {Float32Array} positions @param {number} count */
function fourfold(positions, count) {
  const corners = new Float32Array(24 * count);
  for (let i = 0; i < 4 * count; i++) corners.set(positions.subarray(6 * (i >> 2), 6 * (i >> 2) + 6), 6 * i);
  return corners;
}

/** @param {number} count */
function segmentIndices(count) {
  const corners = [0, 1, 2, 2, 1, 3];
  return Uint32Array.from({ length: 6 * count }, (_, i) => 4 * Math.floor(i / 6) + corners[i % 6]);
}
