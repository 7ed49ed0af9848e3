/** A report that can be read already becomes one that can be used: sliders, error maps, sorting, curves, the scene. */

import { drawCurve } from "./curves.js";
import { createWipe, updateWipe } from "./wipe.js";

/**
 * What the page tells its script.
 * @typedef {object} ReportData
 * @property {number[]} steps of the log
 * @property {{psnr: (number | null)[], loss: (number | null)[], gaussians: (number | null)[]}} log smoothed
 * @property {number | null} psnr of the held-out photos
 * @property {[number, number, number][]} colors of errors from none to `fullError`
 * @property {number} fullError root mean square over the colors, of [0, 1]
 */

/**
 * The order of rows by a column: numbers or words, what has no value last either way, equal ones as they were.
 * @param {(string | number | null)[]} values
 * @param {boolean} descending
 * @returns {number[]}
 */
export function sortedRows(values, descending) {
  const order = values.map((_, index) => index);
  return order.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0) || a - b;
    const by = typeof x === "string" ? x.localeCompare(String(y), undefined, { numeric: true }) : x - Number(y);
    return (descending ? -by : by) || a - b;
  });
}

/**
 * How far two pictures are apart, pixel by pixel, in colors.
 * @param {Uint8ClampedArray} photo RGBA
 * @param {Uint8ClampedArray} render RGBA
 * @param {ReportData["colors"]} colors from no error to `full`
 * @param {number} full root mean square over the colors, of [0, 1]
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA
 */
export function errorColors(photo, render, colors, full) {
  const out = new Uint8ClampedArray(photo.length);
  const scale = (colors.length - 1) / (255 * full * Math.sqrt(3));
  for (let i = 0; i < photo.length; i += 4) {
    const [r, g, b] = [photo[i] - render[i], photo[i + 1] - render[i + 1], photo[i + 2] - render[i + 2]];
    const color = colors[Math.min(colors.length - 1, Math.round(scale * Math.sqrt(r * r + g * g + b * b)))];
    out[i] = color[0];
    out[i + 1] = color[1];
    out[i + 2] = color[2];
    out[i + 3] = 255;
  }
  return out;
}

/** Make the page usable. */
export function startReport() {
  const data = /** @type {ReportData} */ (JSON.parse(document.getElementById("data")?.textContent ?? "{}"));
  document.documentElement.classList.add("scripts");
  for (const table of document.querySelectorAll("table.scores")) makeSortable(/** @type {HTMLTableElement} */ (table));
  startGallery(data);
  startCurves(data);
  startScene();
}

/** @param {HTMLTableElement} table */
function makeSortable(table) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const values = rows.map((row) => sortValue(row.cells[column]));
      body.append(...sortedRows(values, descending).map((index) => rows[index]));
    });
  });
}

/** @param {HTMLTableCellElement} cell */
function sortValue(cell) {
  const value = cell.dataset.value;
  if (value === undefined) return cell.textContent ?? "";
  return value === "" ? null : Number(value);
}

/** @param {ReportData} data */
function startGallery(data) {
  const pairs = [...document.querySelectorAll(".gallery figure")].map((figure) => comparedFigure(figure));
  for (const radio of document.querySelectorAll('input[name="right"]')) {
    radio.addEventListener("change", () => {
      const kind = /** @type {HTMLInputElement} */ (radio).value;
      const legend = /** @type {HTMLElement} */ (document.getElementById("error-legend"));
      legend.hidden = kind !== "error";
      if (kind === "error") drawErrorLegend(legend, data.colors);
      showBeside(pairs, kind, data);
    });
  }
}

/** @typedef {{wipe: HTMLElement, photo: HTMLImageElement, render: HTMLImageElement, error?: string}} ReportPair */

/**
 * A slider in place of the two pictures of a figure, and a button that makes it large.
 * @param {Element} figure
 * @returns {ReportPair}
 */
function comparedFigure(figure) {
  const [photo, render] = [...figure.querySelectorAll("img")];
  const wipe = createWipe({ left: { src: photo.src, label: "photo" }, right: { src: render.src, label: "render" } });
  const aspect = String(Number(photo.getAttribute("width")) / Number(photo.getAttribute("height")));
  wipe.style.aspectRatio = aspect;
  wipe.style.setProperty("--aspect", aspect);
  figure.querySelector(".pair")?.replaceWith(wipe);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Enlarge";
  button.addEventListener("click", () => {
    const large = figure.classList.toggle("large");
    button.textContent = large ? "Shrink" : "Enlarge";
    figure.scrollIntoView({ block: "nearest" });
  });
  figure.querySelector("figcaption")?.append(button);
  return { wipe, photo, render };
}

