/** The panel of the page: what is drawn and how, the cameras, and what can be done; all of it by keyboard and by name. */

import { element, iconButton, segments, slider, toggle } from "./elements.js";
import { LIMITS, LOOKS } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */
/**
 * What the buttons do.
 * @typedef {{reset: () => void, screenshot: () => void, turntable: () => void, link: () => void, help: () => void,
 *   open: () => void, fly: () => void, walk: (step: number) => void, compare: () => void}} Actions
 */

const SMALL = "(max-width: 40rem)"; // as in style.css: the panel is a sheet at the lower edge

/** The panel; `element` is what goes into the page. */
export class Panel {
  /**
   * @param {Settings} settings
   * @param {(name: keyof Settings, value: any) => void} change a person set something
   * @param {Actions} actions
   */
  constructor(settings, change, actions) {
    this.settings = settings;
    /** @type {Record<string, {row: HTMLElement, set: (value: any) => void, input?: HTMLInputElement}>} */
    this.rows = panelRows(settings, change);
    this.title = element("h1", {}, "sfumato");
    this.note = element("span", { class: "panel-note" }); // seen while the panel is folded
    const fold = () => this.fold();
    this.folder = iconButton("panel", { label: "Controls", keys: "h", onclick: fold });
    this.folder.setAttribute("aria-controls", "panel-body");
    const help = iconButton("help", { label: "Help: keys and gestures", keys: "?", onclick: actions.help });
    const head = element("div", { class: "panel-head" }, this.title, this.note, help, this.folder);
    head.addEventListener("click", (event) => {
      if (matchMedia(SMALL).matches && !(event.target instanceof Element && event.target.closest("button"))) fold();
    });
    const { look, cameras, ...rest } = this.rows;
    const adjust = ["opacity", "size", "degree", "deviations", "points", "exposure", "background"];
    const shown = ["grid", "box", "antialiased", "statistics"];
    this.walk = cameraSection(cameras.row, actions);
    const looks = element("div", { class: "section" }, look.row, ...adjust.map((name) => rest[name].row));
    const buttons = element("div", { class: "section actions", role: "group", "aria-label": "Actions" }, ...actionButtons(actions));
    this.own = [looks, panelSection("Show", ...shown.map((name) => rest[name].row)), this.walk.section, buttons];
    this.body = element("div", { class: "panel-body", id: "panel-body" }, ...this.own);
    this.element = element("aside", { class: "panel", "aria-label": "Controls of the view" }, head, this.body);
    this.fold(matchMedia(SMALL).matches || self !== top); // inside another page room is scarce
    this.update(settings);
  }

  /** Whether only its head is seen. */
  get folded() {
    return this.element.classList.contains("closed");
  }

  /**
   * Close the panel, open it, or do the other thing.
   * @param {boolean} [closed]
   */
  fold(closed = !this.folded) {
    this.element.classList.toggle("closed", closed);
    this.folder.setAttribute("aria-expanded", String(!closed));
    if (closed && this.body.contains(document.activeElement)) this.folder.focus({ preventScroll: true });
    this.folder.title = closed ? "Show the controls (H)" : "Hide the controls (H)";
  }

  /**
   * Show these settings.
   * @param {Settings} settings
   */
  update(settings) {
    this.settings = settings;
    for (const [name, row] of Object.entries(this.rows)) row.set(settings[/** @type {keyof Settings} */ (name)]);
    this.rows.deviations.row.hidden = settings.look !== "ellipsoids";
    this.rows.points.row.hidden = settings.look !== "centers";
    this.rows.size.row.hidden = settings.look !== "soft";
    this.rows.antialiased.row.hidden = settings.look !== "soft";
  }

  /**
   * The highest degree of spherical harmonics that the scene has; without any there is nothing to choose.
   * @param {number} degree
   */
  setDegree(degree) {
    const { row, input, set } = this.rows.degree;
    row.hidden = degree === 0;
    if (input) input.max = String(degree);
    set(this.settings.degree);
  }

  /**
   * Nothing is there to be seen: what needs a scene waits.
   * @param {boolean} idle
   */
  setIdle(idle) {
    for (const section of this.own) section.classList.toggle("waiting", idle);
    const empty = this.own.length === this.body.children.length && idle;
    this.body.hidden = this.folder.hidden = empty;
  }

  /** @param {string} title */
  setTitle(title) {
    this.title.textContent = title;
    this.title.title = title;
  }

