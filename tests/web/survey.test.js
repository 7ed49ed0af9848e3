/** Where the subject of a scene is found: whatever is around it, and however few Gaussians there are. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { packRows } from "../../sfumato/view/web/pack.js";
import { boundsOf } from "../../sfumato/view/web/survey.js";

/** Round Gaussians. @param {number[][]} means @param {number[]} sizes @param {number[]} opacities */
function rowsOf(means, sizes, opacities) {
  const count = means.length;
  return packRows({
    count,
    degree: 0,
    means: Float32Array.from(means.flat()),
    quats: Float32Array.from(means.flatMap(() => [1, 0, 0, 0])),
    logScales: Float32Array.from(sizes.flatMap((size) => Array(3).fill(Math.log(size)))),
    logitOpacities: Float32Array.from(opacities.map((p) => Math.log(p / (1 - p)))),
    sh0: new Float32Array(3 * count),
    shN: new Float32Array(0),
  });
}

/** @param {number} seed */
function randomOf(seed) {
  return () => (seed = (seed * 16807) % 2147483647) / 2147483647;
}

/** @param {number[]} a @param {number[]} b */
const apart = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]));

test("the subject in a wide place, of which more Gaussians are", () => {
  const random = randomOf(5);
  const ball = (/** @type {number[]} */ middle, /** @type {number} */ radius) => middle.map((m) => m + radius * (random() + random() + random() - 1.5));
  const subject = Array.from({ length: 3000 }, () => ball([3, -1, 2], 0.6));
  const around = Array.from({ length: 4000 }, () => ball([0, 0, 0], 40));
  const all = [...subject, ...around].map((place, i) => ({ place, size: i < 3000 ? 0.02 : 0.8 }));
  all.sort(() => random() - 0.5);
  const parts = [all.slice(0, 5000), all.slice(5000)].map((some) =>
    rowsOf(some.map(({ place }) => place), some.map(({ size }) => size), some.map(() => 0.8)),
  );
  const { middle, radius, low, high } = boundsOf(parts);
  assert.ok(apart(middle, [3, -1, 2]) < 0.3, String(middle));
  assert.ok(radius > 0.5 && radius < 1.5, String(radius));
  assert.ok([0, 1, 2].every((i) => low[i] < middle[i] && middle[i] < high[i] && high[i] - low[i] < 5 * radius + 1e-6));
});

test("a handful of Gaussians is the subject, each with its size", () => {
  const one = boundsOf([rowsOf([[5, 6, 7]], [0.1], [0.9])]);
  assert.ok(apart(one.middle, [5, 6, 7]) < 1e-5);
  assert.ok(Math.abs(one.radius - 0.3) < 0.01);
  const three = boundsOf([rowsOf([[0, 0, 0], [2, 0, 0], [0, 2, 0]], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9])]);
  for (const place of [[0, 0, 0], [2, 0, 0], [0, 2, 0]]) assert.ok(apart(three.middle, place) < three.radius);
  assert.equal(boundsOf([]).radius, 1);
});

test("a flat wall is seen whole", () => {
  const places = Array.from({ length: 900 }, (_, i) => [(i % 30) / 14.5 - 1, Math.floor(i / 30) / 14.5 - 1, 4]);
  const { middle, radius } = boundsOf([rowsOf(places, places.map(() => 0.03), places.map(() => 0.9))]);
  assert.ok(apart(middle, [0, 0, 4]) < 0.1, String(middle));
  assert.ok(radius > 0.9 && radius < 1.5, String(radius));
});
