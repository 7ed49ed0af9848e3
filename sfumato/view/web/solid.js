/** GLSL of the two looks that are opaque: lit ellipsoids, and centers as round points. */

import { QUADS, READ_GAUSSIANS } from "./shaders.js";

/** Fainter Gaussians are no ellipsoids. */
export const FAINT = 0.1;

/**
 * Gaussian -> the box on the picture around its ellipsoid. With camera-space half axes a, b, c and center m, the
 * slopes of the box are where the ray's plane touches: (m_z^2 - S_zz) s^2 - 2 (m_x m_z - S_xz) s + m_x^2 - S_xx = 0,
 * S the sum of the squares of the axes. Seen from a unit sphere, a ray is offset + s * ray, s being depth behind m.
 */
export const ELLIPSOID_VERTEX = `${READ_GAUSSIANS}
uniform highp usampler2D paints;
uniform int first;
uniform int visible;
uniform float deviations;
uniform vec3 light; // unit, camera axes, towards it
flat out vec3 color;
flat out vec3 toLight; // unit sphere <- light
flat out vec3 shrink; // 1 / half axes
flat out float depth; // of the center
out vec3 offset;
out vec3 ray;
out vec3 straight; // the ray in camera axes

vec2 bounds(vec3 p, vec3 q, vec2 m) { // p: one coordinate of the three axes, q: their depths
  float spread = dot(m.y * p - m.x * q, m.y * p - m.x * q) - dot(cross(p, q), cross(p, q));
  float scale = m.y * m.y - dot(q, q);
  return (m.x * m.y - dot(p, q) + vec2(-1.0, 1.0) * sqrt(max(spread, 0.0))) / scale;
}

void main() {
  int slot = gl_InstanceID * ${QUADS} + (gl_VertexID >> 2);
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // nowhere
  if (first + slot >= visible) return;
  ivec2 place = placeOf(texelFetch(order, placeOf(uint(first + slot)), 0).r);
  uvec4 paint = texelFetch(paints, ivec2(slot & 1023, slot >> 10), 0);
  vec2 blueOpacity = unpackHalf2x16(paint.y);
  if (blueOpacity.y < ${FAINT}) return;
  color = vec3(unpackHalf2x16(paint.x), blueOpacity.x);

  uvec4 stored = texelFetch(geometry, place, 0);
  vec3 halves = scalesOf(place, texelFetch(looks, place, 0).x) * factors.y * deviations;
  shrink = 1.0 / max(halves, 1e-12);
  mat3 turn = rotationOf(stored.w);
  vec3 a = toCamera(turn[0]), b = toCamera(turn[1]), c = toCamera(turn[2]);
  mat3 sphere = mat3( // unit sphere <- camera axes
    vec3(a.x, b.x, c.x) * shrink, vec3(a.y, b.y, c.y) * shrink, vec3(a.z, b.z, c.z) * shrink);
  vec3 m = toCamera(uintBitsToFloat(stored.xyz)) + vec3(viewmat[0].w, viewmat[1].w, viewmat[2].w);
  depth = m.z;
  toLight = sphere * light;

  vec3 depths = vec3(a.z, b.z, c.z) * halves;
  vec2 whole = vec2(0.0), slopesX = -K.z / K.x + whole, slopesY = -K.w / K.y + whole;
  slopesX.y = (size.x - K.z) / K.x;
  slopesY.y = (size.y - K.w) / K.y;
  vec3 inside = sphere * m;
  if (dot(inside, inside) <= 1.0) return; // the camera is in it
  if (m.z * m.z > dot(depths, depths)) {
    slopesX = bounds(vec3(a.x, b.x, c.x) * halves, depths, m.xz);
    slopesY = bounds(vec3(a.y, b.y, c.y) * halves, depths, m.yz);
  }
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1);
  vec2 pixel = K.xy * vec2(corner.x > 0.5 ? slopesX.y : slopesX.x, corner.y > 0.5 ? slopesY.y : slopesY.x) + K.zw + corner - 0.5;
  pixel = clamp(pixel, vec2(0.0), size);
  straight = vec3((pixel - K.zw) / K.xy, 1.0);
  ray = sphere * straight;
  offset = sphere * vec3(straight.xy * m.z - m.xy, 0.0); // small near the center, where m - depth * ray would cancel
  gl_Position = vec4(pixel / size * 2.0 - 1.0, 0.0, 1.0);
}
`;

/** Where a ray meets the ellipsoid, lit; its depth is near / z, 1 at the near plane. */
export const ELLIPSOID_FRAGMENT = `
uniform float near;
flat in vec3 color;
flat in vec3 toLight;
flat in vec3 shrink;
flat in float depth;
in vec3 offset;
in vec3 ray;
in vec3 straight;
out vec4 shown;
void main() {
  float squared = dot(ray, ray);
  float closest = -dot(offset, ray) / squared;
  vec3 across = offset + closest * ray;
  float left = 1.0 - dot(across, across);
  if (left < 0.0) discard;
  float back = sqrt(left / squared);
  float z = depth + closest - back;
  if (z < near) discard;
  vec3 p = across - back * ray; // on the unit sphere
  float norm = 1.0 / length(p * shrink); // the normal is shrink * p in own axes
  float facing = clamp(-dot(p, ray) * norm / length(straight), 0.0, 1.0);
  float lit = 0.38 + 0.62 * clamp((dot(p, toLight) * norm + 0.35) / 1.35, 0.0, 1.0);
  float rim = 0.22 * pow(1.0 - facing, 3.0);
  shown = vec4(color * (lit + rim) + 0.06 * rim, 0.0);
  gl_FragDepth = near / z;
}
`;

/** Gaussian -> point. */
export const CENTER_VERTEX = `
uniform highp usampler2D shapes;
uniform highp usampler2D paints;
uniform vec2 size;
uniform float near;
uniform float pointSize;
flat out vec3 color;
void main() {
  ivec2 place = ivec2(gl_VertexID & 1023, gl_VertexID >> 10);
  uvec4 paint = texelFetch(paints, place, 0);
  vec2 blueOpacity = unpackHalf2x16(paint.y);
  float depth = uintBitsToFloat(paint.z);
  color = vec3(unpackHalf2x16(paint.x), blueOpacity.x);
  gl_PointSize = pointSize;
  gl_Position = depth > near
    ? vec4(uintBitsToFloat(texelFetch(shapes, place, 0).xy) / size * 2.0 - 1.0, 2.0 * near / depth - 1.0, 1.0)
    : vec4(2.0, 2.0, 2.0, 1.0);
}
`;

/** A round point, a little darker at its edge. */
export const CENTER_FRAGMENT = `
flat in vec3 color;
out vec4 shown;
void main() {
  vec2 from = 2.0 * gl_PointCoord - 1.0;
  float squared = dot(from, from);
  if (squared > 1.0) discard;
  shown = vec4(color * (1.0 - 0.25 * squared), 0.0);
}
`;
