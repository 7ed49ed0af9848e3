/** Numbers over steps to a small chart: SVG lines in the page's own colors, a text that says the same, values under the pointer. */

/**
 * @typedef {object} CurveSeries
 * @property {string} name what the legend calls it
 * @property {ArrayLike<number|null>[]} points [x, y] in the order of x; a y that is no number leaves a gap
 * @property {boolean} [dots] also mark each point: for few values, measured now and then
 */

/**
 * @typedef {object} CurveOptions
 * @property {string} title what the chart shows, such as "PSNR"
 * @property {string} [unit] of y, such as "dB"
 * @property {string} [x] what x counts, "step" by default
 * @property {number} [digits] after the decimal point of y, 2 by default
 * @property {boolean} [log] y in equal ratios instead of equal differences
 * @property {number} [height] CSS pixels, 140 by default
 */

/** @typedef {{series: CurveSeries[], options: CurveOptions, cursor: number|null, width: number}} CurveState */

const CURVE_COLORS = ["var(--curve-1, #3380d0)", "var(--curve-2, #d2700d)", "var(--curve-3, #3f9b4f)"];
const CURVE_EDGE = { left: 46, right: 10, top: 8, bottom: 20 }; // CSS pixels around the lines
const CURVE_SVG = "http://www.w3.org/2000/svg";

/** @type {WeakMap<Element, CurveState>} */
const curveStates = new WeakMap();
let curveNumber = 0;

/**
 * Numbers at even, round distances from at or above low to at or below high, about `count` of them.
 * @param {number} low @param {number} high @param {number} count @returns {number[]}
 */
export function roundTicks(low, high, count) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/**
 * The index of the point whose x is nearest; -1 where there is none.
 * @param {ArrayLike<number|null>[]} points @param {number} x
 */
export function nearestPoint(points, x) {
  let low = 0;
  let high = points.length - 1;
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (Number(points[middle][0]) <= x) low = middle;
    else high = middle;
  }
  return Math.abs(Number(points[high][0]) - x) < Math.abs(Number(points[low][0]) - x) ? high : low;
}

/**
 * The points whose y is a number, and may be shown on such an axis.
 * @param {ArrayLike<number|null>[]} points @param {boolean} [log] @returns {[number, number][]}
 */
function curveValues(points, log) {
  /** @type {[number, number][]} */
  const values = [];
  for (const point of points) {
    const y = point[1];
    if (y !== null && Number.isFinite(y) && !(log && y <= 0)) values.push([Number(point[0]), y]);
  }
  return values;
}

/** @param {number} y @param {CurveOptions} options */
function curveText(y, options) {
  const digits = options.digits ?? 2;
  const text = y.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return options.unit ? `${text} ${options.unit}` : text;
}

/**
 * The chart in words, for those who do not see it.
 * @param {CurveSeries[]} series @param {CurveOptions} options
 */
export function curveInWords(series, options) {
  const parts = [];
  for (const { name, points } of series) {
    const values = curveValues(points, options.log);
    if (!values.length) continue;
    const [first, last] = [values[0], values[values.length - 1]];
    const what = series.length > 1 || name !== options.title ? `${name} ` : "";
    const x = options.x ?? "step";
    parts.push(
      values.length === 1
        ? `${what}${curveText(last[1], options)} at ${x} ${last[0].toLocaleString("en")}`
        : `${what}from ${curveText(first[1], options)} at ${x} ${first[0].toLocaleString("en")} ` +
            `to ${curveText(last[1], options)} at ${x} ${last[0].toLocaleString("en")}`,
    );
  }
  return `${options.title}: ${parts.length ? parts.join("; ") : "no values yet"}`;
}

/**
 * The lowest and highest x and y of all series, with some air above and below.
 * @param {CurveSeries[]} series @param {boolean} [log]
 */
export function curveRange(series, log) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { points } of series) {
    for (const [x, y] of curveValues(points, log)) {
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y);
    }
  }
  if (!(x1 >= x0)) return { x0: 0, x1: 1, y0: log ? 0.1 : 0, y1: 1 };
  if (x1 === x0) x1 = x0 + 1;
  if (log) {
    const air = y1 > y0 ? (y1 / y0) ** 0.06 : 1.5;
    return { x0, x1, y0: y0 / air, y1: y1 * air };
  }
  const air = y1 > y0 ? 0.06 * (y1 - y0) : Math.abs(y1) * 0.1 || 1;
  return { x0, x1, y0: y0 - air, y1: y1 + air };
}

/**
 * The d of an SVG path through the points; it begins anew after a gap.
 * @param {ArrayLike<number|null>[]} points @param {(x: number) => number} toX @param {(y: number) => number} toY
 * @param {boolean} [log]
 */
