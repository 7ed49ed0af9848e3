/** GLSL of the stages: project Gaussians to splats, blend splats, mark finished pixels, compose the picture. */

import { BANDS } from "./pack.js";

/** Quads that one instance draws: many, since a software renderer pays for every instance. */
export const QUADS = 128;

/** Reads rows of packed Gaussians; pack.js says what their bits mean. */
export const READ_GAUSSIANS = `
uniform highp usampler2D order;
uniform highp usampler2D geometry;
uniform highp usampler2D looks;
uniform highp sampler2D ranges;
uniform vec4 viewmat[3]; // rows, camera <- world
uniform vec4 K; // fx, fy, cx, cy
uniform vec2 size; // pixels of the picture
uniform vec2 factors; // on opacity, on size
uniform float near;

ivec2 placeOf(uint index) { return ivec2(index & 1023u, index >> 10); }

vec3 tenBits(uint word) { return vec3(word & 1023u, (word >> 10) & 1023u, (word >> 20) & 1023u) / 1023.0; }

vec3 toCamera(vec3 v) { return vec3(dot(viewmat[0].xyz, v), dot(viewmat[1].xyz, v), dot(viewmat[2].xyz, v)); }

vec3 toWorld(vec3 v) { return viewmat[0].xyz * v.x + viewmat[1].xyz * v.y + viewmat[2].xyz * v.z; }

vec3 scalesOf(ivec2 place, uint word) {
  vec4 range = texelFetch(ranges, ivec2(0, place.y), 0);
  return exp(mix(range.xxx, range.yyy, tenBits(word)));
}

mat3 rotationOf(uint word) { // world <- own axes
  vec3 v = (tenBits(word).zyx - 0.5) * sqrt(2.0);
  float most = sqrt(max(0.0, 1.0 - dot(v, v)));
  uint k = word >> 30;
  vec4 q = k == 0u ? vec4(most, v) : k == 1u ? vec4(v.x, most, v.yz) : k == 2u ? vec4(v.xy, most, v.z) : vec4(v, most);
  q = normalize(q);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}
`;

/** Basis functions of a band at the unit vector d, as core/sh.py has them. */
const SH_BASES = [
  [],
  ["-0.4886025119029199 * d.y", "0.4886025119029199 * d.z", "-0.4886025119029199 * d.x"],
  [
    "1.0925484305920792 * d.x * d.y",
    "-1.0925484305920792 * d.y * d.z",
    "0.31539156525252005 * (2.0 * d.z * d.z - d.x * d.x - d.y * d.y)",
    "-1.0925484305920792 * d.x * d.z",
    "0.5462742152960396 * (d.x * d.x - d.y * d.y)",
  ],
  [
    "-0.5900435899266435 * d.y * (3.0 * d.x * d.x - d.y * d.y)",
    "2.890611442640554 * d.x * d.y * d.z",
    "-0.4570457994644658 * d.y * (4.0 * d.z * d.z - d.x * d.x - d.y * d.y)",
    "0.3731763325901154 * d.z * (2.0 * d.z * d.z - 3.0 * d.x * d.x - 3.0 * d.y * d.y)",
    "-0.4570457994644658 * d.x * (4.0 * d.z * d.z - d.x * d.x - d.y * d.y)",
    "1.445305721320277 * d.z * (d.x * d.x - d.y * d.y)",
    "-0.5900435899266435 * d.x * (d.x * d.x - 3.0 * d.y * d.y)",
  ],
];

/** The GLSL of coefficient j of a band from its words w: bits j n to j n + n - 1, which may straddle two words. @param {number} j @param {number} bits */
function coefficientText(j, bits) {
  const [word, shift] = [Math.floor((j * bits) / 32), (j * bits) % 32];
  const low = `w[${word}] >> ${shift}u`;
  const straddles = shift + bits > 32;
  return `float((${straddles ? `(${low}) | (w[${word + 1}] << ${32 - shift}u)` : low}) & ${(1 << bits) - 1}u)`;
}

/** vec3 bandN(uvec4 w, vec3 d): the light of a band, to be multiplied by its limit. @param {number} band */
function bandText(band) {
  const { bits } = BANDS[band];
  const most = (1 << (bits - 1)) - 1;
  const terms = SH_BASES[band].map((basis, k) => {
    const rgb = [0, 1, 2].map((channel) => coefficientText(3 * k + channel, bits));
    return `  s = vec3(${rgb.join(", ")}) * ${1 / most} - 1.0;\n  sum += (${basis}) * s * abs(s);`;
  });
  return `vec3 band${band}(uvec4 w, vec3 d) {\n  vec3 sum = vec3(0.0), s;\n${terms.join("\n")}\n  return sum;\n}\n`;
}

