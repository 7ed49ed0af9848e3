/** mkkellogg's GaussianSplats3D -> rows: node mkkellogg.mjs FILE ROWS

What it draws from is a SplatBuffer, of any file: colors in bytes, harmonics to degree 2.
*/

Object.assign(globalThis, {
  self: globalThis,
  window: Object.assign(globalThis, { devicePixelRatio: 1, location: { search: "" }, addEventListener() {} }),
  document: { createElement: () => ({ style: {}, getContext: () => null }), addEventListener() {} },
});
const { PlyParser, PlayCanvasCompressedPlyParser, SplatBuffer, SplatParser, SpzLoader } = await import(
  "./node_modules/@mkkellogg/gaussian-splats-3d/build/gaussian-splats-3d.module.js"
);
const { Quaternion, Vector3, Vector4 } = await import("three");
const { input, output } = await import("./rows.mjs");

const MOST_DEGREE = 2;
const C0 = 0.28209479177387814;
const file = process.argv[2];
const bytes = input();

/** Unpacked without loss, beyond the bytes of colors. */
const plain = (splats) => SplatBuffer.generateFromUncompressedSplatArrays([splats], 0, 0, new Vector3());

async function read() {
  if (file.endsWith(".ksplat")) return new SplatBuffer(bytes);
  if (file.endsWith(".splat")) return plain(SplatParser.parseStandardSplatToUncompressedSplatArray(bytes));
  if (file.endsWith(".spz")) return SpzLoader.loadFromFileData(new Uint8Array(bytes), 0, 0, false, MOST_DEGREE);
  const parser = file.endsWith(".compressed.ply") ? PlayCanvasCompressedPlyParser : PlyParser;
  return plain(parser.parseToUncompressedSplatArray(bytes, MOST_DEGREE));
}

const buffer = await read();
const count = buffer.getSplatCount();
const degree = buffer.getMinSphericalHarmonicsDegree();
const bases = (degree + 1) ** 2 - 1;
const sh = new Float32Array(count * 3 * bases);
if (bases) buffer.fillSphericalHarmonicsArray(sh, degree, undefined, undefined, undefined, 0, 0);
if (buffer.compressionLevel === 2) {
  const { minSphericalHarmonicsCoeff: least, maxSphericalHarmonicsCoeff: most } = buffer;
  for (let i = 0; i < sh.length; i++) sh[i] = least + (sh[i] / 255) * (most - least); // as its shader does
}
const [mean, scale, turn, color] = [new Vector3(), new Vector3(), new Quaternion(), new Vector4()];
output(count, bases, (i) => {
  buffer.getSplatCenter(i, mean);
  buffer.getSplatScaleAndRotation(i, scale, turn);
  buffer.getSplatColor(i, color);
  const sh0 = [color.x, color.y, color.z].map((byte) => (byte / 255 - 0.5) / C0);
  const [x, y, z] = scale.toArray().map(Math.log);
  const rest = sh.subarray(i * 3 * bases, (i + 1) * 3 * bases);
  return [...mean.toArray(), x, y, z, turn.w, turn.x, turn.y, turn.z, color.w / 255, ...sh0, ...rest];
});
