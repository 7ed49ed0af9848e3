/** Held-out photos beside their renders: one in the panel, all of them in a window of their own. */

import { element, iconButton } from "./elements.js";
import { createWipe, updateWipe } from "./wipe.js";

/** @typedef {{name: string, width: number, height: number, step: number, psnr: number | null}} HeldPicture */

/** What is shown of the held-out photos; `element` goes into the panel, `dialog` into the page. */
export class HeldOut {
  constructor() {
    /** @type {HeldPicture[]} */
    this.pictures = [];
    this.chosen = 0;
    /** @type {HTMLElement | null} */
    this.wipe = null;
    /** @type {string} what the wipe shows */
    this.shown = "";
    /** @type {{wipe: HTMLElement, note: HTMLElement}[]} */
    this.all = [];
    this.name = element("span", {});
    this.note = element("small", {});
    const walk = (/** @type {number} */ step) => this.choose(this.chosen + step);
    const previous = iconButton("previous", { label: "Previous held-out photo", onclick: () => walk(-1) });
    const next = iconButton("next", { label: "Next held-out photo", onclick: () => walk(1) });
    this.place = element("div", {});
    this.grid = element("div", { class: "held-grid" });
    this.dialog = heldDialog(this.grid);
    const open = () => {
      this.dialog.showModal();
      this.updateAll();
    };
    const words = element("div", { class: "name" }, this.name, this.note);
    this.walk = element("div", { class: "held-head" }, previous, words, next);
    const more = element("button", { type: "button", class: "button quiet wide", onclick: open }, "All of them, larger");
    this.element = element("div", { class: "held-out", hidden: true }, element("h3", {}, "Held-out photos"), this.place, this.walk, more);
  }

  /**
   * @param {HeldPicture[]} pictures
   * @param {boolean} ready the photos can be fetched
   */
  update(pictures, ready) {
    this.pictures = pictures;
    this.element.hidden = !ready || !pictures.some(({ step }) => step > 0);
    if (this.element.hidden) return;
    this.choose(this.chosen);
    if (this.dialog.open) this.updateAll();
  }

  /** @param {number} index */
  choose(index) {
    const count = this.pictures.length;
    this.chosen = ((index % count) + count) % count;
    const picture = this.pictures[this.chosen];
    this.name.textContent = picture.name;
    this.name.title = picture.name;
    this.note.textContent = `${this.chosen + 1} of ${count}, ${heldWords(picture)}`;
    const key = `${this.chosen} ${picture.step}`;
    if (key === this.shown) return;
    const another = !this.wipe || !this.shown.startsWith(`${this.chosen} `);
    this.shown = key;
    if (another) {
      this.wipe = heldWipe(this.chosen, picture);
      this.place.replaceChildren(this.wipe);
    } else if (this.wipe) updateWipe(this.wipe, { right: heldSides(this.chosen, picture).right });
  }

  updateAll() {
    if (this.all.length !== this.pictures.length) {
      this.all = this.pictures.map((picture, index) => ({ wipe: heldWipe(index, picture), note: element("span", {}) }));
      const figures = this.all.map(({ wipe, note }, index) => {
        return element("figure", {}, wipe, element("figcaption", {}, element("span", {}, this.pictures[index].name), note));
      });
      this.grid.replaceChildren(...figures);
    }
    this.pictures.forEach((picture, index) => {
      const { wipe, note } = this.all[index];
      if (wipe.dataset.step !== String(picture.step)) updateWipe(wipe, { right: heldSides(index, picture).right });
      wipe.dataset.step = String(picture.step);
      note.textContent = heldWords(picture);
    });
  }
}

/** @param {HeldPicture} picture */
function heldWords({ step, psnr }) {
  if (step === 0) return "not rendered yet";
  return psnr === null ? `step ${step.toLocaleString("en")}` : `${psnr.toFixed(2)} dB at step ${step.toLocaleString("en")}`;
}

/**
 * @param {number} index
 * @param {HeldPicture} picture
 */
function heldSides(index, picture) {
  const src = picture.step ? `held/${index}/render.jpg?step=${picture.step}` : undefined;
  return { left: { src: `held/${index}/photo.jpg`, label: "photo" }, right: { src, label: "render" } };
}

/**
 * @param {number} index
 * @param {HeldPicture} picture
 */
function heldWipe(index, picture) {
  const wipe = createWipe(heldSides(index, picture));
  wipe.style.aspectRatio = `${picture.width} / ${picture.height}`;
  wipe.style.setProperty("--ratio", String(picture.width / picture.height));
  wipe.dataset.step = String(picture.step);
  return wipe;
}

/** @param {HTMLElement} grid */
function heldDialog(grid) {
  const own = (/** @type {Event} */ event) => event.stopPropagation(); // the page has its own use for keys
  const dialog = element("dialog", { class: "held-all", "aria-labelledby": "held-title", onkeydown: own });
  const close = iconButton("close", { label: "Close", onclick: () => dialog.close() });
  const title = element("h2", { id: "held-title" }, "Held-out photos and their renders");
  dialog.append(element("div", { class: "help-head" }, title, close), grid);
  return dialog;
}