/** A triangle over the whole target. */
export const WHOLE_TARGET = `
uniform float level;
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, level, 1.0); }
`;

/**
 * Place in the order -> splat, one fragment each: EWA projection (Zwicker et al. 2001) and spherical harmonics, the
 * same as kernels/reference/project.py. Written: center (2 floats), half axes out to alpha 1/255 (4 halves); color and
 * opacity (4 halves), depth (1 float). Axes of 0: not seen.
 * @param {number} degree of the stored harmonics
 */
export function projectShader(degree) {
  const bands = Array.from({ length: degree }, (_, i) => i + 1);
  return `${READ_GAUSSIANS}
${bands.map((band) => `uniform highp usampler2D sh${band};`).join("\n")}
uniform int first; // place in the order of the first splat
uniform int visible;
uniform int shown; // degree of the harmonics
uniform bool antialiased;
uniform bool everything; // also what soft splats would not show
uniform vec3 eye;
layout(location = 0) out uvec4 shape;
layout(location = 1) out uvec4 paint;

${bands.map(bandText).join("\n")}
vec3 lightOf(ivec2 place, vec3 color, vec3 d) {
  vec4 limits = texelFetch(ranges, ivec2(1, place.y), 0);
${bands.map((band) => `  if (shown >= ${band}) color += limits.${"xyz"[band - 1]} * band${band}(texelFetch(sh${band}, place, 0), d);`).join("\n")}
  return max(color, 0.0);
}

void main() {
  shape = uvec4(0u);
  paint = uvec4(0u);
  int slot = first + int(gl_FragCoord.y) * 1024 + int(gl_FragCoord.x);
  if (slot >= visible) return;
  ivec2 place = placeOf(texelFetch(order, placeOf(uint(slot)), 0).r);
  uvec4 stored = texelFetch(geometry, place, 0);
  uvec2 look = texelFetch(looks, place, 0).xy;
  vec3 mean = uintBitsToFloat(stored.xyz);
  vec3 x_camera = toCamera(mean) + vec3(viewmat[0].w, viewmat[1].w, viewmat[2].w);
  float z = x_camera.z;
  float opacity = min(float(look.y >> 24) / 255.0 * factors.x, 1.0);
  if (z <= near || opacity < 1.0 / 255.0) return;

  mat3 rotation = rotationOf(stored.w);
  vec3 scales = scalesOf(place, look.x) * factors.y;
  vec3 a = toCamera(rotation[0]) * scales.x, b = toCamera(rotation[1]) * scales.y, c = toCamera(rotation[2]) * scales.z;
  vec2 slopes = x_camera.xy / z;
  vec2 center = K.xy * slopes + K.zw;
  vec2 margin = 0.3 * size / (2.0 * K.xy);
  vec2 inside = clamp(slopes, -K.zw / K.xy - margin, (size - K.zw) / K.xy + margin);
  vec3 depths = vec3(a.z, b.z, c.z);
  vec3 across = K.x / z * (vec3(a.x, b.x, c.x) - inside.x * depths);
  vec3 down = K.y / z * (vec3(a.y, b.y, c.y) - inside.y * depths);
  float xx = dot(across, across) + 0.3, xy = dot(across, down), yy = dot(down, down) + 0.3;
  float determinant = xx * yy - xy * xy;
  if (determinant <= 0.0) return;
  if (antialiased && !everything) {
    vec3 area = cross(across, down);
    opacity *= sqrt(max(dot(area, area) / determinant, 1e-12));
  }
  float reach = 2.0 * log(opacity * 255.0);
  vec2 radii = sqrt(max(reach, 0.0) * vec2(xx, yy));
  bool beside = any(lessThan(center + radii, vec2(0.5))) || any(greaterThan(center - radii, size - 0.5));
  if (!everything && (reach <= 0.0 || beside)) return;

  float middle = 0.5 * (xx + yy);
  float larger = middle + length(vec2(0.5 * (xx - yy), xy));
  vec2 axis = xx >= yy ? vec2(larger - yy, xy) : vec2(xy, larger - xx);
  axis = dot(axis, axis) > 0.0 ? normalize(axis) : vec2(1.0, 0.0);
  vec2 lengths = min(sqrt(max(reach, 1e-6) * vec2(larger, determinant / larger)), 60000.0); // a half ends at 65504
  shape.xy = floatBitsToUint(center);
  shape.z = packHalf2x16(axis * lengths.x);
  shape.w = packHalf2x16(vec2(-axis.y, axis.x) * lengths.y);

  vec4 range = texelFetch(ranges, ivec2(0, place.y), 0);
  vec3 base = mix(range.zzz, range.www, vec3(look.y & 255u, (look.y >> 8) & 255u, (look.y >> 16) & 255u) / 255.0);
  vec3 color = min(lightOf(place, base, normalize(mean - eye)), 60000.0);
  paint = uvec4(packHalf2x16(color.rg), packHalf2x16(vec2(color.b, opacity)), floatBitsToUint(z), 0u);
}
`;
}

