/** What a person takes along from the page: a picture, a film, a link to the view. */

import { saveFile } from "./elements.js";
import { readLink, writeLink } from "./link.js";
import { Turntable, pictureOf } from "./record.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {import("./settings.js").Settings} Settings */

/** Downloads, clipboard and the address of the page. */
export class Share {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    /** @type {Turntable | null} */
    this.turntable = null;
    this.linked = false; // the address says what to show first
    this.written = ""; // what we wrote into it
  }

  /** Save what is seen as PNG. */
  async screenshot() {
    const { viewer } = this;
    try {
      await viewer.settle();
      const picture = await pictureOf(viewer.renderer.pixels());
      saveFile(picture, `${this.fileName()}.png`);
      viewer.setStatus("The picture is among your downloads.");
    } catch (error) {
      viewer.setStatus(`There is no picture: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Record one turn, or stop recording. */
  film() {
    const { viewer } = this;
    if (this.turntable) return this.turntable.stop();
    viewer.gallery.endComparison();
    try {
      this.turntable = new Turntable(viewer.stage, viewer.up, (film) => this.filmed(film));
    } catch (error) {
      return viewer.setStatus(error instanceof Error ? error.message : String(error));
    }
    viewer.panel.setRecording(true);
    viewer.setStatus("Recording one turn. Escape stops.", true);
  }

  /** @param {Blob | null} film */
  filmed(film) {
    this.turntable = null;
    this.viewer.panel.setRecording(false);
    if (film) saveFile(film, `${this.fileName()}.webm`);
    this.viewer.setStatus(film ? "The video is among your downloads." : "Nothing was recorded.");
  }

  /** Put the address of this view into the clipboard. */
  async copyLink() {
    this.remember(true);
    try {
      await navigator.clipboard.writeText(location.href);
      const more = this.viewer.local ? " It holds the view, not the file." : "";
      this.viewer.setStatus(`The link to this view is copied.${more}`);
    } catch {
      this.viewer.setStatus("This browser keeps the clipboard to itself: the link is in the address bar.");
    }
  }

  /**
   * Keep the view in the address.
   * @param {boolean} [always] also where nobody has moved or set anything
   */
  remember(always = false) {
    const { filled, stage, settings, usual } = this.viewer;
    const set = Object.entries(settings).some(([name, value]) => value !== usual[/** @type {keyof Settings} */ (name)]);
    if (!filled || this.turntable || !(always || set || stage.touched || this.linked)) return;
    const hash = `#${writeLink(stage.pose, settings, usual)}`;
    if (hash === this.written) return;
    this.written = hash;
    try {
      history.replaceState(null, "", hash);
    } catch {
      // a page inside a page may have no address of its own
    }
  }

  /** Show what the address says. */
  follow() {
    if (location.hash === this.written) return;
    const { viewer } = this;
    const { pose, settings } = readLink(location.hash);
    viewer.settings = { ...viewer.usual, ...settings };
    if (pose) {
      this.linked = true;
      viewer.gallery.endComparison(); // its photo is of another view
      viewer.stage.set(pose);
    }
    viewer.apply();
  }

  /** The title, as a name for a file that every system takes. */
  fileName() {
    const title = (this.viewer.panel.title.textContent ?? "").replace(/\.\w+$/, "");
    return title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "") || "sfumato";
  }
}