  /**
   * What goes on, in a word or two.
   * @param {string} text
   */
  setNote(text) {
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  /**
   * Which camera is chosen, of how many; null: none.
   * @param {{name: string, split: string, photo?: string | null}[]} cameras
   * @param {number | null} index
   */
  setCamera(cameras, index) {
    this.walk.section.hidden = cameras.length === 0;
    const camera = index === null ? undefined : cameras[index];
    const kind = camera?.split === "test" ? "held out" : "trained on";
    this.walk.name.textContent = camera ? camera.name : `${cameras.length} ${cameras.length === 1 ? "camera" : "cameras"}`;
    this.walk.note.textContent = camera ? `${Number(index) + 1} of ${cameras.length}, ${kind}` : "choose one to fly there";
    this.walk.compare.hidden = camera ? !camera.photo : !cameras.some(({ photo }) => photo);
  }

  /**
   * A turntable is being recorded.
   * @param {boolean} recording
   */
  setRecording(recording) {
    const button = /** @type {HTMLElement} */ (this.body.querySelector("[data-action=turntable]"));
    button.setAttribute("aria-pressed", String(recording));
    /** @type {HTMLElement} */ (button.lastElementChild).textContent = recording ? "Stop" : "Turntable";
  }

  /**
   * The view flies.
   * @param {boolean} flying
   */
  setFlying(flying) {
    this.body.querySelector("[data-action=fly]")?.setAttribute("aria-pressed", String(flying));
  }

  /**
   * A section of one's own, at the top of the panel.
   * @param {string} title
   * @param {HTMLElement} content
   */
  addSection(title, content) {
    this.body.prepend(panelSection(title, content));
    this.body.hidden = this.folder.hidden = false;
  }
}

/**
 * @param {string} title
 * @param {...HTMLElement} rows
 */
function panelSection(title, ...rows) {
  return element("section", { class: "section", "aria-label": title }, element("h2", {}, title), ...rows);
}

/**
 * @param {Settings} settings
 * @param {(name: keyof Settings, value: any) => void} change
 */
function panelRows(settings, change) {
  /** @param {keyof Settings} name @param {string} label @param {(value: number) => string} words */
  const slide = (name, label, words) => {
    const [min, max, step] = LIMITS[name];
    return slider({ label, min, max, step, value: Number(settings[name]), words, onchange: (value) => change(name, value) });
  };
  /** @param {keyof Settings} name @param {string} label */
  const turn = (name, label) => toggle({ label, value: Boolean(settings[name]), onchange: (value) => change(name, value) });
  const percent = (/** @type {number} */ value) => `${Math.round(100 * value)} %`;
  const stops = (/** @type {number} */ value) => (value === 0 ? "0" : `${value > 0 ? "+" : "−"}${Math.abs(value)}`);
  return {
    look: segments({ label: "Look", name: "look", choices: LOOKS, value: settings.look, onchange: (value) => change("look", value) }),
    opacity: slide("opacity", "Opacity", percent),
    size: slide("size", "Splat size", percent),
    degree: slide("degree", "SH degree", String),
    deviations: slide("deviations", "Deviations", (value) => value.toFixed(1)),
    points: slide("points", "Point size", (value) => `${value} px`),
    exposure: slide("exposure", "Exposure", stops),
    background: colorRow("Background", (value) => change("background", value)),
    cameras: turn("cameras", "Show as frusta"),
    grid: turn("grid", "Grid and axes"),
    box: turn("box", "Bounding box"),
    antialiased: turn("antialiased", "Antialiased"),
    statistics: turn("statistics", "Statistics"),
  };
}

/**
 * @param {string} label
 * @param {(value: string) => void} onchange
 */
function colorRow(label, onchange) {
  const input = element("input", { type: "color", "aria-label": label, oninput: () => onchange(input.value) });
  const row = element("label", { class: "row" }, element("span", { class: "name" }, label), input);
  return { row, input, set: (/** @type {string} */ value) => void (input.value = value) };
}

/**
 * @param {HTMLElement} frusta
 * @param {Actions} actions
 */
function cameraSection(frusta, { walk, compare }) {
  const name = element("span", {});
  const note = element("small", {});
  const text = element("div", { class: "name", "aria-live": "polite" }, name, note);
  const previous = iconButton("previous", { label: "Previous camera", keys: "[", onclick: () => walk(-1) });
  const next = iconButton("next", { label: "Next camera", keys: "]", onclick: () => walk(1) });
  const versus = iconButton("compare", { label: "Compare with photo", text: "Compare with photo", keys: "c", className: "quiet wide", onclick: compare });
  const section = panelSection("Cameras", element("div", { class: "walk" }, previous, text, next), versus, frusta);
  return { section, name, note, compare: versus };
}

/** @param {Actions} actions */
function actionButtons(actions) {
  /** @type {[keyof Actions, string, string, string, string][]} name, icon, label, text, key */
  const buttons = [
    ["reset", "reset", "Reset the view", "Reset", "r"],
    ["fly", "fly", "Fly through the scene", "Fly", "f"],
    ["screenshot", "camera", "Save a screenshot", "Screenshot", "p"],
    ["turntable", "record", "Record a turntable video", "Turntable", "t"],
    ["link", "link", "Copy a link to this view", "Copy link", "l"],
    ["open", "open", "Open a file", "Open", "o"],
  ];
  const addressed = location.protocol !== "about:"; // a page inside a report has no address to copy
  return buttons.filter(([action]) => addressed || action !== "link").map(([action, drawing, label, text, keys]) => {
    const button = iconButton(drawing, { label, text, keys, onclick: () => actions[action](0) });
    button.dataset.action = action;
    return button;
  });
}