/** Splat -> quad: corner of an oriented rectangle. Deviations squared are halvings of alpha, so that exp2 needs no factor. */
export const SPLAT_VERTEX = `
uniform highp usampler2D shapes;
uniform highp usampler2D paints;
uniform vec2 size;
flat out vec4 color; // a: log2 of the opacity
flat out float depth;
out vec2 deviation;
void main() {
  int slot = gl_InstanceID * ${QUADS} + (gl_VertexID >> 2);
  ivec2 place = ivec2(slot & 1023, slot >> 10);
  uvec4 shape = texelFetch(shapes, place, 0);
  uvec4 paint = texelFetch(paints, place, 0);
  color = vec4(unpackHalf2x16(paint.x), unpackHalf2x16(paint.y));
  color.a = log2(max(color.a, 1e-6));
  depth = uintBitsToFloat(paint.z);
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2.0 - 1.0;
  deviation = corner * sqrt(max(color.a + log2(255.0), 0.0));
  vec2 pixel = uintBitsToFloat(shape.xy) + corner.x * unpackHalf2x16(shape.z) + corner.y * unpackHalf2x16(shape.w);
  gl_Position = vec4(pixel / size * 2.0 - 1.0, 0.0, 1.0);
}
`;

/** What a splat adds to a pixel, as kernels/reference/blend.py: premultiplied color (or depth), and alpha. @param {"color" | "depth"} what */
export function splatFragment(what) {
  return `
flat in vec4 color;
flat in float depth;
in vec2 deviation;
out vec4 added;
void main() {
  float exponent = color.a - dot(deviation, deviation);
  if (exponent < -7.994353436858858) discard; // log2(1 / 255)
  float alpha = min(exp2(exponent), 0.999);
  added = vec4(${what === "depth" ? "vec3(depth)" : "color.rgb"} * alpha, alpha);
}
`;
}

/** Lets only finished pixels through: those that what is behind cannot change by more than half a level. */
export const MARK_FRAGMENT = `
uniform highp sampler2D picture;
uniform float finished;
void main() { if (texelFetch(picture, ivec2(gl_FragCoord.xy), 0).a >= finished) discard; }
`;

/** Blended color and what still shines through, to the colors of the canvas. */
export const COMPOSE_FRAGMENT = `
uniform highp sampler2D picture;
uniform highp sampler2D before;
uniform float share; // of the picture in the crossfade from the one before
uniform vec3 background;
uniform float gain; // on light
uniform int bottom; // last row where rows run upwards, else -1
out vec4 shown;

vec3 exposed(vec3 c) { // on light, so through the curve of sRGB and back
  vec3 light = mix(c / 12.92, pow((c + 0.055) / 1.055, vec3(2.4)), step(0.04045, c)) * gain;
  return mix(light * 12.92, 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, light));
}

vec3 over(vec4 blended) { // a: transmittance
  float alpha = 1.0 - blended.a;
  if (gain != 1.0 && alpha > 0.0) blended.rgb = exposed(blended.rgb / alpha) * alpha;
  return blended.rgb + blended.a * background;
}

void main() {
  ivec2 place = ivec2(gl_FragCoord.xy);
  if (bottom >= 0) place.y = bottom - place.y;
  vec3 color = over(texelFetch(picture, place, 0));
  if (share < 1.0) color = mix(over(texelFetch(before, place, 0)), color, share);
  shown = vec4(color, 1.0);
}
`;
