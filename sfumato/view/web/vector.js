/** Three-dimensional vectors, unit quaternions (w, x, y, z) and row-major matrices as plain arrays; nothing is changed in place. */

/** @typedef {[number, number, number]} Vector */
/** @typedef {[number, number, number, number]} Quaternion w, x, y, z */
/** @typedef {ArrayLike<number>} Numbers anything with numbers by index */

/** @param {Numbers} a @param {Numbers} b @returns {Vector} */
export function add(a, b) {
  return [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
}

/** @param {Numbers} a @param {Numbers} b @returns {Vector} */
export function subtract(a, b) {
  return [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
}

/** @param {Numbers} a @param {number} factor @returns {Vector} */
export function scaled(a, factor) {
  return [a[0] * factor, a[1] * factor, a[2] * factor];
}

/** a + factor * b. @param {Numbers} a @param {number} factor @param {Numbers} b @returns {Vector} */
export function along(a, factor, b) {
  return [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]];
}

/** @param {Numbers} a @param {Numbers} b */
export function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/** @param {Numbers} a @param {Numbers} b @returns {Vector} */
export function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

/** @param {Numbers} a */
export function lengthOf(a) {
  return Math.hypot(a[0], a[1], a[2]);
}

/** @param {Numbers} a @param {Numbers} b */
export function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/** The vector of length 1; zero stays zero. @param {Numbers} a @returns {Vector} */
export function normalized(a) {
  return scaled(a, 1 / (lengthOf(a) || 1));
}

/** Between a (share 0) and b (share 1). @param {Numbers} a @param {Numbers} b @param {number} share @returns {Vector} */
export function mixed(a, b, share) {
  return along(a, share, subtract(b, a));
}

/** Some unit vector across the given one. @param {Numbers} a @returns {Vector} */
export function anyAcross(a) {
  const smallest = [0, 1, 2].reduce((best, i) => (Math.abs(a[i]) < Math.abs(a[best]) ? i : best), 0);
  return normalized(cross(a, [+(smallest === 0), +(smallest === 1), +(smallest === 2)]));
}

/** The vector turned about a unit axis, right-handed (Rodrigues 1840). @param {Numbers} a @param {Numbers} axis @param {number} angle radians */
export function turned(a, axis, angle) {
  const c = Math.cos(angle);
  const part = along(scaled(a, c), Math.sin(angle), cross(axis, a));
  return along(part, (1 - c) * dot(axis, a), axis);
}

/** Row-major 3x3 times a vector. @param {Numbers} matrix @param {Numbers} a @returns {Vector} */
export function multiplied(matrix, a) {
  const [x, y, z] = [a[0], a[1], a[2]];
  return [
    matrix[0] * x + matrix[1] * y + matrix[2] * z,
    matrix[3] * x + matrix[4] * y + matrix[5] * z,
    matrix[6] * x + matrix[7] * y + matrix[8] * z,
  ];
}

/** Row-major 3x3 of a quaternion of any length > 0. @param {Numbers} q w, x, y, z @returns {number[]} */
export function matrixFromQuaternion(q) {
  const length = Math.hypot(q[0], q[1], q[2], q[3]) || 1;
  const [w, x, y, z] = [q[0] / length, q[1] / length, q[2] / length, q[3] / length];
  return [
    ...[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    ...[2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    ...[2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

/** The unit quaternion, w >= 0, of a row-major rotation (Shepperd 1978). @param {Numbers} m @returns {Quaternion} */
export function quaternionFromMatrix(m) {
  const squares = [1 + m[0] + m[4] + m[8], 1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8], 1 - m[0] - m[4] + m[8]];
  const largest = squares.indexOf(Math.max(...squares));
  const [wx, wy, wz] = [m[7] - m[5], m[2] - m[6], m[3] - m[1]];
  const [xy, yz, xz] = [m[1] + m[3], m[5] + m[7], m[2] + m[6]];
  const rows = [
    [squares[0], wx, wy, wz],
    [wx, squares[1], xy, xz],
    [wy, xy, squares[2], yz],
    [wz, xz, yz, squares[3]],
  ];
  const q = rows[largest];
  const factor = (q[0] < 0 ? -1 : 1) / Math.hypot(...q);
  return [q[0] * factor, q[1] * factor, q[2] * factor, q[3] * factor];
}

/** Between two rotations on the shortest way, at even speed (Shoemake 1985). @param {Numbers} a @param {Numbers} b @param {number} share @returns {Quaternion} */
export function slerp(a, b, share) {
  let cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  const sign = cosine < 0 ? -1 : 1;
  cosine = Math.min(1, cosine * sign);
  const angle = Math.acos(cosine);
  const sine = Math.sin(angle);
  // nearly equal rotations: the straight line is as good, and has no division by zero
  const [p, q] = sine < 1e-6 ? [1 - share, share] : [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
  const mix = [0, 1, 2, 3].map((i) => p * a[i] + q * sign * b[i]);
  const length = Math.hypot(...mix);
  return [mix[0] / length, mix[1] / length, mix[2] / length, mix[3] / length];
}
