/** The page: reads what it is to show, makes the viewer, and hands it to tests and to pages around it. */

import { element } from "./elements.js";
import { GraphicsError } from "./graphics.js";
import { startLive } from "./live.js";
import { Messages } from "./messages.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./viewer.js").Page} Page */

/**
 * What the page holds as JSON, or, on a plain file server, the file named by ?file=.
 * @returns {Page}
 */
function readPage() {
  const page = /** @type {Page} */ (JSON.parse(document.getElementById("page")?.textContent || "{}"));
  const file = new URLSearchParams(location.search).get("file");
  if (!file || page.splat) return page;
  const url = new URL(file, document.baseURI);
  if (url.origin !== location.origin) return page; // a link must not make this page fetch from elsewhere
  return { ...page, splat: { url: url.href, name: decodeURIComponent(url.pathname.split("/").pop() ?? file) } };
}

/**
 * A viewer in an element; null where this browser cannot draw, which the page then says.
 * @param {HTMLElement} root
 * @param {Page} page
 * @returns {Viewer | null}
 */
export function createViewer(root, page) {
  try {
    return new Viewer(root, page);
  } catch (error) {
    if (!(error instanceof GraphicsError)) throw error;
    const messages = new Messages(() => {});
    root.replaceChildren(element("main", {}), ...messages.elements);
    messages.fail(error.message, { title: "No picture", open: false, stay: true });
    return null;
  }
}

function startPage() {
  const page = readPage();
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
