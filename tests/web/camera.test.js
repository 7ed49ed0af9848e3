import assert from "node:assert/strict";
import { test } from "node:test";

import * as camera from "../../sfumato/view/web/camera.js";
import * as vector from "../../sfumato/view/web/vector.js";

const near = (got, wanted, tolerance = 1e-9) => {
  assert.equal(got.length, wanted.length);
  got.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < tolerance, `${got} is not ${wanted}`));
};

const some = () => camera.lookAt([1, 2, 3], [0, 0.5, -1], [0, -1, 0], 300, 320, 240);

test("lookAt puts the target in the middle, and up upwards", () => {
  const looking = some();
  const { x, y, depth } = camera.projected(looking, [0, 0.5, -1]);
  near([x, y, depth], [160, 120, Math.hypot(1, 1.5, 4)]);
  assert.ok(camera.projected(looking, [0, 0.3, -1]).y < 120); // up is -y here, and y grows downwards
  near(camera.positionOf(looking), [1, 2, 3]);
});

test("the axes are a right-handed rotation", () => {
  const { right, down, forward } = camera.axesOf(some());
  near(vector.cross(right, down), forward);
  near([right, down, forward].map(vector.lengthOf), [1, 1, 1]);
});

test("lookAt finds some direction where none is given", () => {
  for (const [position, target] of [[[0, 0, 0], [0, 5, 0]], [[1, 1, 1], [1, 1, 1]]]) {
    const { viewmat } = camera.lookAt(position, target, [0, 1, 0], 100, 10, 10);
    assert.ok(viewmat.every(Number.isFinite));
    near(camera.positionOf({ viewmat, K: [], width: 1, height: 1 }), position);
  }
});

test("rays and projection are each other's inverse", () => {
  const off = { ...some(), K: [280, 310, 50, 200] };
  for (const [x, y, depth] of [[10, 20, 3], [160, 120, 0.5], [319, 239, 40]]) {
    const { origin, direction } = camera.rayThrough(off, x, y);
    near([vector.lengthOf(direction)], [1]);
    const factor = depth / vector.dot(direction, camera.axesOf(off).forward);
    const back = camera.projected(off, vector.along(origin, factor, direction));
    near([back.x, back.y, back.depth], [x, y, depth], 1e-6);
  }
});

test("resized scales the intrinsics exactly", () => {
  assert.deepEqual(camera.resized({ ...some(), K: [300, 280, 150, 130] }, 640, 120), {
    ...some(),
    K: [600, 140, 300, 65],
    width: 640,
    height: 120,
  });
});

test("fitted keeps all in sight, pixels square and the principal point's place", () => {
  const before = { ...some(), K: [300, 300, 100, 130] };
  for (const [width, height] of [[200, 700], [900, 100], [320, 240]]) {
    const after = camera.fitted(before, width, height);
    near([after.K[0] / after.K[1], after.K[2] / width, after.K[3] / height], [1, 100 / 320, 130 / 240]);
    for (const [x, y] of [[0, 0], [320, 0], [0, 240], [320, 240]]) {
      const { origin, direction } = camera.rayThrough(before, x, y);
      const corner = camera.projected(after, vector.add(origin, direction));
      assert.ok(corner.x > -1e-6 && corner.x < width + 1e-6 && corner.y > -1e-6 && corner.y < height + 1e-6);
    }
  }
});

test("quaternions and matrices are the same rotations", () => {
  for (const q of [[1, 0, 0, 0], [0.1, 0.9, -0.2, 0.3], [-0.1, 0.2, 0.9, 0.1], [0, 0.1, 0.1, -1]]) {
    const matrix = vector.matrixFromQuaternion(q);
    near(vector.matrixFromQuaternion(vector.quaternionFromMatrix(matrix)), matrix);
  }
  near(vector.matrixFromQuaternion([Math.SQRT1_2, 0, 0, Math.SQRT1_2]), [0, -1, 0, 1, 0, 0, 0, 0, 1]);
});

test("slerp goes the shorter way at even speed", () => {
  const turn = (angle) => [Math.cos(angle / 2), 0, 0, Math.sin(angle / 2)];
  near(vector.slerp(turn(0), turn(1), 0.25), turn(0.25));
  near(vector.slerp(turn(0), turn(1).map((value) => -value), 0.25), turn(0.25));
  near(vector.slerp(turn(1), turn(1), 0.5), turn(1));
});

test("turned follows the right hand", () => {
  near(vector.turned([1, 0, 0], [0, 0, 1], Math.PI / 2), [0, 1, 0]);
  near([vector.dot(vector.anyAcross([0.2, 5, 1]), [0.2, 5, 1])], [0]);
});
