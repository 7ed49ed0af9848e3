// A view and settings to the address of the page and back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { lookAt, positionOf } from "../../sfumato/view/web/camera.js";
import { readLink, writeLink } from "../../sfumato/view/web/link.js";
import { SETTINGS, settingsOf } from "../../sfumato/view/web/settings.js";

const near = (a, b, tolerance) => a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) <= tolerance, `${a} is not ${b}`));

/** Numbers in [0, 1), the same for the same seed (a linear congruential generator). */
function random(seed) {
  let state = seed;
  return () => (state = (state * 1664525 + 1013904223) % 2 ** 32) / 2 ** 32;
}

test("a view comes back, whatever it is", () => {
  const seed = 7;
  const next = random(seed);
  const some = () => [next() * 20 - 10, next() * 20 - 10, next() * 20 - 10];
  for (let i = 0; i < 200; i++) {
    const [at, to] = [some(), some()];
    const distance = Math.hypot(to[0] - at[0], to[1] - at[1], to[2] - at[2]);
    const made = lookAt(at, to, some(), 100 + 900 * next(), 640, 480);
    const camera = i % 2 ? made : { ...made, K: [500.5, 499.25, 300, 250.5] };
    const { pose } = readLink(writeLink({ camera, distance }, SETTINGS, SETTINGS));
    near(positionOf(pose.camera), at, 1e-4);
    near(pose.camera.viewmat, camera.viewmat, 2e-3);
    near(pose.camera.K, camera.K, 1e-2);
    assert.deepEqual([pose.camera.width, pose.camera.height], [640, 480]);
    assert.ok(Math.abs(pose.distance - distance) < 1e-3, `seed ${seed}, case ${i}`);
  }
});

test("a view from very near comes back, however far the scene is from the origin", () => {
  for (const [at, distance] of [[[12.34567, 3.2, 8.76543], 0.001], [[451234.5, 3, 80], 3], [[-0.5, 7e8, 0], 0.1]]) {
    const camera = lookAt(at, [at[0] + 0.6 * distance, at[1], at[2] + 0.8 * distance], [0, -1, 0], 500, 640, 480);
    const { pose } = readLink(writeLink({ camera, distance }, SETTINGS, SETTINGS));
    near(pose.camera.viewmat.slice(8, 11), camera.viewmat.slice(8, 11), 1e-4);
    near(positionOf(pose.camera), at, 1e-4 * distance);
  }
});

test("only settings that differ from the page's are in a link", () => {
  const pose = { camera: lookAt([0, 0, -2], [0, 0, 0], [0, -1, 0], 300, 400, 300), distance: 2 };
  const usual = settingsOf({ background: [1, 1, 1] });
  const hash = writeLink(pose, { ...usual, look: "centers", opacity: 0.5, grid: true, background: "#102030" }, usual);
  assert.equal(hash, "at=0,0,-2&to=0,0,0&up=0,-1,0&focal=300&frame=400x300&look=centers&opacity=0.5&background=102030&grid=1");
  assert.deepEqual(readLink(`#${hash}`).settings, { look: "centers", opacity: 0.5, background: "#102030", grid: true });
  assert.doesNotMatch(writeLink(pose, usual, usual), /look|opacity|background/);
});

test("what is switched off by a link stays off", () => {
  const usual = settingsOf({ antialiased: true });
  const pose = { camera: lookAt([0, 0, -2], [0, 0, 0], [0, -1, 0], 300, 400, 300), distance: 2 };
  assert.deepEqual(readLink(writeLink(pose, { ...usual, antialiased: false }, usual)).settings, { antialiased: false });
});

test("nonsense in a link is left out", () => {
  const camera = "at=0,0,-2&to=0,0,0&up=0,-1,0&focal=300&frame=400x300";
  for (const hash of ["", "#", "#at=1,2,3", "#%", "#at=0,0,0&to=0,0,0&up=0,-1,0&focal=300&frame=400x300", "#look"]) {
    assert.equal(readLink(hash).pose, null, hash);
  }
  for (const bad of ["at=0,0", "at=0,0,x", "at=0,0,", "focal=0", "focal=-3", "focal=1,2,3", "frame=400", "frame=0x0", "frame=axb", "to=NaN,0,0", "up=Infinity,0,0"]) {
    const name = bad.split("=")[0];
    const hash = camera.split("&").map((part) => (part.startsWith(`${name}=`) ? bad : part)).join("&");
    assert.equal(readLink(hash).pose, null, bad);
  }
  assert.notEqual(readLink(`${camera}&more=1`).pose, null);
  const { settings } = readLink("look=wild&opacity=abc&size=&degree=1e9&exposure=-99&background=red&grid=yes&points=2.6&__proto__=1&deviations=1.23");
  assert.deepEqual(settings, { degree: 3, exposure: -4, points: 3, deviations: 1.2 }); // numbers come to the nearest that a slider has
});

test("looking straight up or down along `up` still gives a camera", () => {
  const { pose } = readLink("at=0,0,0&to=0,-1,0&up=0,-1,0&focal=300&frame=400x300");
  assert.ok(pose.camera.viewmat.every(Number.isFinite));
});
