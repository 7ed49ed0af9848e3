/** Numbers beside the picture: how many Gaussians, how quick. */

import { element } from "./elements.js";

const PAUSE = 250; // ms between two looks at the numbers: they are to be read

/** `element` is what goes into the page. */
export class Numbers {
  constructor() {
    this.element = element("dl", { class: "statistics", hidden: true });
    this.shownAt = -Infinity;
  }

  /**
   * @param {{gaussians: number, drawn: number, sortMs: number, frameMs: number, bytes: number}} statistics of the renderer
   * @param {boolean} [now] the view is at rest: no newer ones come
   */
  show({ gaussians, drawn, sortMs, frameMs, bytes }, now = false) {
    if (this.element.hidden || (!now && performance.now() - this.shownAt < PAUSE)) return;
    this.shownAt = performance.now();
    const lines = {
      Gaussians: gaussians.toLocaleString("en"),
      "in view": drawn.toLocaleString("en"),
      "frames a second": frameMs > 0 ? (1000 / frameMs).toFixed(frameMs > 100 ? 1 : 0) : "–",
      sorting: `${sortMs.toFixed(1)} ms`,
      memory: `${(bytes / 2 ** 20).toFixed(1)} MB`,
    };
    this.element.replaceChildren(...Object.entries(lines).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  }
}
