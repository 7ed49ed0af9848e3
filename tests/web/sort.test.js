import assert from "node:assert/strict";
import { test } from "node:test";

import { lookAt, projected } from "../../sfumato/view/web/camera.js";
import { createColumns, packRows } from "../../sfumato/view/web/pack.js";
import { SortCloud, SortDesk, reachOf, sortFrontToBack } from "../../sfumato/view/web/sort.js";
import { axesAt, meanAt, opacityAt } from "../../sfumato/view/web/survey.js";
import { lengthOf } from "../../sfumato/view/web/vector.js";

/** Numbers in [0, 1) from a seed (Marsaglia 2003, xorshift). */
function random(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function someColumns(count, seed = 5) {
  const next = random(seed);
  const columns = createColumns(count, 0);
  columns.count = count;
  columns.means.forEach((_, i) => (columns.means[i] = 4 * next() - 2));
  columns.quats.forEach((_, i) => (columns.quats[i] = next() - 0.5));
  columns.logScales.forEach((_, i) => (columns.logScales[i] = -6 + 3 * next()));
  columns.logitOpacities.forEach((_, i) => (columns.logitOpacities[i] = 8 * next() - 6));
  return columns;
}

function sorted(rows, camera, options = {}) {
  const cloud = new SortCloud(rows.looks.length / 2);
  cloud.append(rows);
  const order = new Uint32Array(cloud.capacity);
  const { count } = sortFrontToBack(cloud, { ...camera, near: 0.2, size: 1, margin: 0, ...options }, order);
  return Array.from(order.subarray(0, count));
}

const outside = lookAt([0.5, -1, -6], [0, 0, 0], [0, -1, 0], 200, 240, 180);
const inside = lookAt([0.2, 0.1, -0.3], [0, 0, 1], [0, -1, 0], 150, 240, 180);

test("nearest first, and ties in the order they are stored", () => {
  const rows = packRows(someColumns(5000));
  for (const camera of [outside, inside]) {
    const order = sorted(rows, camera);
    const depths = order.map((i) => projected(camera, meanAt(rows, i)).depth);
    assert.ok(order.length > 500);
    assert.equal(new Set(order).size, order.length);
    // keys have at least 17 bits over the depths that are there
    const slack = (Math.log2(Math.max(...depths) / Math.min(...depths)) + 1) / 2 ** 15;
    for (let i = 1; i < order.length; i++) {
      assert.ok(depths[i] > depths[i - 1] * (1 - slack));
      if (depths[i] === depths[i - 1]) assert.ok(order[i] > order[i - 1]);
    }
  }
});

test("exactly what could touch the picture is kept", () => {
  const rows = packRows(someColumns(3000));
  for (const camera of [outside, inside]) {
    const kept = new Set(sorted(rows, camera));
    for (let i = 0; i < 3072; i++) {
      const { x, y, depth } = projected(camera, meanAt(rows, i));
      if (depth <= 0.2 || opacityAt(rows, i) === 0) assert.ok(!kept.has(i));
      else if (x > 0 && x < 240 && y > 0 && y < 180) assert.ok(kept.has(i));
    }
  }
  const away = sorted(rows, lookAt([0, 0, -20], [0, 0, -40], [0, -1, 0], 200, 240, 180));
  assert.deepEqual(away, []);
  const past = sorted(rows, lookAt([0, 0, -20], [30, 0, -15], [0, -1, 0], 200, 240, 180));
  assert.deepEqual(past, []);
});

test("a margin and a larger size keep more", () => {
  const rows = packRows(someColumns(3000));
  const plain = sorted(rows, inside).length;
  assert.ok(sorted(rows, inside, { margin: 0.2 }).length > plain);
  assert.ok(sorted(rows, inside, { size: 5 }).length > plain);
  assert.ok(sorted(rows, inside, { near: 1.5 }).length < plain);
});

test("the reach of a Gaussian is that of its longest axis", () => {
  const rows = packRows(someColumns(1500));
  for (const i of [0, 7, 1023, 1024, 1499]) {
    if (opacityAt(rows, i) === 0) continue;
    const longest = Math.max(...axesAt(rows, i, 1).map(lengthOf));
    assert.ok(Math.abs(reachOf(rows, i) / longest - Math.sqrt(2 * Math.log(255))) < 1e-6);
  }
  assert.equal(reachOf(rows, 1500), -1); // what fills up the row
});

test("depths from one to many bits apart", () => {
  const cloud = new SortCloud(4096);
  cloud.count = 4096;
  for (const [low, high] of [[3, 3], [3, 3.000002], [0.3, 1e30]]) {
    const next = random(9);
    for (let i = 0; i < 4096; i++) cloud.places.set([0, 0, low * (high / low) ** next(), 1e-3], 4 * i);
    const order = new Uint32Array(4096);
    const identity = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    const view = { viewmat: identity, K: [9, 9, 5, 5], width: 10, height: 10, near: 0.2, size: 1, margin: 0 };
    assert.equal(sortFrontToBack(cloud, view, order).count, 4096);
    const depths = Array.from(order, (i) => cloud.places[4 * i + 2]);
    for (let i = 1; i < 4096; i++) assert.ok(depths[i] >= depths[i - 1] * (1 - 1e-2));
    if (high < 4) assert.deepEqual(depths, [...depths].sort((a, b) => a - b));
  }
});

test("the desk keeps clouds apart, and forgets what is dropped", () => {
  const desk = new SortDesk();
  const rows = packRows(someColumns(2000));
  desk.answer({ kind: "begin", id: 1, capacity: 4096 });
  desk.answer({ kind: "begin", id: 2, capacity: 2048 });
  desk.answer({ kind: "rows", id: 1, rows });
  desk.answer({ kind: "rows", id: 1, rows });
  const view = { ...outside, near: 0.2, size: 1, margin: 0 };
  const ask = (id) => desk.answer({ kind: "sort", id, view, order: new Uint32Array(0) });
  const one = sorted(rows, outside).length;
  assert.equal(ask(1).count, 2 * one);
  assert.ok(ask(1).order.length >= 2 * one);
  assert.equal(ask(2).count, 0);
  desk.answer({ kind: "drop", id: 1 });
  assert.equal(ask(1).count, 0);
});
