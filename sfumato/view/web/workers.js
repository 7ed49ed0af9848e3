/** Starts workers: from a module beside this one, or from a text block of the page when everything is in one file. */

/** @type {Map<string, string>} */
const workerBlobs = new Map(); // name -> URL, made once and kept: a worker may be started again

/**
 * A running worker, such as startWorker("sort_worker.js").
 * @param {string} name
 */
export function startWorker(name) {
  const block = document.querySelector(`script[data-worker="${name}"]`);
  if (!block) return new Worker(new URL(`./${name}`, import.meta.url), { type: "module", name });
  let url = workerBlobs.get(name);
  if (url === undefined) {
    url = URL.createObjectURL(new Blob([block.textContent ?? ""], { type: "text/javascript" }));
    workerBlobs.set(name, url);
  }
  return new Worker(url, { name }); // joined modules need no import, so a classic worker will do, in older browsers too
}
