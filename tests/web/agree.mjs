// Run by tests in Python: reads one file as the viewer's worker does, and writes what it got.
// node agree.mjs FILE OUT: FILE is a PLY, a snapshot or an exported scene; OUT gets a JSON line, then the arrays.
import fs from "node:fs";

import { SplatLoad } from "../../sfumato/view/web/load_worker.js";
import { Batcher } from "../../sfumato/view/web/batch.js";
import { SqueezeReader } from "../../sfumato/view/web/squeeze.js";

const [file, out, kind] = process.argv.slice(2);
const bytes = fs.readFileSync(file);
const parts = [];
const told = { rows: [] };
if (kind === "columns") {
  const reader = new SqueezeReader("a", (count, degree) => {
    told.degree = degree;
    return new Batcher(degree, (columns) => {
      const n = columns.count;
      const rest = 3 * ((degree + 1) ** 2 - 1);
      told.rows.push(n);
      for (const [array, width] of [
        [columns.means, 3], [columns.quats, 4], [columns.logScales, 3], [columns.logitOpacities, 1], [columns.sh0, 3], [columns.shN, rest],
      ]) {
        parts.push(array.slice(0, n * width));
      }
    });
  });
  for (let at = 0; at < bytes.length; at += 50_000) await reader.push(bytes.subarray(at, at + 50_000));
  await reader.end();
} else {
  await new SplatLoad({ file: new Blob([bytes]) }, file, Infinity, (message) => {
    if (message.type === "rows") {
      const { count, degree, ranges, geometry, looks, sh1, sh2, sh3 } = message.rows;
      told.rows.push([count, degree]);
      for (const array of [ranges, geometry, looks, sh1, sh2, sh3]) if (array) parts.push(array);
    } else if (message.type === "done") Object.assign(told, message);
  }).run();
}
const head = Buffer.from(JSON.stringify(told) + "\n");
fs.writeFileSync(out, Buffer.concat([head, ...parts.map((p) => Buffer.from(p.buffer, p.byteOffset, p.byteLength))]));
