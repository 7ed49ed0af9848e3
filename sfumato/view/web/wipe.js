/** Two pictures of the same view laid over each other, with a line to drag between them: photo left, render right. */

/**
 * One side. Without `src` nothing is drawn there, and what lies behind the wipe shows.
 * @typedef {{src?: string, label: string}} WipeSide
 */

const WIPE_STEP = 2; // percent, of an arrow key
const WIPE_LEAP = 10; // percent, of Page Up, Page Down, and arrows with Shift

/**
 * Where a key moves the line, percent of the width from the left; null for keys that do not.
 * @param {string} key as in KeyboardEvent.key
 * @param {number} at percent
 * @param {boolean} [leap] a larger step
 * @returns {number | null}
 */
export function wipeKey(key, at, leap = false) {
  const step = leap ? WIPE_LEAP : WIPE_STEP;
  /** @type {Record<string, number>} */
  const moves = {
    ArrowLeft: -step,
    ArrowDown: -step,
    ArrowRight: step,
    ArrowUp: step,
    PageDown: -WIPE_LEAP,
    PageUp: WIPE_LEAP,
    Home: -100,
    End: 100,
  };
  return Object.hasOwn(moves, key) ? clampWipe(at + moves[key]) : null;
}

/**
 * Percent of the width at which a pointer is; 50 where there is no width.
 * @param {number} x pixels, as `left` and `width`
 * @param {number} left
 * @param {number} width
 */
export function wipeAt(x, left, width) {
  return width > 0 ? clampWipe((100 * (x - left)) / width) : 50;
}

/**
 * What a screen reader says of a line at so many percent.
 * @param {number} at percent
 * @param {string} left label
 * @param {string} right label
 */
export function wipeText(at, left, right) {
  const share = Math.round(at);
  if (share === 0) return `${right} only`;
  if (share === 100) return `${left} only`;
  return `${share} % ${left}, ${100 - share} % ${right}`;
}

/**
 * A slider between two pictures: pointer, touch, arrow keys, Home and End. Looks are in wipe.css:
 * `.wipe` the whole (position and size are its owner's), `.wipe-left` `.wipe-right` the pictures, `.wipe-tag` their
 * names, `.wipe-line` the line (role=slider). Events: `wipe` on the element when the line moved, detail = percent.
 * @param {{left: WipeSide, right: WipeSide, at?: number}} sides at: percent at which the line begins
 * @returns {HTMLElement}
 */
export function createWipe({ left, right, at = 50 }) {
  const root = document.createElement("div");
  root.className = "wipe";
  root.append(wipePicture("left"), wipePicture("right"), wipeTag("left"), wipeTag("right"), wipeLine());
  updateWipe(root, { left, right });
  setWipe(root, at);
  listenWipe(root);
  return root;
}

/**
 * Show other pictures in a wipe; a picture stays until the next one is decoded, so nothing flickers.
 * @param {HTMLElement} root of `createWipe`
 * @param {{left?: WipeSide, right?: WipeSide}} sides those that change
 */
export function updateWipe(root, sides) {
  for (const name of /** @type {const} */ (["left", "right"])) {
    const side = sides[name];
    if (!side) continue;
    const picture = /** @type {HTMLImageElement} */ (root.querySelector(`.wipe-${name}`));
    const tag = /** @type {HTMLElement} */ (root.querySelector(`.wipe-tag-${name}`));
    tag.textContent = side.label;
    picture.alt = side.label;
    picture.hidden = side.src === undefined;
    if (side.src === undefined) picture.removeAttribute("src");
    else if (!picture.src) picture.src = side.src;
    else replaceWipe(picture, side.src);
  }
  sayWipe(root);
}

/**
 * Move the line.
 * @param {HTMLElement} root of `createWipe`
 * @param {number} at percent of the width from the left
 */
export function setWipe(root, at) {
  const share = clampWipe(at);
  root.dataset.at = String(share);
  root.style.setProperty("--wipe", `${share}%`);
  sayWipe(root);
  root.dispatchEvent(new CustomEvent("wipe", { detail: share }));
}

/** @param {number} at */
function clampWipe(at) {
  return Math.min(100, Math.max(0, at));
}

/** @param {"left" | "right"} side */
function wipePicture(side) {
  const picture = document.createElement("img");
  picture.className = `wipe-picture wipe-${side}`;
  picture.draggable = false;
  picture.decoding = "async";
  return picture;
}

/** @param {"left" | "right"} side */
function wipeTag(side) {
  const tag = document.createElement("span");
  tag.className = `wipe-tag wipe-tag-${side}`;
  tag.setAttribute("aria-hidden", "true"); // the line says it
  return tag;
}

function wipeLine() {
  const line = document.createElement("div");
  line.className = "wipe-line";
  line.tabIndex = 0;
  line.setAttribute("role", "slider");
  line.setAttribute("aria-orientation", "horizontal");
  line.setAttribute("aria-valuemin", "0");
  line.setAttribute("aria-valuemax", "100");
  return line;
}

/**
 * Load the next picture out of sight, then show it; the newest wins.
 * @param {HTMLImageElement} picture
 * @param {string} src
 */
function replaceWipe(picture, src) {
  picture.dataset.next = src;
  const next = new Image();
  next.src = src;
  const show = () => {
    if (picture.dataset.next === src) picture.src = src;
  };
  next.decode().then(show, show); // a picture that cannot be decoded shows its name
}

/** @param {HTMLElement} root */
function sayWipe(root) {
  const line = /** @type {HTMLElement} */ (root.querySelector(".wipe-line"));
  const [left, right] = ["left", "right"].map((side) => root.querySelector(`.wipe-tag-${side}`)?.textContent ?? "");
  const at = Number(root.dataset.at ?? 50);
  line.setAttribute("aria-label", `Compare ${left} and ${right}`);
  line.setAttribute("aria-valuenow", String(Math.round(at)));
  line.setAttribute("aria-valuetext", wipeText(at, left, right));
}

/** @param {HTMLElement} root */
function listenWipe(root) {
  const line = /** @type {HTMLElement} */ (root.querySelector(".wipe-line"));
  /** @param {PointerEvent} event */
  const follow = (event) => {
    const box = root.getBoundingClientRect();
    setWipe(root, wipeAt(event.clientX, box.left, box.width));
  };
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    root.setPointerCapture(event.pointerId);
    line.focus({ preventScroll: true });
    if (event.pointerType !== "touch") follow(event); // a finger may be about to scroll the page
    event.preventDefault(); // no selection of text, and the focus stays
  });
  root.addEventListener("pointermove", (event) => {
    if (root.hasPointerCapture(event.pointerId)) follow(event);
  });
  root.addEventListener("pointerup", (event) => {
    if (root.hasPointerCapture(event.pointerId)) follow(event);
  });
  line.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const at = wipeKey(event.key, Number(root.dataset.at), event.shiftKey);
    if (at === null) return;
    setWipe(root, at);
    event.preventDefault();
    event.stopPropagation(); // the page has its own use for arrows
  });
}
