// The slider between photo and render: keys, pointer and the words for a screen reader.
import assert from "node:assert/strict";
import { test } from "node:test";

import { wipeAt, wipeKey, wipeText } from "../../sfumato/view/web/wipe.js";

test("keys move the line and stop at the ends", () => {
  assert.equal(wipeKey("ArrowRight", 50), 52);
  assert.equal(wipeKey("ArrowLeft", 50), 48);
  assert.equal(wipeKey("ArrowUp", 50, true), 60);
  assert.equal(wipeKey("PageDown", 5), 0);
  assert.equal(wipeKey("Home", 73), 0);
  assert.equal(wipeKey("End", 73), 100);
  assert.equal(wipeKey("ArrowRight", 99), 100);
});

test("other keys are left to the page", () => {
  for (const key of ["a", "Tab", "Enter", " ", "toString"]) assert.equal(wipeKey(key, 50), null, key);
});

test("a pointer beyond the picture is at its edge", () => {
  assert.equal(wipeAt(150, 100, 200), 25); // a quarter of the way
  assert.equal(wipeAt(-5, 100, 200), 0);
  assert.equal(wipeAt(900, 100, 200), 100);
  assert.equal(wipeAt(3, 0, 0), 50);
});

test("the line says how much of each is seen", () => {
  assert.equal(wipeText(30, "photo", "render"), "30 % photo, 70 % render");
  assert.equal(wipeText(0.2, "photo", "render"), "render only");
  assert.equal(wipeText(100, "photo", "render"), "photo only");
});
