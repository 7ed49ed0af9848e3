/** The bytes of a splat PLY, as they arrive, to batches of Gaussians: any encoding, order and types of its columns. */

import { Batcher, LoadError } from "./batch.js";
import { MAX_DEGREE, SH_C0, restOf } from "./pack.js";

/** @typedef {import("./pack.js").Columns} Columns */
/** @typedef {{name: string, type: string, length: string | null}} PlyProperty  length: type of a list's length */
/** @typedef {{name: string, count: number, properties: PlyProperty[]}} PlyElement */
/** @typedef {{text: boolean, little: boolean, elements: PlyElement[], bytes: number}} PlyHeader */
/** @typedef {{array: "means" | "quats" | "logScales" | "logitOpacities" | "sh0" | "shN", width: number, slot: number}} PlyTarget */

const PLY_TYPES = new Map([
  ...["char", "int8"].map((name) => /** @type {[string, string]} */ ([name, "i1"])),
  ...["uchar", "uint8"].map((name) => /** @type {[string, string]} */ ([name, "u1"])),
  ...["short", "int16"].map((name) => /** @type {[string, string]} */ ([name, "i2"])),
  ...["ushort", "uint16"].map((name) => /** @type {[string, string]} */ ([name, "u2"])),
  ...["int", "int32"].map((name) => /** @type {[string, string]} */ ([name, "i4"])),
  ...["uint", "uint32"].map((name) => /** @type {[string, string]} */ ([name, "u4"])),
  ...["float", "float32"].map((name) => /** @type {[string, string]} */ ([name, "f4"])),
  ...["double", "float64"].map((name) => /** @type {[string, string]} */ ([name, "f8"])),
]);
const PLY_MOST_ROW = 1 << 24; // bytes; a longer list is damage, and would be gathered piece by piece
const PLY_MOST_HEADER = 1 << 20; // bytes; what is longer is no header
const PLY_FLAT = Math.log(1e-6); // log scale of the third axis of a disc, whose file has only two
const PLY_WORD = /^[-+]?(nan|inf|infinity)$/i; // what Number() does not know, and Python writes

/**
 * Reads one file: push() its bytes in pieces of any size, then end().
 * `begin` is told the number of Gaussians and their degree once, before the first batch, and returns the Batcher.
 * Both throw LoadError, in one sentence, when this is no splat that can be shown.
 */
export class PlyReader {
  /**
   * @param {string} name @param {(count: number, degree: number) => Batcher} begin
   * @param {number} [size]  bytes of the whole file, where known
   */
  constructor(name, begin, size = Infinity) {
    this.name = name;
    this.begin = begin;
    this.size = size;
    /** @type {string[]} */
    this.notes = [];
    /** Bytes that wait for more. @type {Uint8Array} */
    this.held = new Uint8Array(0);
    /** @type {PlyHeader | null} */
    this.header = null;
    /** @type {Batcher | null} */
    this.batcher = null;
    this.element = 0; // the element at hand
    this.row = 0; // and its next row
    this.done = false;
    this.cut = ""; // what ended it too soon, where that is known
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    if (this.done) return;
    this.held = this.held.length ? joinedBytes(this.held, bytes) : bytes;
    if (!this.header && !this.readHeader(false)) return;
    this.held = this.held.slice(this.consume(this.held, false)); // a copy: the piece it came in may be large
    if (this.held.length > PLY_MOST_ROW) throw new LoadError(`${this.name} is damaged: it has a row of more than 16 MB.`);
  }

  /** The file has ended; says in `notes` when that was too soon. */
  end() {
    if (!this.header) this.readHeader(true);
    if (!this.done) this.consume(this.held, true);
    if (!this.done) {
      const { name, count } = this.vertex();
      const came = this.header?.elements[this.element].name === name ? this.row : 0;
      if (!came) throw new LoadError(`${this.cut || `${this.name} is truncated`}: none of its ${count.toLocaleString("en")} Gaussians is there.`);
      this.notes.push(
        `${this.cut || "The file is truncated"}: ${came.toLocaleString("en")} of ${count.toLocaleString("en")} Gaussians are there.`,
      );
    }
    this.batcher?.flush();
  }

  vertex() {
    return /** @type {PlyElement} */ (this.header?.elements.find((element) => element.name === "vertex"));
  }

