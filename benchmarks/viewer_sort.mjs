/** Print how long the viewer takes to sort a million Gaussians: node benchmarks/viewer_sort.mjs [count] */

import os from "node:os";

import { lookAt } from "../sfumato/view/web/camera.js";
import { SortCloud, sortFrontToBack } from "../sfumato/view/web/sort.js";

const count = Number(process.argv[2] ?? 1_000_000);
const FRAMES = 41;

const cloud = new SortCloud(count);
cloud.count = count;
for (let i = 0; i < count; i++) cloud.places.set([0, 0, 0, 0.02].map((reach) => reach || 4 * Math.random() - 2), 4 * i);
const order = new Uint32Array(cloud.capacity);
const times = [];
let visible = 0;
const before = process.cpuUsage();
for (let frame = 0; frame < FRAMES; frame++) {
  const angle = 0.1 * frame;
  const camera = lookAt([6 * Math.sin(angle), -1, 6 * Math.cos(angle)], [0, 0, 0], [0, -1, 0], 700, 1280, 720);
  const start = performance.now();
  visible = sortFrontToBack(cloud, { ...camera, near: 0.2, size: 1, margin: 0.1 }, order).count;
  times.push(performance.now() - start);
}
const busy = process.cpuUsage(before).user / 1000 / FRAMES;
times.sort((a, b) => a - b);
const [least, median] = [times[0], times[FRAMES >> 1]].map((time) => time.toFixed(1));
console.log(`${count} Gaussians, ${visible} visible: median ${median} ms, least ${least} ms, processor ${busy.toFixed(1)} ms`);
console.log(`node ${process.version}, ${os.cpus()[0].model}`);
