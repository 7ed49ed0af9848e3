/** The help: every key and gesture, in a dialog that closes with Escape and gives the focus back. */

import { element, iconButton } from "./elements.js";

/** @type {Record<string, [string, string][]>} */
const HELP = {
  Look: [
    ["drag", "turn around the middle"],
    ["right drag", "move sideways; so does Shift and drag"],
    ["wheel", "nearer to the pointer, farther"],
    ["double click", "go to what is there"],
    ["← → ↑ ↓", "turn"],
    ["+ −", "nearer, farther"],
    ["R", "back to the first view"],
  ],
  Fly: [
    ["F", "fly; again: turn around the middle"],
    ["W A S D", "forward, left, back, right"],
    ["Q E", "down, up"],
    ["Shift", "faster"],
    ["drag", "look around; so do the arrows"],
  ],
  Touch: [
    ["one finger", "turn"],
    ["two fingers", "move, pinch to come nearer"],
    ["three fingers", "up and down, tilt"],
    ["double tap", "go to what is there"],
  ],
  Page: [
    ["1 2 3", "soft splats, ellipsoids, centers"],
    ["[ ]", "previous, next camera"],
    ["C", "compare with its photo"],
    ["P", "screenshot"],
    ["T", "turntable video; Escape stops"],
    ["L", "copy a link to this view"],
    ["O", "open a file"],
    ["H", "hide or show the controls"],
    ["?", "this help"],
  ],
};

/** The dialog; `showModal()` opens it. */
export function createHelp() {
  const close = iconButton("close", { label: "Close the help", keys: "Escape", onclick: () => dialog.close() });
  const head = element("div", { class: "help-head" }, element("h2", { id: "help-title" }, "Keys and gestures"), close);
  const keys = element("div", { class: "keys" }, ...helpTitles().map((title) => helpGroup(title, HELP[title])));
  const dialog = element("dialog", { "aria-labelledby": "help-title" }, head, keys);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  return dialog;
}

/** On a touch screen its gestures come first. */
function helpTitles() {
  const titles = Object.keys(HELP);
  return matchMedia("(pointer: coarse)").matches ? ["Touch", ...titles.filter((title) => title !== "Touch")] : titles;
}

/**
 * @param {string} title
 * @param {[string, string][]} lines
 */
function helpGroup(title, lines) {
  const list = element("dl", {});
  for (const [keys, meaning] of lines) {
    list.append(element("dt", {}, ...helpKeys(keys)), element("dd", {}, meaning));
  }
  return element("section", {}, element("h3", {}, title), list);
}

/**
 * Single keys are drawn as keys, other words are words.
 * @param {string} keys
 */
function helpKeys(keys) {
  return keys.split(" ").flatMap((word, i) => {
    const shown = /^.$|^Shift$/u.test(word) ? element("kbd", {}, word) : word;
    return i ? [" ", shown] : [shown];
  });
}