  /** Whether the header has come, and is read. @param {boolean} last */
  readHeader(last) {
    if (this.held.length < 4 && !last) return false;
    const start = String.fromCharCode(...this.held.subarray(0, 4));
    if (!/^ply\s$/.test(start)) throw new LoadError(`${this.name} is not a PLY file: its first line is not "ply".`);
    const end = headerEnd(this.held);
    if (end < 0) {
      if (!last && this.held.length <= PLY_MOST_HEADER) return false;
      throw new LoadError(`${this.name} has a PLY header without its end: the file is truncated or damaged.`);
    }
    this.header = parseHeader(this.name, this.held.subarray(0, end));
    this.held = this.held.subarray(end);
    const vertex = checkedVertex(this.name, this.header);
    const { degree, stored } = shOf(this.name, vertex);
    if (degree > MAX_DEGREE) this.notes.push(`Its spherical harmonics of degree ${degree} are shown up to ${MAX_DEGREE}.`);
    this.batcher = this.begin(this.fitting(vertex), Math.min(degree, MAX_DEGREE));
    this.targets = targetsOf(vertex, Math.min(degree, MAX_DEGREE), stored);
    this.disc = !vertex.properties.some(({ name }) => name === "scale_2");
    this.colored = !vertex.properties.some(({ name }) => name === "f_dc_0");
    /** What is white in the columns red, green, blue. @type {number} */
    this.white = vertex.properties.some(({ name, type }) => name === "red" && /[iu]/.test(type)) ? 255 : 0;
    return true;
  }

  /** Gaussians that the file's size leaves room for: a header may promise more. @param {PlyElement} vertex */
  fitting(vertex) {
    const { elements, bytes } = /** @type {PlyHeader} */ (this.header);
    let body = this.size - bytes;
    for (const element of elements) {
      if (element === vertex) break;
      body -= element.count * this.leastRow(element);
    }
    if (this.header?.text) body += 1; // the last line may lack its newline
    return Math.max(0, Math.min(vertex.count, Math.floor(body / this.leastRow(vertex))));
  }

  /** Bytes that a row takes at least: a list may be empty. @param {PlyElement} element */
  leastRow({ properties }) {
    if (this.header?.text) return Math.max(1, 2 * properties.length); // a digit and a separator each
    return properties.reduce((sum, { type, length }) => sum + sizeOfType(length ?? type), 0);
  }

  /** Read whole rows; returns the bytes that are used up. @param {Uint8Array} bytes @param {boolean} last */
  consume(bytes, last) {
    const { elements, text } = /** @type {PlyHeader} */ (this.header);
    const batcher = /** @type {Batcher} */ (this.batcher);
    let at = 0;
    while (!this.done) {
      const element = elements[this.element];
      const wanted = element.name === "vertex";
      const rows = element.count - this.row;
      if (rows === 0) {
        this.done = wanted;
        this.element++;
        this.row = 0;
        continue;
      }
      const most = wanted ? Math.min(rows, batcher.room) : rows;
      const [used, count] = text
        ? this.textRows(bytes.subarray(at), element, most, last)
        : this.binaryRows(bytes.subarray(at), element, most);
      if (wanted && count) {
        this.finish(batcher.columns, count);
        batcher.commit(count);
      }
      at += used;
      this.row += count;
      if (count < most) break;
    }
    return at;
  }