/**
 * Show renders or errors on the right; errors are measured when they are first asked for, picture by picture.
 * @param {ReportPair[]} pairs
 * @param {string} kind
 * @param {ReportData} data
 */
async function showBeside(pairs, kind, data) {
  for (const pair of pairs) {
    const chosen = /** @type {HTMLInputElement | null} */ (document.querySelector('input[name="right"]:checked'));
    if (chosen?.value !== kind) return; // somebody changed their mind
    if (kind === "error") pair.error ??= await errorOf(pair, data).catch(() => pair.render.src); // of a damaged picture
    const src = kind === "error" ? pair.error : pair.render.src;
    updateWipe(pair.wipe, { right: { src, label: kind } });
  }
}

/**
 * @param {ReportPair} pair
 * @param {ReportData} data
 * @returns {Promise<string>} a URL
 */
async function errorOf(pair, data) {
  await Promise.all([pair.photo.decode(), pair.render.decode()]);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pair.photo.naturalWidth, pair.photo.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return pair.render.src;
  const [photo, render] = [pair.photo, pair.render].map((picture) => {
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  });
  photo.data.set(errorColors(photo.data, render.data, data.colors, data.fullError));
  context.putImageData(photo, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done));
  return blob instanceof Blob ? URL.createObjectURL(blob) : pair.render.src;
}

/**
 * @param {HTMLElement} legend
 * @param {ReportData["colors"]} colors
 */
function drawErrorLegend(legend, colors) {
  const canvas = legend.querySelector("canvas");
  const context = canvas?.getContext("2d");
  if (!canvas || !context) return;
  for (let x = 0; x < canvas.width; x++) {
    const [r, g, b] = colors[Math.round(((colors.length - 1) * x) / (canvas.width - 1))];
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

/** @param {ReportData} data */
function startCurves(data) {
  for (const place of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-curve]"))) {
    const key = /** @type {"psnr" | "loss" | "gaussians"} */ (place.dataset.curve);
    const points = data.steps.map((step, index) => [step, data.log[key][index]]);
    const inner = document.createElement("div");
    const title = document.createElement("h3");
    if (key === "psnr") {
      const series = [{ name: "trained on", points }];
      const last = data.steps[data.steps.length - 1];
      const held = data.psnr === null ? [] : [{ name: "held out", points: [[last, data.psnr]], dots: true }];
      drawCurve(inner, [...series, ...held], { title: "PSNR", unit: "dB", digits: 2, height: 180 });
    } else if (key === "loss") {
      drawCurve(inner, [{ name: "loss", points }], { title: "Loss", digits: 4, log: true, height: 180 });
    } else {
      drawCurve(inner, [{ name: "Gaussians", points }], { title: "Gaussians", digits: 0, height: 180 });
    }
    title.textContent = { psnr: "PSNR", loss: "Loss", gaussians: "Gaussians" }[key];
    place.append(title, inner);
  }
}

/** The scene is unpacked only when somebody wants to look around in it. */
function startScene() {
  const stage = document.querySelector("#scene .stage");
  const button = stage?.querySelector("button");
  if (!stage || !button) return;
  const best = [...document.querySelectorAll(".gallery .wipe-right")].pop(); // where the viewer begins, too
  if (best instanceof HTMLImageElement) {
    const poster = new Image();
    poster.alt = "";
    poster.src = best.src;
    poster.className = best.closest(".gallery.tall") ? "poster tall" : "poster";
    stage.prepend(poster);
  }
  button.addEventListener("click", () => {
    const frame = document.createElement("iframe");
    frame.title = "The scene, to look around in";
    frame.allow = "fullscreen";
    frame.srcdoc = sceneText();
    stage.replaceChildren(frame);
    stage.scrollIntoView({ block: "nearest" });
    frame.focus();
    const whole = document.querySelector("#scene .whole");
    if (!(whole instanceof HTMLElement) || !document.fullscreenEnabled) return;
    whole.hidden = false;
    whole.addEventListener("click", () => void stage.requestFullscreen().catch(() => {})); // Escape leads back
  });
}

/** The viewer's page, with the photos that this page has in the places that are kept for them. */
function sceneText() {
  /** @type {string} */
  const text = JSON.parse(document.getElementById("viewer")?.textContent ?? '""');
  return text.replace(/"report-photo-(\d+)"/g, (_, number) => {
    const photo = document.querySelector(`#photo-${number} .wipe-left`);
    return photo instanceof HTMLImageElement ? JSON.stringify(photo.src) : "null";
  });
}

if (typeof document !== "undefined") startReport();
