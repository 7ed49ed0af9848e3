/** The page: makes the viewer of what it is to show, and hands it to tests and to pages around it. */

import { early } from "./early.js";
import { element } from "./elements.js";
import { GraphicsError } from "./graphics.js";
import { startLive } from "./live.js";
import { Messages } from "./messages.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./viewer.js").Page} Page */

/**
 * A viewer in an element; null where this browser cannot draw, which the page then says.
 * @param {HTMLElement} root
 * @param {Page} page
 * @returns {Viewer | null}
 */
export function createViewer(root, page) {
  try {
    return new Viewer(root, page, early.loader);
  } catch (error) {
    if (!(error instanceof GraphicsError)) throw error;
    early.loader.cancel();
    const messages = new Messages(() => {});
    root.replaceChildren(element("main", {}), ...messages.elements);
    messages.fail(error.message, { title: "No picture", open: false, stay: true });
    return null;
  }
}

function startPage() {
  const { page } = early;
  const viewer = createViewer(/** @type {HTMLElement} */ (document.getElementById("viewer")), page);
  const handle = {
    viewer,
    renderer: viewer?.renderer ?? null,
    page,
    ready: viewer?.ready ?? Promise.resolve(),
    camera: () => viewer?.camera() ?? null,
    /** @type {Viewer["setCamera"]} */
    setCamera: (camera, options) => viewer?.setCamera(camera, options),
    settle: async () => viewer?.settle(),
  };
  Object.assign(window, { sfumato: handle });
  viewer?.begin();
  if (viewer && page.live) startLive(viewer);
}

startPage();
