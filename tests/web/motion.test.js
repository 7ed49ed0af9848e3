// Moving the view: what must stay where it is stays, nothing flips, flights begin and end where they should.
import assert from "node:assert/strict";
import { test } from "node:test";

import { axesOf, lookAt, positionOf, projected, rayThrough } from "../../sfumato/view/web/camera.js";
import { flown, focused, framed, looked, orbited, pivotOf, poseOf, rolled, shifted, upOf, walked, zoomed } from "../../sfumato/view/web/motion.js";
import { along, cross, dot } from "../../sfumato/view/web/vector.js";

const UP = [0, -1, 0];
const near = (a, b, tolerance = 1e-9) => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) <= tolerance, `${a} is not ${b}`));

/** A camera 4 in front of the origin, on the side of -z. */
function start() {
  return { camera: lookAt([0, 0, -4], [0, 0, 0], UP, 300, 400, 300), distance: 4 };
}

/** The axes are orthonormal and right-handed. */
function whole({ camera }) {
  const { right, down, forward } = axesOf(camera);
  near([dot(right, right), dot(down, down), dot(right, down), dot(down, forward)], [1, 1, 0, 0], 1e-9);
  near(cross(right, down), forward, 1e-9);
}

test("orbiting keeps the pivot and the distance", () => {
  let pose = start();
  for (let i = 0; i < 1000; i++) pose = orbited(pose, UP, 0.31, 0.17 * Math.sin(i));
  near(pivotOf(pose), [0, 0, 0], 1e-9);
  assert.ok(Math.abs(Math.hypot(...positionOf(pose.camera)) - 4) < 1e-9);
  whole(pose);
});

test("orbiting to the right and up goes there", () => {
  near(positionOf(orbited(start(), UP, Math.PI / 2, 0).camera), [4, 0, 0], 1e-9); // a quarter turn: from the right side
  assert.ok(positionOf(orbited(start(), UP, 0, 0.5).camera)[1] < -1); // above: -y is up
});

test("no turning flips the view over a pole", () => {
  for (const turn of [orbited, looked]) {
    for (const pitch of [0.4, -0.4]) {
      let pose = start();
      for (let i = 0; i < 50; i++) pose = turn(pose, UP, 0.05, pitch);
      whole(pose);
      assert.ok(dot(axesOf(pose.camera).down, UP) <= 0, "the picture is not upside down");
      assert.ok(Math.abs(dot(axesOf(pose.camera).forward, UP)) < 1);
    }
  }
});

test("a view straight down can be turned, and away from the pole only", () => {
  const pose = { camera: lookAt([0, -4, 0], [0, 0, 0], UP, 300, 400, 300), distance: 4 };
  const turned = orbited(pose, UP, 0.3, 0.5);
  whole(turned);
  near(pivotOf(turned), [0, 0, 0], 1e-9);
  const freed = orbited(pose, UP, 0, -0.5);
  assert.ok(dot(axesOf(freed.camera).forward, UP) > dot(axesOf(pose.camera).forward, UP));
});

test("looking around keeps the place", () => {
  const pose = looked(start(), UP, 0.7, 0.2);
  near(positionOf(pose.camera), [0, 0, -4]);
  assert.ok(axesOf(pose.camera).forward[0] < 0, "positive yaw looks to the left");
  whole(rolled(pose, 0.4));
});

test("what is under the pointer follows a shift, at its depth", () => {
  const pose = orbited(start(), UP, 0.4, 0.3);
  const { origin, direction } = rayThrough(pose.camera, 120, 80);
  const point = along(origin, 3, direction);
  const [fx, fy] = pose.camera.K;
  const after = shifted(pose, 35 / fx, -20 / fy, projected(pose.camera, point).depth);
  const { x, y } = projected(after.camera, point);
  near([x, y], [155, 60], 1e-9);
});

