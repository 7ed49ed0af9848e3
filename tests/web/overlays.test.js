// Lines beside the scene, and which camera a click means.
import assert from "node:assert/strict";
import { test } from "node:test";

import { lookAt, positionOf, projected } from "../../sfumato/view/web/camera.js";
import { boxLines, cameraAt, frustumCorners, frustumLines, frustumSize, gridLines, overlayLines, roundStep } from "../../sfumato/view/web/overlays.js";
import { distance } from "../../sfumato/view/web/vector.js";

const UP = [0, -1, 0];
const BOUNDS = { low: [-1, -1, -1], high: [1, 1, 1], middle: [0, 0, 0], radius: 1.7 };

/** Cameras on a circle of radius 3, one unit apart or so, looking inwards. */
function ring(count = 12) {
  return Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * i) / count;
    const camera = lookAt([3 * Math.sin(angle), 0, -3 * Math.cos(angle)], [0, 0, 0], UP, 300, 400, 300);
    return { ...camera, name: `photo ${i}`, split: i % 4 ? "train" : "test" };
  });
}

test("a frustum's corners are the picture's corners", () => {
  const [camera] = ring();
  const spots = frustumCorners(camera, 0.5).map((corner) => projected(camera, corner));
  const want = [[0, 0], [400, 0], [400, 300], [0, 300]];
  spots.forEach(({ x, y, depth }, i) => {
    assert.ok(Math.hypot(x - want[i][0], y - want[i][1]) < 1e-6);
    assert.ok(Math.abs(depth - 0.5) < 1e-9);
  });
  assert.equal(frustumLines([camera], 0.5).length, 20 * 3);
});

test("frusta are smaller than the gaps between cameras", () => {
  const cameras = ring();
  const gap = distance(positionOf(cameras[0]), positionOf(cameras[1]));
  const size = frustumSize(cameras, BOUNDS);
  assert.ok(size > 0 && size < gap);
  const dense = ring(400);
  assert.ok(frustumSize(dense, BOUNDS) >= 0.04 * BOUNDS.radius, "frames of a video overlap rather than vanish");
  for (const few of [[], cameras.slice(0, 1), [cameras[0], cameras[0]]]) assert.ok(frustumSize(few, null) > 0); // no neighbour
});

test("a click means the frustum under it, else the nearest in reach, else none", () => {
  const cameras = ring();
  const view = lookAt([0, -6, -6], [0, 0, 0], UP, 500, 800, 600);
  const size = frustumSize(cameras, BOUNDS);
  for (const [i, camera] of cameras.entries()) {
    const { x, y } = projected(view, positionOf(camera));
    assert.equal(cameraAt(cameras, size, view, x, y), i);
  }
  assert.equal(cameraAt(cameras, size, view, 400, 300), null); // the middle of the ring
  assert.equal(cameraAt([], size, view, 400, 300), null);
  assert.equal(cameraAt([cameras[0]], size, cameras[0], 200, 150), null); // one looks out of it
});

test("of two frusta one behind the other the nearer is meant", () => {
  const cameras = [2, 4].map((z) => lookAt([0, 0, -z], [0, 0, 0], UP, 300, 400, 300));
  const view = lookAt([0, 0, -8], [0, 0, 0], UP, 300, 400, 300);
  assert.equal(cameraAt(cameras, 0.5, view, 200, 150), 1);
});

test("a box has twelve edges as long as its sides", () => {
  const lines = boxLines([0, 0, 0], [1, 2, 3]);
  assert.equal(lines.length, 12 * 2 * 3);
  const lengths = Array.from({ length: 12 }, (_, i) => distance(lines.slice(6 * i, 6 * i + 3), lines.slice(6 * i + 3, 6 * i + 6)));
  assert.deepEqual(lengths.sort((a, b) => a - b), [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
});

test("a grid lies across up", () => {
  const lines = gridLines([1, 5, 2], UP, 0.5, 2);
  assert.equal(lines.length, 2 * 5 * 2 * 3);
  for (let i = 1; i < lines.length; i += 3) assert.equal(lines[i], 5);
});

test("steps are 1, 2 or 5 times a power of ten", () => {
  assert.deepEqual([0.9, 1, 1.9, 2, 4.9, 5, 9.9, 30].map(roundStep), [0.5, 1, 1, 2, 2, 5, 5, 20]);
});

test("only what is wanted is drawn, held-out cameras in a color of their own", () => {
  const cameras = ring();
  const none = overlayLines({ cameras: false, grid: false, box: false }, cameras, 0.5, null, BOUNDS, UP);
  assert.deepEqual([...new Set(Object.values(none))], [null]);
  const all = overlayLines({ cameras: true, grid: true, box: true }, cameras, 0.5, 1, BOUNDS, UP);
  assert.deepEqual(Object.keys(all).sort(), Object.keys(none).sort());
  assert.equal(all.test.positions.length, 3 * 60);
  assert.equal(all.train.positions.length, 8 * 60);
  assert.equal(all.chosen.positions.length, 60);
  assert.notDeepEqual(all.train.color, all.test.color);
  for (const { positions } of Object.values(all)) assert.ok(positions.every(Number.isFinite));
  assert.ok(Object.values(all.grid.positions).filter((_, i) => i % 3 === 1).every((y) => Math.abs(y - 1) < 1e-6), "on the floor: +y is down");
});