  /**
   * Up to `most` rows of an element, those of vertices into the batch; returns bytes used and rows read.
   * @param {Uint8Array} bytes @param {PlyElement} element @param {number} most @returns {[number, number]}
   */
  binaryRows(bytes, element, most) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const little = /** @type {PlyHeader} */ (this.header).little;
    const wanted = element.name === "vertex";
    if (element.properties.every(({ length }) => length === null)) {
      const stride = this.leastRow(element);
      const count = Math.min(most, Math.floor(bytes.length / stride));
      if (wanted) this.decode(view, little, element, stride, count);
      return [count * stride, count];
    }
    let at = 0;
    let count = 0;
    /** @type {number[]} */
    const values = [];
    for (; count < most; count++) {
      const next = this.walk(view, little, element, at, values);
      if (next < 0) break;
      if (wanted) this.store(values, count);
      at = next;
    }
    return [at, count];
  }

  /**
   * Columns of rows of equal size. @param {DataView} view @param {boolean} little @param {PlyElement} element
   * @param {number} stride @param {number} count
   */
  decode(view, little, element, stride, count) {
    const { columns } = /** @type {Batcher} */ (this.batcher);
    let offset = 0;
    for (const { name, type } of element.properties) {
      const target = this.targets?.get(name);
      if (target) {
        const array = columns[target.array];
        const { width } = target;
        const first = columns.count * width + target.slot;
        if (type === "f4") {
          for (let i = 0, at = offset; i < count; i++, at += stride) array[first + i * width] = view.getFloat32(at, little);
        } else {
          for (let i = 0, at = offset; i < count; i++, at += stride) array[first + i * width] = readNumber(view, at, type, little);
        }
      }
      offset += sizeOfType(type);
    }
  }

  /**
   * One row with lists, a list counting as its length; returns where the next begins, -1 when it is not all there.
   * @param {DataView} view @param {boolean} little @param {PlyElement} element @param {number} at @param {number[]} values
   */
  walk(view, little, element, at, values) {
    for (const [index, { type, length }] of element.properties.entries()) {
      const size = sizeOfType(length ?? type);
      if (at + size > view.byteLength) return -1;
      values[index] = readNumber(view, at, length ?? type, little);
      at += size;
      if (length === null) continue;
      if (!(values[index] >= 0)) throw new LoadError(`${this.name} is damaged: it has a list of length ${values[index]}.`);
      at += values[index] * sizeOfType(type);
      if (at > view.byteLength) return -1;
    }
    return at;
  }

  /**
   * The same for lines of text. @param {Uint8Array} bytes @param {PlyElement} element @param {number} most
   * @param {boolean} last @returns {[number, number]}
   */
  textRows(bytes, element, most, last) {
    let at = 0;
    let count = 0;
    while (count < most) {
      let end = bytes.indexOf(10, at);
      if (end < 0) {
        if (!last) break;
        end = bytes.length;
      }
      const words = asciiText(bytes.subarray(at, end)).trim().split(/\s+/);
      if (words[0] !== "") {
        if (element.name === "vertex") this.store(this.lineValues(words, element), count);
        count++;
      } else if (end === bytes.length) break;
      at = Math.min(end + 1, bytes.length);
    }
    return [at, count];
  }

  /** @param {string[]} words @param {PlyElement} element */
  lineValues(words, element) {
    const values = [];
    let at = 0;
    for (const { length } of element.properties) {
      const value = Number(words[at]);
      if (Number.isNaN(value) && !PLY_WORD.test(words[at] ?? "")) this.damaged(words, element);
      values.push(value);
      at += length === null ? 1 : 1 + value;
    }
    if (at !== words.length) this.damaged(words, element);
    return values;
  }

  /** @param {string[]} words @param {PlyElement} element @returns {never} */
  damaged(words, element) {
    const line = words.join(" ").slice(0, 60);
    throw new LoadError(
      `${this.name} is damaged: a line for ${element.properties.length} properties says "${line}".`,
    );
  }

  /** Put a row's values `index` places after the batch's end. @param {number[]} values @param {number} index */
  store(values, index) {
    const { columns } = /** @type {Batcher} */ (this.batcher);
    for (const [i, { name }] of this.vertex().properties.entries()) {
      const target = this.targets?.get(name);
      if (target) columns[target.array][(columns.count + index) * target.width + target.slot] = values[i];
    }
  }

  /** What the file says in other words: discs, colors. @param {Columns} columns @param {number} added */
  finish(columns, added) {
    const end = columns.count + added;
    if (this.disc) for (let i = columns.count; i < end; i++) columns.logScales[3 * i + 2] = PLY_FLAT;
    if (!this.colored) return;
    const colors = columns.sh0.subarray(3 * columns.count, 3 * end);
    this.white ||= colors.some((value) => value > 1) ? 255 : 1; // numbers with a point: 0 to 255 shows itself
    for (let i = 0; i < colors.length; i++) colors[i] = (colors[i] / this.white - 0.5) / SH_C0;
  }
}

