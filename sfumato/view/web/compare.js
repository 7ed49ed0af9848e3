/** A photo laid exactly over the scene as its camera sees it, with a line to wipe between the two. */

import { element, iconButton } from "./elements.js";
import { createWipe } from "./wipe.js";

/** @typedef {import("./stage.js").Stage} Stage */
/** @typedef {import("./camera.js").Camera & {name: string, photo?: string | null}} PageCamera */

/** While it is open the picture has the shape of the photo. */
export class Comparison {
  /**
   * @param {Stage} stage
   * @param {{walk: (step: number) => void, close: () => void}} actions
   */
  constructor(stage, { walk, close }) {
    this.stage = stage;
    this.name = element("span", { class: "name" });
    this.bar = element(
      "div",
      { class: "bar", role: "group", "aria-label": "Comparison with a photo", hidden: true },
      iconButton("previous", { label: "Previous photo", keys: "[", onclick: () => walk(-1) }),
      this.name,
      iconButton("next", { label: "Next photo", keys: "]", onclick: () => walk(1) }),
      iconButton("close", { label: "End the comparison", keys: "Escape", onclick: close }),
    );
    /** @type {HTMLElement | null} */
    this.wipe = null;
    /** @type {Element | null} */
    this.before = null;
  }

  get open() {
    return this.wipe !== null;
  }

  /** @param {PageCamera} camera with a photo */
  show(camera) {
    const { stage } = this;
    const at = Number(this.wipe?.dataset.at ?? 50);
    const held = !this.wipe || this.wipe.contains(document.activeElement); // or a button leads from photo to photo
    if (!this.wipe) this.before = document.activeElement;
    this.wipe?.remove();
    this.wipe = createWipe({ left: { src: camera.photo ?? undefined, label: "photo" }, right: { label: "render" }, at });
    stage.canvas.parentElement?.append(this.wipe);
    stage.room.classList.add("dark");
    this.name.textContent = camera.name;
    this.bar.hidden = false;
    stage.shape = camera.width / camera.height;
    stage.fit();
    if (held) /** @type {HTMLElement | null} */ (this.wipe.querySelector("[role=slider]"))?.focus({ preventScroll: true });
  }

  hide() {
    if (!this.wipe) return;
    this.wipe.remove();
    this.wipe = null;
    this.bar.hidden = true;
    this.stage.shape = null;
    this.stage.room.classList.remove("dark");
    this.stage.fit();
    if (this.before instanceof HTMLElement) this.before.focus({ preventScroll: true });
  }
}
