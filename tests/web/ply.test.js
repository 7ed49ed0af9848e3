// PLY files of many kinds, cut anywhere, to batches; what is not a splat, to a sentence.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Batcher } from "../../sfumato/view/web/batch.js";
import { SplatLoad } from "../../sfumato/view/web/load_worker.js";
import { SH_C0 } from "../../sfumato/view/web/pack.js";
import { PlyReader } from "../../sfumato/view/web/ply.js";

const PLAIN = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"].concat(
  ["rot_0", "rot_1", "rot_2", "rot_3"],
);

/** A value that tells its row and column. */
const value = (row, name) => row + 1 + PLAIN.indexOf(name) / 32;

/** The bytes of a PLY: format, [[name, type]], rows, value of (row, name), text before the vertices and after. */
function ply({ format = "binary_little_endian", columns, rows, of = value, elements = "", before = [], more = "" }) {
  const typed = columns.map((column) => (Array.isArray(column) ? column : [column, "float"]));
  const header =
    `ply\nformat ${format} 1.0\ncomment origin 1 2 3\n${elements}element vertex ${rows}\n` +
    typed.map(([name, type]) => `property ${type} ${name}\n`).join("") + `${more}end_header\n`;
  const bytes = [...Buffer.from(header, "latin1"), ...before];
  if (format === "ascii") {
    for (let row = 0; row < rows; row++) bytes.push(...Buffer.from(typed.map(([name]) => of(row, name)).join(" ") + "\n"));
    return Uint8Array.from(bytes);
  }
  const little = format === "binary_little_endian";
  const sizes = { float: 4, double: 8, uchar: 1, short: 2 };
  const stride = typed.reduce((sum, [, type]) => sum + sizes[type], 0);
  const body = new DataView(new ArrayBuffer(rows * stride));
  for (let row = 0, at = 0; row < rows; row++) {
    for (const [name, type] of typed) {
      const v = of(row, name);
      if (type === "float") body.setFloat32(at, v, little);
      else if (type === "double") body.setFloat64(at, v, little);
      else if (type === "uchar") body.setUint8(at, v);
      else body.setInt16(at, v, little);
      at += sizes[type];
    }
  }
  const whole = new Uint8Array(bytes.length + body.byteLength);
  whole.set(bytes);
  whole.set(new Uint8Array(body.buffer), bytes.length);
  return whole;
}

/** Everything a reader gives for bytes that come in pieces of a size. */
function read(bytes, piece = bytes.length, size = bytes.length) {
  const got = { begun: null, means: [], quats: [], logScales: [], logitOpacities: [], sh0: [], shN: [], batches: 0 };
  const reader = new PlyReader("a.ply", (count, degree) => {
    got.begun = [count, degree];
    got.batcher = new Batcher(degree, (columns) => {
      got.batches++;
      for (const [name, width] of [["means", 3], ["quats", 4], ["logScales", 3], ["logitOpacities", 1], ["sh0", 3]]) {
        got[name].push(...columns[name].subarray(0, width * columns.count));
      }
      got.shN.push(...columns.shN.subarray(0, columns.count * (((columns.degree + 1) ** 2 - 1) * 3)));
    });
    return got.batcher;
  }, size);
  for (let at = 0; at < bytes.length; at += piece) reader.push(bytes.subarray(at, at + piece));
  reader.end();
  return { ...got, notes: reader.notes, leftOut: got.batcher.leftOut };
}

function checkPlain(got, rows, dc = true) {
  assert.deepEqual(got.begun, [rows, 0]);
  for (let row = 0; row < rows; row++) {
    assert.deepEqual(got.means.slice(3 * row, 3 * row + 3), ["x", "y", "z"].map((name) => value(row, name)));
    assert.deepEqual(got.quats.slice(4 * row, 4 * row + 4), [0, 1, 2, 3].map((i) => value(row, `rot_${i}`)));
    assert.deepEqual(got.logScales.slice(3 * row, 3 * row + 3), [0, 1, 2].map((i) => value(row, `scale_${i}`)));
    assert.equal(got.logitOpacities[row], value(row, "opacity"));
    if (dc) assert.deepEqual(got.sh0.slice(3 * row, 3 * row + 3), [0, 1, 2].map((i) => value(row, `f_dc_${i}`)));
  }
  assert.equal(got.means.length, 3 * rows);
}