export function curvePath(points, toX, toY, log) {
  let path = "";
  let pen = "M";
  for (const point of points) {
    const y = point[1];
    if (y === null || !Number.isFinite(y) || (log && y <= 0)) {
      pen = "M";
      continue;
    }
    path += `${pen}${toX(Number(point[0])).toFixed(1)} ${toY(y).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

/**
 * Draw into an element, in place of what an earlier call drew there; it follows the element's width.
 * Arrow keys move through the values while the chart has the focus.
 * @param {HTMLElement} element @param {CurveSeries[]} series @param {CurveOptions} options
 */
export function drawCurve(element, series, options) {
  const before = curveStates.get(element);
  const state = { series, options, cursor: before ? before.cursor : null, width: element.clientWidth || 320 };
  curveStates.set(element, state);
  if (!before) buildCurve(element);
  paintCurve(element, state);
}

/** @param {HTMLElement} element */
function buildCurve(element) {
  const [svg, legend, value] = [curveNode("svg"), document.createElement("div"), document.createElement("output")];
  legend.className = "curve-legend";
  value.className = "curve-value";
  value.id = `curve-value-${++curveNumber}`;
  svg.setAttribute("role", "img");
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("aria-describedby", value.id);
  const { style } = legend;
  [style.display, style.gap, style.flexWrap, style.alignItems] = ["flex", "0.2em 1em", "wrap", "baseline"];
  svg.style.display = "block";
  element.classList.add("curve");
  element.replaceChildren(svg, legend);
  legend.append(value);
  listenCurve(element, svg);
  if (typeof ResizeObserver === "undefined") return;
  new ResizeObserver(() => {
    const state = curveStates.get(element);
    if (!state || !element.clientWidth || Math.abs(element.clientWidth - state.width) < 1) return;
    state.width = element.clientWidth;
    paintCurve(element, state);
  }).observe(element);
}

/** @param {HTMLElement} element @param {SVGElement} svg */
function listenCurve(element, svg) {
  /** @param {number|null} x */
  const move = (x) => {
    const state = curveStates.get(element);
    if (!state || state.cursor === x) return;
    state.cursor = x;
    paintCurve(element, state);
  };
  svg.addEventListener("pointermove", (event) => {
    const state = curveStates.get(element);
    if (!state) return;
    const { x0, x1 } = curveRange(state.series, state.options.log);
    const share = (event.clientX - svg.getBoundingClientRect().left - CURVE_EDGE.left) / curveInside(state).width;
    move(x0 + Math.min(1, Math.max(0, share)) * (x1 - x0));
  });
  svg.addEventListener("pointerleave", () => move(null));
  svg.addEventListener("blur", () => move(null));
  svg.addEventListener("keydown", (event) => {
    const state = curveStates.get(element);
    const points = state ? curveLongest(state).filter((point) => point[1] !== null) : [];
    if (!state || !points.length) return;
    const last = points.length - 1;
    const jump = event.shiftKey ? Math.max(1, Math.round(last / 10)) : 1;
    const at = state.cursor === null ? last : nearestPoint(points, state.cursor);
    /** @type {Record<string, number>} */
    const to = { ArrowLeft: state.cursor === null ? last : at - jump, ArrowRight: at + jump, Home: 0, End: last };
    if (event.key === "Escape" && state.cursor !== null) move(null);
    else if (event.key in to) move(Number(points[Math.min(last, Math.max(0, to[event.key]))][0]));
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page has keys of its own
  });
}

/** @param {CurveState} state */
function curveLongest(state) {
  return state.series.reduce((a, b) => (b.points.length > a.points.length ? b : a), { name: "", points: [] }).points;
}

/** @param {CurveState} state */
function curveInside(state) {
  const { left, right, top, bottom } = CURVE_EDGE;
  return { width: Math.max(40, state.width - left - right), height: (state.options.height ?? 140) - top - bottom };
}

/** @param {HTMLElement} element @param {CurveState} state */
function paintCurve(element, state) {
  const [svg, legend] = element.children;
  const { series, options } = state;
  const range = curveRange(series, options.log);
  const inside = curveInside(state);
  const [width, height] = [inside.width + CURVE_EDGE.left + CURVE_EDGE.right, options.height ?? 140];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.setAttribute("aria-label", curveInWords(series, options));
  const toX = (/** @type {number} */ x) => CURVE_EDGE.left + ((x - range.x0) / (range.x1 - range.x0)) * inside.width;
  const f = options.log ? Math.log : (/** @type {number} */ y) => y;
  const toY = (/** @type {number} */ y) =>
    CURVE_EDGE.top + (1 - (f(y) - f(range.y0)) / (f(range.y1) - f(range.y0))) * inside.height;
  const parts = curveAxes(range, options, toX, toY, width, height);
  series.forEach((one, index) => parts.push(...curveLine(one, index, toX, toY, options.log)));
  if (state.cursor !== null) parts.push(...curveCursor(state, toX, toY, height));
  svg.replaceChildren(...parts);
  paintLegend(/** @type {HTMLElement} */ (legend), state);
}

/**
 * @param {{x0: number, x1: number, y0: number, y1: number}} range @param {CurveOptions} options
 * @param {(x: number) => number} toX @param {(y: number) => number} toY @param {number} width @param {number} height
 * @returns {SVGElement[]}
 */
function curveAxes(range, options, toX, toY, width, height) {
  const parts = [];
  const bottom = height - CURVE_EDGE.bottom;
  const text = { fill: "currentColor", "fill-opacity": 0.75, "font-size": 11 };
  for (const y of options.log ? curveRatios(range.y0, range.y1) : roundTicks(range.y0, range.y1, 4)) {
    const at = toY(y);
    const line = { x1: CURVE_EDGE.left, x2: width - CURVE_EDGE.right, y1: at, y2: at };
    parts.push(curveNode("line", { ...line, stroke: "currentColor", "stroke-opacity": 0.15 }));
    const label = curveNode("text", { ...text, x: CURVE_EDGE.left - 6, y: at + 4, "text-anchor": "end" });
    label.textContent = y.toLocaleString("en", { maximumSignificantDigits: 6, notation: y >= 1e5 ? "compact" : "standard" });
    parts.push(label);
  }
  for (const x of roundTicks(range.x0, range.x1, Math.max(2, Math.floor(width / 60)))) {
    const words = x.toLocaleString("en");
    const beyond = toX(x) + 3 * words.length > width; // half a letter is about 3 wide
    const label = curveNode("text", { ...text, x: beyond ? width : toX(x), y: bottom + 15, "text-anchor": beyond ? "end" : "middle" });
    label.textContent = words;
    parts.push(label);
  }
  return parts;
}

/** @param {number} low @param {number} high 1, 2, 5, 10, 20 ... between the two */
function curveRatios(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of [1, 2, 5]) {
      const y = Number((digit * 10 ** power).toPrecision(3));
      if (y >= low && y <= high) ticks.push(y);
    }
  }
  return ticks.length ? ticks : [low, high].map((y) => Number(y.toPrecision(2)));
}

/**
 * @param {CurveSeries} series @param {number} index @param {(x: number) => number} toX
 * @param {(y: number) => number} toY @param {boolean} [log] @returns {SVGElement[]}
 */
function curveLine(series, index, toX, toY, log) {
  const color = CURVE_COLORS[index % CURVE_COLORS.length];
  const d = curvePath(series.points, toX, toY, log);
  const line = curveNode("path", { d, fill: "none", "stroke-width": 1.6, "stroke-linejoin": "round" });
  line.style.stroke = color;
  const values = curveValues(series.points, log);
  if (!series.dots && values.length > 1) return [line];
  const dots = values.map(([x, y]) => curveDot(toX(x), toY(y), 2.4, color));
  return [line, ...dots];
}

/** @param {number} cx @param {number} cy @param {number} r @param {string} color */
function curveDot(cx, cy, r, color) {
  const dot = curveNode("circle", { cx, cy, r });
  dot.style.fill = color;
  return dot;
}

/**
 * @param {CurveState} state @param {(x: number) => number} toX @param {(y: number) => number} toY
 * @param {number} height @returns {SVGElement[]}
 */
function curveCursor(state, toX, toY, height) {
  const x = toX(Number(state.cursor));
  const line = { x1: x, x2: x, y1: CURVE_EDGE.top, y2: height - CURVE_EDGE.bottom };
  const parts = [curveNode("line", { ...line, stroke: "currentColor", "stroke-opacity": 0.5 })];
  state.series.forEach((one, index) => {
    const values = curveValues(one.points, state.options.log);
    const at = values[nearestPoint(values, Number(state.cursor))];
    if (at) parts.push(curveDot(toX(at[0]), toY(at[1]), 3.5, CURVE_COLORS[index % CURVE_COLORS.length]));
  });
  return parts;
}

/** @param {HTMLElement} legend @param {CurveState} state */
function paintLegend(legend, state) {
  const { series, options, cursor } = state;
  const entries = series.map((one, index) => {
    const values = curveValues(one.points, options.log);
    const at = cursor === null ? values.length - 1 : nearestPoint(values, cursor);
    const entry = document.createElement("span");
    const swatch = document.createElement("span");
    swatch.textContent = one.dots ? "●" : "━";
    swatch.setAttribute("aria-hidden", "true");
    swatch.style.color = CURVE_COLORS[index % CURVE_COLORS.length];
    entry.append(swatch, ` ${one.name} ${at >= 0 ? curveText(values[at][1], options) : "–"}`);
    return { entry, words: at >= 0 ? `${one.name} ${curveText(values[at][1], options)}` : "", x: at >= 0 ? values[at][0] : 0 };
  });
  const value = /** @type {HTMLElement} */ (legend.lastElementChild);
  const longest = entries.filter((entry) => entry.words)[0];
  value.textContent = cursor === null || !longest ? "" : `${options.x ?? "step"} ${longest.x.toLocaleString("en")}`;
  if (cursor === null) value.removeAttribute("aria-label");
  else value.setAttribute("aria-label", `${value.textContent}: ${entries.map((entry) => entry.words).join(", ")}`);
  legend.replaceChildren(...entries.map(({ entry }) => entry), value);
}

/**
 * @param {string} name @param {Record<string, string|number>} [attributes] @returns {SVGElement}
 */
function curveNode(name, attributes = {}) {
  const node = document.createElementNS(CURVE_SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, typeof value === "number" ? String(Math.round(value * 10) / 10 === value ? value : value.toFixed(2)) : value);
  }
  return node;
}
