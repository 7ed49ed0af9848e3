/** What the page says: where nothing is to be seen yet, how far loading is, what went wrong and what to do then. */

import { element, icon, iconButton } from "./elements.js";

const STATUS_MS = 4000; // a sentence stays so long, and the longer the longer it is

/** Cards, the line at the top, the sentence at the bottom; `elements` are what goes into the page. */
export class Messages {
  /** @param {() => void} open a person wants to choose a file */
  constructor(open) {
    this.status = element("div", { class: "status", role: "status", "aria-live": "polite" });
    this.progress = element("div", { class: "progress", role: "progressbar", "aria-label": "Loading", "aria-valuemin": 0, "aria-valuemax": 100, hidden: true });
    this.empty = emptyCard(open);
    this.alertText = element("p", {});
    this.another = iconButton("open", { label: "Open another file", text: "Open another file", className: "strong", onclick: open });
    const dismiss = element("button", { type: "button", class: "button quiet", onclick: () => this.dismiss() }, "Dismiss");
    this.alertTitle = element("h2", {}, "This did not work");
    this.buttons = element("div", { class: "buttons" }, this.another, dismiss);
    const words = element("div", { role: "alert" }, this.alertTitle, this.alertText);
    this.alert = element("section", { class: "card alert", "aria-label": "Problem", hidden: true }, words, this.buttons);
    this.dismissButton = dismiss;
    this.emptyWanted = false;
    /** What had the focus before a problem. @type {Element | null} */
    this.before = null;
    this.timer = 0;
    this.elements = [this.empty, this.progress, this.status, this.alert];
  }

  /**
   * Say a sentence at the lower edge, and to screen readers.
   * @param {string} sentence empty: nothing more to say
   * @param {{stay?: boolean}} [options] stay: until something else is said
   */
  say(sentence, { stay = false } = {}) {
    clearTimeout(this.timer);
    this.status.textContent = sentence;
    if (sentence && !stay) this.timer = setTimeout(() => this.say(""), STATUS_MS + 70 * sentence.length);
  }

  /**
   * How much is loaded; null: nothing is being loaded.
   * @param {number | null} share 0 to 1
   */
  load(share) {
    this.progress.hidden = share === null;
    if (share === null) return;
    this.progress.style.setProperty("--share", String(share));
    this.progress.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  }

  /**
   * What went wrong, in a sentence or two.
   * @param {string} sentence
   * @param {{title?: string, open?: boolean, stay?: boolean}} [options] open: another file may help; stay: it cannot be dismissed
   */
  fail(sentence, { title = "This did not work", open = true, stay = false } = {}) {
    this.load(null);
    this.say("");
    this.empty.hidden = true;
    this.alertTitle.textContent = title;
    this.alertText.textContent = sentence;
    this.another.hidden = !open;
    this.dismissButton.hidden = stay;
    this.buttons.hidden = stay && !open;
    this.alert.hidden = false;
    if (this.before === null) this.before = document.activeElement;
    (open ? this.another : this.dismissButton).focus({ preventScroll: true });
  }

  /** The problem has been read, or is none any more. */
  dismiss() {
    if (this.alert.contains(document.activeElement) && this.before instanceof HTMLElement) this.before.focus({ preventScroll: true });
    this.before = null;
    this.alert.hidden = true;
    this.empty.hidden = !this.emptyWanted;
  }

  /**
   * There is nothing to see: invite a file.
   * @param {boolean} wanted
   */
  invite(wanted) {
    this.emptyWanted = wanted;
    this.empty.hidden = !wanted || !this.alert.hidden;
  }
}

/** @param {() => void} open */
function emptyCard(open) {
  const blobs = element("div", { class: "blobs", "aria-hidden": "true" }, ...[0, 1, 2, 3].map(() => element("i", {})));
  const button = element("button", { type: "button", class: "button strong", onclick: open }, icon("open"), element("span", {}, "Choose a file"));
  return element(
    "section",
    { class: "card empty", "aria-label": "Nothing to see yet", hidden: true },
    blobs,
    element("h2", {}, "Drop a splat here"),
    element("p", {}, "A PLY file of Gaussians, such as sfumato and others write. It stays on this device."),
    element("div", { class: "buttons" }, button),
  );
}