/** @param {Uint8Array} a @param {Uint8Array} b */
function joinedBytes(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** @param {Uint8Array} bytes */
function asciiText(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}

/** Whether that is how a PLY begins, whatever it is called. @param {Uint8Array} bytes */
export function isPly(bytes) {
  return asciiText(bytes.subarray(0, 3)) === "ply";
}

/** Where the body begins, or -1: after the line that says end_header. @param {Uint8Array} bytes */
function headerEnd(bytes) {
  const text = asciiText(bytes.subarray(0, PLY_MOST_HEADER));
  const found = /\n[ \t]*end_header[ \t\r]*\n/.exec(text);
  return found ? found.index + found[0].length : -1;
}

/** @param {string} name @param {Uint8Array} bytes @returns {PlyHeader} */
function parseHeader(name, bytes) {
  let format = "";
  /** @type {PlyElement[]} */
  const elements = [];
  for (const line of asciiText(bytes).split("\n").slice(1)) {
    const words = line.trim().split(/\s+/);
    const [first, second, third, fourth, fifth] = words;
    const element = elements.at(-1);
    if (first === "format" && words.length === 3 && /^(ascii|binary_(little|big)_endian)$/.test(second)) format = second;
    else if (first === "element" && words.length === 3 && /^\d{1,15}$/.test(third)) {
      elements.push({ name: second, count: Number(third), properties: [] });
    } else if (first === "property" && element && words.length === 3 && PLY_TYPES.has(second)) {
      element.properties.push({ name: third, type: PLY_TYPES.get(second) ?? "", length: null });
    } else if (first === "property" && element && second === "list" && PLY_TYPES.has(third) && PLY_TYPES.has(fourth)) {
      element.properties.push({ name: fifth, type: PLY_TYPES.get(fourth) ?? "", length: PLY_TYPES.get(third) ?? null });
    } else if (!["", "comment", "obj_info", "end_header"].includes(first)) {
      throw new LoadError(`${name} has a PLY header line that says nothing known: "${words.join(" ").slice(0, 60)}".`);
    }
  }
  if (!format) throw new LoadError(`${name} has a PLY header without its format: the file is damaged.`);
  return { text: format === "ascii", little: format !== "binary_big_endian", elements, bytes: bytes.length };
}

/** The vertex element of a splat. @param {string} name @param {PlyHeader} header */
function checkedVertex(name, { elements }) {
  const vertex = elements.find((element) => element.name === "vertex");
  if (!vertex) throw new LoadError(`${name} is not a splat: it has no element "vertex".`);
  const there = new Set(vertex.properties.map((property) => property.name));
  if (!there.size || there.size < vertex.properties.length) {
    throw new LoadError(`${name} is damaged: it gives "vertex" no properties, or one of them twice.`);
  }
  if (there.has("packed_position")) {
    throw new LoadError(
      `${name} is a compressed PLY, which this page cannot read itself: open it with "sfumato view".`,
    );
  }
  const missing = ["x", "y", "z", "opacity", "scale_0", "scale_1", "rot_0", "rot_1", "rot_2", "rot_3"].filter(
    (property) => !there.has(property),
  );
  const colored = (/** @type {string[]} */ names) => names.every((property) => there.has(property));
  if (!colored(["f_dc_0", "f_dc_1", "f_dc_2"]) && !colored(["red", "green", "blue"])) missing.push("f_dc_0");
  if (missing.length) {
    const foreign = !["opacity", "scale_0", "rot_0"].some((property) => there.has(property));
    const kind = elements.some((element) => element.name === "face") ? "mesh" : "point cloud";
    throw new LoadError(
      `${name} is ${foreign ? `a ${kind}, not a splat` : "not a whole splat"}: its vertices have no ${missing.join(", ")}.`,
    );
  }
  if (!vertex.count) throw new LoadError(`${name} shows nothing: it holds no Gaussians.`);
  return vertex;
}

/** The highest degree that f_rest_* fills, and its columns per color. @param {string} name @param {PlyElement} vertex */
function shOf(name, { properties }) {
  const rest = properties.filter((property) => property.name.startsWith("f_rest_"));
  const names = new Set(rest.map((property) => property.name));
  if (rest.length % 3 || !rest.every((_, index) => names.has(`f_rest_${index}`))) {
    throw new LoadError(`${name} has ${rest.length} columns f_rest_*; wanted a multiple of 3, numbered from 0 on.`);
  }
  let degree = 4;
  while (restOf(degree) > rest.length) degree--;
  return { degree, stored: rest.length / 3 };
}

/**
 * Property -> where its numbers go; f_rest runs over all coefficients of red, then green, then blue.
 * @param {PlyElement} vertex @param {number} degree @param {number} stored @returns {Map<string, PlyTarget>}
 */
function targetsOf({ properties }, degree, stored) {
  /** @type {Map<string, PlyTarget>} */
  const targets = new Map();
  /** @type {(array: PlyTarget["array"], names: string[], width?: number) => void} */
  const add = (array, names, width = names.length) =>
    names.forEach((name, slot) => targets.set(name, { array, width, slot }));
  const dc = properties.some((property) => property.name === "f_dc_0");
  add("means", ["x", "y", "z"]);
  add("quats", ["rot_0", "rot_1", "rot_2", "rot_3"]);
  add("logScales", ["scale_0", "scale_1", "scale_2"]);
  add("logitOpacities", ["opacity"]);
  add("sh0", dc ? ["f_dc_0", "f_dc_1", "f_dc_2"] : ["red", "green", "blue"]);
  const rest = Array.from({ length: restOf(degree) }, (_, j) => `f_rest_${(j % 3) * stored + Math.floor(j / 3)}`);
  add("shN", rest);
  return targets;
}

/** @param {string} type */
function sizeOfType(type) {
  return Number(type[1]);
}

/** @param {DataView} view @param {number} at @param {string} type @param {boolean} little */
function readNumber(view, at, type, little) {
  switch (type) {
    case "f4":
      return view.getFloat32(at, little);
    case "f8":
      return view.getFloat64(at, little);
    case "u1":
      return view.getUint8(at);
    case "i1":
      return view.getInt8(at);
    case "u2":
      return view.getUint16(at, little);
    case "i2":
      return view.getInt16(at, little);
    case "u4":
      return view.getUint32(at, little);
    default:
      return view.getInt32(at, little);
  }
}
