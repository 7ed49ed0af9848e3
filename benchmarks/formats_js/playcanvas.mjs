/** The PlayCanvas engine's reader of glTF -> rows, in glTF's frame, without drawing: node playcanvas.mjs FILE ROWS */

import { input, output } from "./rows.mjs";

const SOURCES = "./node_modules/playcanvas/build/playcanvas/src";
const { GlbParser } = await import(`${SOURCES}/framework/parsers/glb-parser.js`);
const { khrGaussianSplatting } = await import(`${SOURCES}/framework/parsers/glb/extensions/khr-gaussian-splatting.js`);
const { NullGraphicsDevice } = await import(`${SOURCES}/platform/graphics/null/null-graphics-device.js`);

const device = new NullGraphicsDevice({ width: 1, height: 1, addEventListener() {} });
const registry = { add() {}, loader: {} };
const { gsplats } = await new Promise((resolve, reject) => {
  const done = (error, result) => (error ? reject(new Error(error)) : resolve(result));
  GlbParser.parse("splat.glb", "", input(), device, registry, {}, [khrGaussianSplatting], done);
});
const data = gsplats[0][0].gsplatData;
const count = data.numSplats;
const bases = (data.shBands + 1) ** 2 - 1;
const names = ["x", "y", "z", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "opacity"];
for (let channel = 0; channel < 3; channel++) names.push(`f_dc_${channel}`);
for (let k = 0; k < bases; k++) for (let channel = 0; channel < 3; channel++) names.push(`f_rest_${channel * bases + k}`);
const columns = names.map((name) => data.getProp(name));
const isScale = names.map((name) => name.startsWith("scale"));
output(count, bases, (i) => columns.map((column, j) => (isScale[j] ? Math.log(column[i]) : column[i])));