test("any order and types, of three encodings, cut anywhere", () => {
  const mixed = [...PLAIN].reverse().flatMap((name, index) => [
    [name, index % 2 ? "double" : "float"], [`more_${index}`, index % 3 ? "uchar" : "short"],
  ]);
  for (const format of ["binary_little_endian", "binary_big_endian", "ascii"]) {
    const bytes = ply({ format, columns: mixed, rows: 7, of: (row, name) => (PLAIN.includes(name) ? value(row, name) : 3) });
    for (const piece of [1, 7, 100, bytes.length]) checkPlain(read(bytes, piece), 7);
  }
});

test("batches: a small one first, and all Gaussians in order", () => {
  const rows = 4096 + 8192 + 5;
  const got = read(ply({ columns: PLAIN, rows }), 1 << 16);
  checkPlain(got, rows);
  assert.equal(got.batches, 3);
});

test("elements before, of fixed size and of lists; lists beside, elements after", () => {
  const elements = "element camera 2\nproperty uchar a\nproperty float b\n";
  checkPlain(read(ply({ columns: PLAIN, rows: 3, elements, before: new Array(10).fill(9) }), 5), 3);
  const lists = "element face 2\nproperty list uchar short index\n";
  checkPlain(read(ply({ columns: PLAIN, rows: 3, elements: lists, before: [2, 1, 0, 2, 0, 0] }), 3), 3);
  const more = "property list uchar float extra\nelement face 1\nproperty list uchar int index\n";
  const text = ply({ format: "ascii", columns: PLAIN, rows: 2, more });
  const lines = Buffer.from(text).toString().replace(/^(\d.*)$/gm, "$1 2 7.5 8.5") + "3 0 1 2\n";
  checkPlain(read(Buffer.from(lines), 11), 2);
});

test("a list that never ends is not gathered", () => {
  const row = ply({ columns: PLAIN, rows: 1, more: "property list uint float extra\n" });
  const endless = new PlyReader("a.ply", (count, degree) => new Batcher(degree, () => {}), Infinity);
  endless.push(row);
  endless.push(Uint8Array.of(255, 255, 255, 127));
  assert.throws(() => {
    for (let i = 0; i < 9; i++) endless.push(new Uint8Array(1 << 22));
  }, /damaged: it has a row of more than 16 MB/);
});

test("harmonics: channel by channel in the file, basis by basis here; degrees 1 to 4; odd numbers of them", () => {
  for (const [count, degree] of [[9, 1], [24, 2], [45, 3], [72, 4], [30, 2], [3, 0]]) {
    const rest = Array.from({ length: count }, (_, index) => `f_rest_${index}`);
    const of = (row, name) => (name.startsWith("f_rest_") ? Number(name.slice(7)) : value(row, name));
    const got = read(ply({ columns: [...PLAIN, ...rest], rows: 2, of }));
    const shown = Math.min(degree, 3);
    assert.deepEqual(got.begun, [2, shown]);
    const kept = (shown + 1) ** 2 - 1;
    const wanted = Array.from({ length: kept * 3 }, (_, j) => (j % 3) * (count / 3) + Math.floor(j / 3));
    assert.deepEqual(got.shN, [...wanted, ...wanted]);
    assert.equal(got.notes.length, degree === 4 ? 1 : 0);
  }
});

