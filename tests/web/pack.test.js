// Quantised rows: hand-computed levels, ranges, what fills up the last row, and batches of what can be drawn.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Batcher } from "../../sfumato/view/web/batch.js";
import { SH_C0, createColumns, importanceOf, packRows, restOf } from "../../sfumato/view/web/pack.js";
import { readWire } from "../../sfumato/view/web/wire.js";

/** Columns of `count` equal Gaussians: rotation none, log scales 0, opacity a half, gray. */
function plain(count, degree = 0) {
  const columns = createColumns(count, degree);
  columns.count = count;
  for (let i = 0; i < count; i++) columns.quats[4 * i] = 2;
  return columns;
}

test("one Gaussian, level by level", () => {
  const columns = plain(2);
  columns.means.set([1.5, -2, 0.25]);
  columns.quats.set([0.1, 0, -0.9, 0.3]);
  columns.logScales.set([-1, 0, 1, -3, -3, -3]);
  columns.logitOpacities.set([0, 20]);
  columns.sh0.set([0.5 / SH_C0, 0, -0.25 / SH_C0]);
  const { count, degree, ranges, geometry, looks, sh1 } = packRows(columns);
  assert.deepEqual([count, degree, sh1], [2, 0, undefined]);
  assert.deepEqual([...ranges].map((value) => Math.round(value * 1e6) / 1e6), [-3, 1, 0.25, 1, 0, 0, 0, 0]);
  assert.deepEqual([...new Float32Array(geometry.buffer, 0, 3)], [1.5, -2, 0.25]);
  // the largest is y, made positive: -(0.1, 0, 0.3) / 0.9539, each (v sqrt(1/2) + 1/2) 1023
  assert.deepEqual([geometry[3] >>> 30, (geometry[3] >> 20) & 1023, (geometry[3] >> 10) & 1023, geometry[3] & 1023], [2, 436, 512, 284]);
  assert.deepEqual([looks[0] & 1023, (looks[0] >> 10) & 1023, looks[0] >>> 20], [512, 767, 1023]); // 2, 3, 4 of 4
  assert.deepEqual([looks[1] & 255, (looks[1] >> 8) & 255, (looks[1] >> 16) & 255, looks[1] >>> 24], [255, 85, 0, 128]);
  assert.equal(looks[3] >>> 24, 255);
});

test("bands: a stream of 7, 8 and 6 bits, square roots, a limit for each row", () => {
  const columns = plain(1025, 3);
  const rest = restOf(3);
  columns.shN.set(Array.from({ length: 45 }, (_, j) => (j % 3 === 0 ? 0.25 : j % 3 === 1 ? -1 : 0)), rest * 1024);
  const packed = packRows(columns);
  assert.deepEqual([...packed.ranges.subarray(4, 7), ...packed.ranges.subarray(12, 15)], [0, 0, 0, 1, 1, 1]);
  for (const [words, bits, count, n] of [[packed.sh1, 7, 2, 9], [packed.sh2, 8, 4, 15], [packed.sh3, 6, 4, 21]]) {
    let stream = 0n;
    for (let i = count - 1; i >= 0; i--) stream = (stream << 32n) | BigInt(words[1024 * count + i]);
    const levels = Array.from({ length: n }, (_, j) => Number((stream >> BigInt(j * bits)) & BigInt((1 << bits) - 1)));
    const most = (1 << (bits - 1)) - 1;
    const half = Math.floor(most + most / 2 + 0.5); // the square root of a quarter
    assert.deepEqual(levels, Array.from({ length: n }, (_, j) => [half, 0, most][j % 3]));
    assert.equal(Number(stream >> BigInt(n * bits)), 0);
    assert.ok(words.subarray(0, count).some((word) => word)); // a limit of 0 is the middle level, not level 0
    assert.ok(words.subarray(1025 * count).every((word) => word === 0));
  }
});

test("the last row is filled up with opacity 0", () => {
  const { looks, geometry, ranges } = packRows(plain(1500));
  assert.deepEqual([geometry.length, looks.length, ranges.length], [4 * 2048, 2 * 2048, 16]);
  assert.equal(looks[2 * 1499 + 1] >>> 24, 128);
  assert.ok(looks.subarray(2 * 1500).every((word) => word === 0));
  assert.equal(packRows(plain(0)).ranges.length, 0);
});

test("extreme numbers stay in their bits", () => {
  const columns = plain(3, 1);
  columns.logScales.set([3e38, -3e38, 0]);
  columns.quats.set([1e-38, 3e38, 0, 0, 1e-40, 0, 0, 1e-40]);
  columns.sh0.set([3e38, -3e38]);
  columns.shN.set([3e38, -3e38, 1e-40]);
  columns.logitOpacities.set([3e38, -3e38]);
  const { geometry, looks } = packRows(columns);
  assert.deepEqual([geometry[3] >>> 30, looks[1] >>> 24, looks[3] >>> 24], [1, 255, 0]);
});

test("importance is opacity times the area of the two larger axes", () => {
  const columns = plain(1);
  columns.logScales.set([Math.log(2), -9, Math.log(3)]);
  assert.ok(Math.abs(importanceOf(columns, 0) - 3) < 1e-6); // 0.5 * 2 * 3
});

test("a batch is whole rows whatever is left out, and the wanted are asked for once, in order", () => {
  const sizes = [];
  const asked = [];
  const batcher = new Batcher(0, ({ count }) => sizes.push(count), (columns, index) => {
    asked.push(columns.means[3 * index]);
    return true;
  });
  for (let sent = 0; sent < 20000; ) {
    const n = Math.min(batcher.room, 700, 20000 - sent);
    for (let i = 0; i < n; i++) {
      const at = batcher.columns.count + i;
      batcher.columns.means[3 * at] = (sent + i) % 10 ? sent + i : NaN;
      batcher.columns.quats[4 * at] = 1;
    }
    batcher.commit(n);
    sent += n;
  }
  batcher.flush();
  assert.deepEqual(sizes, [4096, 8192, 5712]);
  assert.equal(batcher.leftOut, 2000);
  assert.equal(asked.length, 18000);
  assert.ok(asked.every((value, index) => index === 0 || value > asked[index - 1]));
});

test("snapshots that are not whole get a sentence", () => {
  assert.throws(() => readWire(new ArrayBuffer(4)), /no snapshot/);
  const bytes = Buffer.from('sfp1\x38\0\0\0{"count": 5, "degree": 0}'.padEnd(64, " "), "latin1");
  assert.throws(() => readWire(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + 64)), /promises 24672 bytes, and 64 came/);
});
