// The report's script: the order of rows, and the colors of errors.
import assert from "node:assert/strict";
import { test } from "node:test";

import { errorColors, sortedRows } from "../../sfumato/view/web/report.js";

test("rows are sorted by number or word, without a value last, equal ones as they were", () => {
  assert.deepEqual(sortedRows([3, null, 1, 2, 1], false), [2, 4, 3, 0, 1]);
  assert.deepEqual(sortedRows([3, null, 1, 2, 1], true), [0, 3, 2, 4, 1]);
  assert.deepEqual(sortedRows(["photo10", "photo9", "b"], false), [2, 1, 0]);
  assert.deepEqual(sortedRows([], false), []);
});

test("an error is the root mean square over the colors, and the largest is shown as the most", () => {
  const colors = /** @type {[number, number, number][]} */ ([[0, 0, 0], [10, 20, 30], [200, 210, 220]]);
  const photo = new Uint8ClampedArray([0, 0, 0, 255, 51, 51, 51, 255, 255, 255, 255, 255]);
  const render = new Uint8ClampedArray([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
  // 51 / 255 = 0.2 in each color is half of 0.4
  assert.deepEqual([...errorColors(photo, render, colors, 0.4)], [0, 0, 0, 255, 10, 20, 30, 255, 200, 210, 220, 255]);
});
