/** three.js' own readers of splats -> rows of what it keeps, covariances among them: node three.mjs FILE ROWS

Colors are kept in bytes, harmonics as bytes of 128 + 128 v.
*/

import { GaussianSplatPLYLoader } from "three/addons/loaders/GaussianSplatPLYLoader.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { KSPLATLoader } from "three/addons/loaders/KSPLATLoader.js";
import { SPLATLoader } from "three/addons/loaders/SPLATLoader.js";
import { SPZLoader } from "three/addons/loaders/SPZLoader.js";
import { input, output } from "./rows.mjs";

globalThis.self = globalThis;
const C0 = 0.28209479177387814;
const file = process.argv[2];

async function ofGltf() {
  const { GLTFGaussianSplatLoaderExtension } = await import("three/addons/loaders/GLTFGaussianSplatLoaderExtension.js");
  const loader = new GLTFLoader().register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
  const { scene } = await loader.parseAsync(input(), "");
  const found = [];
  scene.traverse((node) => node.splatGeometry && found.push(node.splatGeometry)); // our files place it by no matrix
  return found[0];
}

function read() {
  if (file.endsWith(".glb")) return ofGltf();
  if (file.endsWith(".ply")) return new GaussianSplatPLYLoader().parse(input());
  if (file.endsWith(".ksplat")) return new KSPLATLoader().parse(input());
  if (file.endsWith(".splat")) return new SPLATLoader().parse(input());
  return new Promise((resolve, reject) => new SPZLoader().parse(input(), resolve, reject));
}

const { position, covariance, color, ...others } = (await read()).attributes;
const bands = [1, 2, 3].map((degree) => others[`sphericalHarmonics${degree}`]).filter(Boolean);
const bytes = bands.map(({ array }) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
const bases = (bands.length + 1) ** 2 - 1;
output(
  position.count,
  bases,
  (i) => {
    const sh = bytes.flatMap((band, j) => {
      const start = i * 4 * bands[j].itemSize; // four bytes to a word, the last of them unused
      return Array.from(band.subarray(start, start + 3 * (2 * j + 3)), (byte) => (byte - 128) / 128);
    });
    const of = (values, width) => Array.from(values.subarray(i * width, (i + 1) * width));
    const [r, g, b, a] = of(color.array, 4);
    const sh0 = [r, g, b].map((byte) => (byte / 255 - 0.5) / C0);
    return [...of(position.array, 3), ...of(covariance.array, 6), NaN, a / 255, ...sh0, ...sh];
  },
  { covariances: true },
);
