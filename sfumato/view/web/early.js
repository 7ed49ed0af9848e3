/** What need not wait for the page's other modules: what the page is to show is read, and its scene is being fetched. */

import { Loader } from "./load.js";

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
  return { ...page, splat: { url: url.href } };
}

/** What the page is to show, and a loader that has begun to read it. */
export const early = { page: readPage(), loader: new Loader() };

if (early.page.splat) early.loader.prepare(early.page.splat);
