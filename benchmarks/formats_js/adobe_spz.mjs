/** Adobe's build of Niantic's SPZ library -> rows, in the file's own frame: node adobe_spz.mjs FILE ROWS */

import createSpzModule from "@adobe/spz";
import { input, output, sigmoid } from "./rows.mjs";

const spz = await createSpzModule();
const cloud = spz.loadSpzFromBuffer(new Uint8Array(input()), { to: spz.CoordinateSystem.UNSPECIFIED });
const { positions, scales, rotations, alphas, colors, sh } = cloud;
const bases = (cloud.shDegree + 1) ** 2 - 1;
output(cloud.numPoints, bases, (i) => {
  const of = (values, width) => Array.from(values.slice(i * width, (i + 1) * width));
  const [x, y, z, w] = of(rotations, 4);
  return [...of(positions, 3), ...of(scales, 3), w, x, y, z, sigmoid(alphas[i]), ...of(colors, 3), ...of(sh, 3 * bases)];
});