test("colors instead of f_dc: bytes, 0 to 255 and 0 to 1; discs", () => {
  const names = PLAIN.filter((name) => !name.startsWith("f_dc") && name !== "scale_2");
  const cases = [["uchar", 255, "binary_big_endian"], ["float", 255, "ascii"], ["float", 1, "ascii"]];
  for (const [type, white, format] of cases) {
    const columns = [...names, ...["red", "green", "blue"].map((name) => [name, type])];
    const of = (row, name) => (name === "red" ? white : name === "green" ? 0 : name === "blue" ? white : value(row, name));
    const got = read(ply({ format, columns, rows: 1, of }));
    assert.deepEqual(got.sh0, [0.5, -0.5, 0.5].map((c) => Math.fround(Math.fround(c) / SH_C0)));
    assert.equal(got.logScales[2], Math.fround(Math.log(1e-6)));
  }
});

test("what cannot be drawn is left out and counted", () => {
  const of = (row, name) => {
    if (row === 1 && name === "x") return NaN;
    if (row === 3 && name === "opacity") return Infinity;
    return row === 4 && name.startsWith("rot_") ? 0 : value(row, name);
  };
  for (const format of ["binary_little_endian", "ascii"]) {
    const got = read(ply({ format, columns: PLAIN, rows: 6, of }));
    assert.deepEqual([0, 3, 6].map((i) => got.means[i]), [1, 3, 6]);
    assert.equal(got.leftOut, 3);
  }
});

test("truncated: what came is shown, and the reader says so; a header that lies", () => {
  const bytes = ply({ columns: PLAIN, rows: 100 });
  const cut = bytes.subarray(0, bytes.length - 56 * 30 - 1);
  const got = read(cut, 999);
  assert.equal(got.means.length, 3 * 69);
  assert.equal(got.begun[0], 69);
  assert.deepEqual(got.notes, ["The file is truncated: 69 of 100 Gaussians are there."]);
  const lie = Buffer.from(Buffer.from(bytes).toString("latin1").replace("vertex 100", "vertex 4000000000"), "latin1");
  assert.equal(read(lie).begun[0], 100);
  const text = ply({ format: "ascii", columns: PLAIN, rows: 3 });
  assert.deepEqual(read(text.subarray(0, -1)).notes, []); // only the last newline lacks
  const torn = new PlyReader("a.ply", (count, degree) => new Batcher(degree, () => {}), Infinity);
  torn.push(cut);
  torn.cut = "The connection broke";
  torn.end();
  assert.deepEqual(torn.notes, ["The connection broke: 69 of 100 Gaussians are there."]);
  assert.throws(() => read(text.subarray(0, -9)), /damaged: a line for 14 properties says/);
});

