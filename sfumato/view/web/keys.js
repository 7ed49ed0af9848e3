/** Keys of the page, wherever the focus is: commands here, movements of the view in controls.js. */

/** @typedef {import("./viewer.js").Viewer} Viewer */

const TYPED = "textarea, select, input:not([type=range], [type=radio], [type=checkbox], [type=color])";
const OWN_ARROWS = "input[type=range], input[type=radio]";

/** @param {Viewer} viewer */
export function listenKeys(viewer) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isChord(event) || viewer.help.open) return;
    const target = event.target instanceof HTMLElement ? event.target : document.body;
    if (target.matches(TYPED) || target.isContentEditable) return;
    if (target.matches(OWN_ARROWS) && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    if (runCommand(viewer, event.key.length === 1 ? event.key.toLowerCase() : event.key, event.repeat)) event.preventDefault();
    else if (viewer.filled && !viewer.gallery.compare.open && viewer.controls.key(event)) event.preventDefault();
  });
}

/** Whether a key belongs to the browser or the system; on many keyboards brackets are typed with Alt or AltGr. @param {KeyboardEvent} event */
function isChord(event) {
  if (event.getModifierState("AltGraph")) return false;
  return event.ctrlKey || event.metaKey || (event.altKey && !["[", "]", "?", "+"].includes(event.key));
}

/**
 * What a key does besides moving the view; false where it means nothing here.
 * @param {Viewer} viewer
 * @param {string} key
 * @param {boolean} repeated held down
 */
function runCommand(viewer, key, repeated) {
  const commands = viewer.filled ? { ...pageCommands(viewer), ...sceneCommands(viewer) } : pageCommands(viewer);
  if (!Object.hasOwn(commands, key)) return false;
  if (!repeated || key === "[" || key === "]") commands[key]();
  return true;
}

/**
 * @param {Viewer} viewer
 * @returns {Record<string, () => void>}
 */
function pageCommands(viewer) {
  return {
    "?": () => viewer.help.showModal(),
    h: () => viewer.panel.fold(),
    o: () => viewer.choose(),
    Escape: () => endInnermost(viewer),
  };
}

/**
 * @param {Viewer} viewer
 * @returns {Record<string, () => void>}
 */
function sceneCommands(viewer) {
  const { controls, gallery, share } = viewer;
  return {
    r: () => viewer.reset(),
    f: () => controls.fly(),
    p: () => void share.screenshot(),
    t: () => share.film(),
    l: () => void share.copyLink(),
    c: () => gallery.comparePhoto(),
    1: () => viewer.change("look", "soft"),
    2: () => viewer.change("look", "ellipsoids"),
    3: () => viewer.change("look", "centers"),
    "[": () => gallery.walk(-1),
    "]": () => gallery.walk(1),
  };
}

/** End the innermost thing that is going on. @param {Viewer} viewer */
function endInnermost({ share, gallery, controls, messages, renderer }) {
  if (share.turntable) share.turntable.stop();
  else if (gallery.compare.open) gallery.endComparison();
  else if (controls.flying) controls.fly(false);
  else if (!renderer.lost) messages.dismiss();
}
