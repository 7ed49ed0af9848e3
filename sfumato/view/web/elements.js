/** HTML elements from JavaScript: short words for making buttons, sliders, switches and icons, each with a name. */

/** @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute */

/**
 * An element with attributes, listeners (`onclick: f`) and children. `true` writes an empty attribute, `false` none.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** Drawings of 24 x 24, strokes only: they take the color of the text beside them. @type {Record<string, string>} */
const ICONS = {
  reset: "M4 4v6h6 M4.6 10a8 8 0 1 1-.4 5",
  camera: "M4 8h3l2-3h6l2 3h3v11H4z M12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  record: "M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16z M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.6-5.6L12 7 M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.6 5.6L12 17",
  help: "M8.5 9a3.5 3.5 0 1 1 5 3.2c-1 .5-1.5 1.1-1.5 2.3 M12 18v.5",
  open: "M3 6h6l2 2h10v11H3z M12 11v6 M9 14h6",
  close: "M6 6l12 12 M18 6L6 18",
  panel: "M4 7h10 M18 7h2 M16 5v4 M4 17h2 M10 17h10 M8 15v4",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  compare: "M3 5h18v14H3z M12 3v18 M8 9.5L5.5 12 8 14.5 M16 9.5l2.5 2.5-2.5 2.5",
  fly: "M3 11l18-7-7 18-3-8z",
  more: "M7 10l5 5 5-5",
};

/**
 * A decorative drawing; what it means is said by the text or the label of its button.
 * @param {string} name of ICONS
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" })) svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with an icon. Without `text` its label is said, and shown as a tooltip.
 * @param {string} name of the icon
 * @param {{label: string, text?: string, keys?: string, onclick: (event: MouseEvent) => void, className?: string}} options
 *   keys: the key that does the same
 */
export function iconButton(name, { label, text, keys, onclick, className = "" }) {
  const title = keys ? `${label} (${keys})` : label;
  const attributes = { type: "button", class: `button ${className}`, title, "aria-label": label, "aria-keyshortcuts": keys, onclick };
  return element("button", attributes, icon(name), ...(text ? [element("span", {}, text)] : []));
}

/**
 * A slider with its name and its value in words.
 * @param {{label: string, min: number, max: number, step: number, value: number, words?: (value: number) => string,
 *   onchange: (value: number) => void}} options
 * @returns {{row: HTMLElement, input: HTMLInputElement, set: (value: number) => void}}
 */
export function slider({ label, min, max, step, value, words = String, onchange }) {
  const input = element("input", { type: "range", min, max, step, "aria-label": label });
  const shown = element("output", { "aria-hidden": "true" });
  const say = () => {
    shown.textContent = words(input.valueAsNumber);
    input.setAttribute("aria-valuetext", words(input.valueAsNumber));
    const share = (input.valueAsNumber - min) / (Number(input.max) - min || 1);
    input.style.setProperty("--share", `${100 * share}%`);
  };
  const set = (/** @type {number} */ next) => {
    input.value = String(next);
    say();
  };
  input.addEventListener("input", () => {
    say();
    onchange(input.valueAsNumber);
  });
  set(value);
  const row = element("label", { class: "row slider" }, element("span", { class: "name" }, label), input, shown);
  return { row, input, set };
}

/**
 * A switch: on or off.
 * @param {{label: string, value: boolean, onchange: (value: boolean) => void, keys?: string}} options
 * @returns {{row: HTMLElement, input: HTMLInputElement, set: (value: boolean) => void}}
 */
export function toggle({ label, value, onchange, keys }) {
  const input = element("input", { type: "checkbox", role: "switch", "aria-label": label, "aria-keyshortcuts": keys });
  input.checked = value;
  input.addEventListener("change", () => onchange(input.checked));
  const row = element("label", { class: "row toggle" }, element("span", { class: "name" }, label), input);
  return { row, input, set: (next) => void (input.checked = next) };
}

/**
 * One of several, as a row of segments (radio buttons: arrows choose).
 * @param {{label: string, name: string, choices: Record<string, string>, value: string, onchange: (value: string) => void}} options
 *   choices: value -> text
 * @returns {{row: HTMLElement, set: (value: string) => void}}
 */
export function segments({ label, name, choices, value, onchange }) {
  const row = element("fieldset", { class: "segments" }, element("legend", { class: "unseen" }, label));
  /** @type {Record<string, HTMLInputElement>} */
  const inputs = {};
  for (const [key, text] of Object.entries(choices)) {
    inputs[key] = element("input", { type: "radio", name, value: key, "aria-label": text, onchange: () => onchange(key) });
    row.append(element("label", {}, inputs[key], element("span", {}, text)));
  }
  const set = (/** @type {string} */ next) => void (inputs[next].checked = true);
  set(value);
  return { row, set };
}

/**
 * Hand a file to the person: the browser's own download.
 * @param {Blob} blob
 * @param {string} name
 */
export function saveFile(blob, name) {
  const anchor = element("a", { href: URL.createObjectURL(blob), download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000); // a slow disk reads it for a while
}