test("sentences for what is no splat", () => {
  const point = (more = "") =>
    Buffer.from(`ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n${more}end_header\n1 2 3\n`);
  const header = (line) => Buffer.from(`ply\nformat ascii 1.0\n${line}\nend_header\n`);
  const empty = ply({ columns: PLAIN, rows: 0 });
  const cases = [
    [Buffer.from("hello, I am text"), /a.ply is not a PLY file/],
    [Buffer.from([]), /not a PLY file/],
    [point(), /a.ply is a point cloud, not a splat: its vertices have no opacity, scale_0/],
    [point("element face 0\nproperty list uchar int vertex_indices\n"), /is a mesh, not a splat/],
    [ply({ columns: PLAIN.filter((name) => name !== "rot_2"), rows: 1 }), /not a whole splat: its vertices have no rot_2\.$/],
    [ply({ columns: [...PLAIN, "packed_position"], rows: 1 }), /is a compressed PLY.*open it with/],
    [ply({ columns: [...PLAIN, "f_rest_0"], rows: 1 }), /has 1 columns f_rest_\*; wanted a multiple of 3/],
    [ply({ columns: [...PLAIN, "x"], rows: 1 }), /one of them twice/],
    [Buffer.from("ply\nformat ascii 1.0\nelement vertex 3\n"), /without its end/],
    [header("element face 0"), /has no element "vertex"/],
    [header("element vertex -3"), /header line that says nothing known: "element vertex -3"/],
    [header("property float x"), /header line that says nothing known/],
    [Buffer.from("ply\nelement vertex 1\nproperty float x\nend_header\n"), /without its format/],
    [empty, /holds no Gaussians/],
    [ply({ columns: PLAIN, rows: 5 }).subarray(0, -56 * 5), /truncated: none of its 5 Gaussians/],
    [ply({ format: "ascii", columns: PLAIN, rows: 1, of: () => "red" }), /damaged: a line for 14 properties says "red red/],
  ];
  for (const [bytes, wanted] of cases) assert.throws(() => read(bytes), wanted);
});

test("a file whose middle is any bytes gives Gaussians or a sentence", () => {
  const whole = ply({ format: "ascii", columns: PLAIN, rows: 4 });
  for (let seed = 1; seed < 400; seed++) {
    const bytes = whole.slice();
    for (let i = 0; i < 3; i++) bytes[(seed * 7919 + i * 104729) % bytes.length] = (seed * (i + 31)) % 256;
    try {
      read(bytes, 50);
    } catch (error) {
      assert.equal(error.constructor.name, "LoadError", `seed ${seed}: ${error.stack}`);
    }
  }
});

/** Run the worker's reading of bytes as far as it goes. */
async function load(bytes, limit = Infinity, name = "a.ply") {
  const told = { rows: [], begun: [], shares: [] };
  const tell = (message) => {
    if (message.type === "rows") told.rows.push(message.rows);
    else if (message.type === "begin") told.begun.push(message);
    else if (message.type === "progress") told.shares.push(message.share);
    else told.done = message;
  };
  await new SplatLoad({ file: new Blob([bytes]) }, name, limit, tell).run();
  return told;
}

test("the whole way to packed rows", async () => {
  const told = await load(ply({ columns: PLAIN, rows: 6000 }));
  assert.deepEqual(told.rows.map(({ count }) => count), [4096, 1904]);
  assert.equal(told.rows[1].geometry.length, 2048 * 4);
  assert.deepEqual([told.begun[0].shown, told.done.count, told.done.leftOut, told.done.note], [6000, 6000, 0, ""]);
  assert.equal(told.shares.at(-1), 1);
});

test("more than may be shown: the most important ones, in their order, and a sentence", async () => {
  const big = new Set([3, 17, 18, 99]);
  const of = (row, name) => {
    if (name.startsWith("scale_")) return big.has(row) ? 2 : -2;
    return name === "opacity" ? (row === 18 ? -20 : 0) : row === 50 && name === "x" ? NaN : value(row, name);
  };
  const told = await load(ply({ columns: PLAIN, rows: 100, of }), 3);
  assert.equal(told.rows.length, 1);
  const means = new Float32Array(told.rows[0].geometry.buffer);
  assert.deepEqual([means[0], means[4], means[8]], [4, 18, 100]);
  assert.deepEqual([told.begun[0].count, told.begun[0].shown, told.done.leftOut], [100, 3, 1]);
  const plain = await load(ply({ columns: PLAIN, rows: 100, of }), [3, 0, 0, 0]); // as many as there is room for at its degree
  assert.equal(plain.begun[0].shown, 3);
  assert.match(told.done.note, /This device can show 3 of the 99 Gaussians: .* 1 Gaussian has/);
  const ties = await load(ply({ columns: PLAIN, rows: 5000, of: (row, name) => (name === "x" ? row : 1) }), 4500);
  assert.deepEqual([ties.done.count, ties.rows.length], [4500, 2]);
});

test("sentences from the whole way", async () => {
  await assert.rejects(load(new Uint8Array(0)), /a.ply is empty/);
  await assert.rejects(load(Buffer.from("NGSP0000"), 1, "a.spz"), /a.spz is no PLY, .*: open it with "sfumato view"/);
  const none = ply({ columns: PLAIN, rows: 3, of: () => NaN });
  await assert.rejects(load(none), /shows nothing: none of its Gaussians has finite numbers/);
});
