import assert from "node:assert/strict";
import { test } from "node:test";
import { curveInWords, curvePath, curveRange, nearestPoint, roundTicks } from "../../sfumato/view/web/curves.js";

test("ticks are round and lie inside", () => {
  assert.deepEqual(roundTicks(0, 1000, 4), [0, 500, 1000]);
  assert.deepEqual(roundTicks(17.3, 31.9, 4), [20, 25, 30]);
  assert.deepEqual(roundTicks(0.1, 0.3, 2), [0.1, 0.2, 0.3]);
  assert.deepEqual(roundTicks(5, 5, 4), [5]);
});

test("the nearest point", () => {
  const points = [[1, 0], [10, 0], [100, 0]];
  assert.equal(nearestPoint(points, -5), 0);
  assert.equal(nearestPoint(points, 5), 0);
  assert.equal(nearestPoint(points, 6), 1);
  assert.equal(nearestPoint(points, 1e9), 2);
  assert.equal(nearestPoint([], 1), -1);
});

test("a gap where there is no number", () => {
  const same = (/** @type {number} */ v) => v;
  assert.equal(curvePath([[0, 1], [1, null], [2, 3], [3, NaN], [4, 5], [5, 6]], same, same), "M0.0 1.0M2.0 3.0M4.0 5.0L5.0 6.0");
  assert.equal(curvePath([[0, 1], [1, 0], [2, 3]], same, same, true), "M0.0 1.0M2.0 3.0");
});

test("the range has air, also around one value and around none", () => {
  assert.deepEqual(curveRange([], false), { x0: 0, x1: 1, y0: 0, y1: 1 });
  assert.deepEqual(curveRange([{ name: "a", points: [[3, 10]] }]), { x0: 3, x1: 4, y0: 9, y1: 11 });
  const { y0, y1 } = curveRange([{ name: "a", points: [[0, 0.01], [9, 1]] }], true);
  assert.ok(y0 > 0 && y0 < 0.01 && y1 > 1 && y1 < 2);
});

test("the chart in words", () => {
  const train = { name: "training photos", points: [[1, 12], [3000, 27.123]] };
  const held = { name: "held-out photos", points: [[1500, 24]] };
  const options = { title: "PSNR", unit: "dB" };
  assert.equal(
    curveInWords([train, held], options),
    "PSNR: training photos from 12.00 dB at step 1 to 27.12 dB at step 3,000; held-out photos 24.00 dB at step 1,500",
  );
  assert.equal(curveInWords([], options), "PSNR: no values yet");
  assert.equal(curveInWords([{ name: "loss", points: [[2, 0.5]] }], { title: "loss", digits: 3 }), "loss: 0.500 at step 2");
});
