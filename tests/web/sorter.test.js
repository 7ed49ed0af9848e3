/** The page's side of sorting; without a worker, as here, it sorts in the same thread. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Sorter } from "../../sfumato/view/web/sorter.js";

/** A view from x, of a scene that holds nothing. */
function wishAt(x) {
  const viewmat = [1, 0, 0, -x, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1];
  const view = { viewmat, K: [50, 50, 25, 25], width: 50, height: 50, near: 0.2, size: 1, margin: 0 };
  return { id: 1, version: 1, view };
}

test("whoever waits for an order gets it while the view moves on and on", async () => {
  const sorter = new Sorter(() => {}, assert.fail);
  sorter.begin(1, 1024);
  let x = 0;
  let moving = true;
  const move = () => {
    sorter.follow(wishAt((x += 1))); // while a sort is in flight, always
    if (moving) setImmediate(move);
  };
  move();
  const late = Symbol("late");
  const told = await Promise.race([sorter.exactly(wishAt(-1)), new Promise((resolve) => setTimeout(resolve, 2000, late))]);
  moving = false;
  clearTimeout(sorter.timer);
  assert.notEqual(told, late);
});