test("what is under the pointer stays when zooming", () => {
  let pose = orbited(start(), UP, 0.4, 0.3);
  const { origin, direction } = rayThrough(pose.camera, 350, 40);
  const point = along(origin, 2.5, direction);
  for (const factor of [0.5, 0.5, 3, 0.1]) {
    const depth = projected(pose.camera, point).depth;
    pose = zoomed(pose, point, factor);
    const now = projected(pose.camera, point);
    near([now.x, now.y, now.depth], [350, 40, factor * depth], 1e-6);
    assert.ok(pose.distance > 0);
  }
  assert.deepEqual(zoomed(pose, along(positionOf(pose.camera), -1, axesOf(pose.camera).forward), 0.5), pose); // behind
});

test("zooming in on the pivot halves the distance and keeps the pivot", () => {
  const pose = zoomed(start(), [0, 0, 0], 0.5);
  assert.equal(pose.distance, 2);
  near(pivotOf(pose), [0, 0, 0]);
});

test("a double click brings the point to the middle, nearer", () => {
  const { origin, direction } = rayThrough(start().camera, 60, 250);
  const point = along(origin, 5, direction);
  const pose = focused(start(), point);
  const { x, y, depth } = projected(pose.camera, point);
  near([x, y], [200, 150], 1e-6);
  assert.ok(depth < projected(start().camera, point).depth);
  near(pivotOf(pose), point, 1e-9);
});

test("walking goes along the axes of the view", () => {
  near(positionOf(walked(start(), [1, 2, 3]).camera), [1, 2, -1]);
});

test("a flight begins at one pose, ends at the other, and passes between them", () => {
  const from = start();
  const to = { camera: lookAt([6, -1, 2], [1, 0, 1], UP, 450, 400, 300), distance: 3 };
  near(flown(from, to, 0).camera.viewmat, from.camera.viewmat, 1e-6);
  const end = flown(from, to, 1);
  near(end.camera.viewmat, to.camera.viewmat, 1e-6);
  near(end.camera.K, to.camera.K, 1e-9);
  for (const share of [0.1, 0.5, 0.9]) whole(flown(from, to, share));
  near(pivotOf(flown(from, to, 0.5)), along([0, 0, 0], 0.5, pivotOf(to)), 1e-6); // between the two pivots
});

test("a scene is framed so that its sphere is inside the picture", () => {
  const bounds = { low: [-1, -1, -1], high: [3, 1, 1], middle: [1, 0, 0], radius: 2 };
  for (const [width, height] of [[400, 300], [300, 600], [100, 100]]) {
    const { camera, distance } = framed(bounds, UP, width, height);
    assert.deepEqual([Math.round(projected(camera, bounds.middle).x), Math.round(projected(camera, bounds.middle).y)], [width / 2, height / 2]);
    const half = (camera.K[0] * 2) / Math.sqrt(distance * distance - 4); // pixels of the sphere's outline
    assert.ok(half <= Math.min(width, height) / 2 + 1e-6 && half > 0.4 * Math.min(width, height), `${half}`);
    assert.ok(dot(axesOf(camera).forward, UP) < 0, "from above");
  }
  for (const up of [[0, 0, 1], [0, 0, -1], [1, 0, 0]]) whole(framed(bounds, up, 400, 300));
});

test("a camera turns around the part of the scene in front of it", () => {
  const bounds = { low: [-1, -1, -1], high: [1, 1, 1], middle: [0, 0, 0], radius: 1.7 };
  assert.ok(Math.abs(poseOf(start().camera, bounds).distance - 4) < 1e-9);
  const away = lookAt([0, 0, -4], [0, 0, -8], UP, 300, 400, 300);
  assert.ok(poseOf(away, bounds).distance > 0);
});

test("up is what the page says, else what the cameras agree on, else -y", () => {
  near(upOf([0, 0, 2], []), [0, 0, 1]);
  const cameras = [1, -1].map((x) => lookAt([4 * x, 0, 1], [0, 0, 0], [0, 0, 1], 300, 400, 300));
  near(upOf(null, cameras), [0, 0, 1], 1e-9);
  near(upOf(null, []), UP);
  near(upOf([0, 0, 0], []), UP);
  const opposed = [1, -1].map((y) => lookAt([0, 0, -4], [0, 0, 0], [0, y, 0], 300, 400, 300));
  near(upOf(undefined, opposed), UP);
});
