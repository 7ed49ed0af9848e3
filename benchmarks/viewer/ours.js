/** sfumato's renderer and loader with nothing around them, driven by the benchmark. */

import { Loader } from "/web/load.js";
import { Renderer } from "/web/renderer.js";
import { asked, offer } from "./harness.js";

const loader = new Loader();
const splat = { url: asked.splat };
loader.prepare(splat); // it is fetched while the renderer is made

const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("canvas"));
canvas.width = asked.camera.width;
canvas.height = asked.camera.height;
const renderer = new Renderer(canvas);
Object.assign(renderer.look, asked.settings);
/** @type {any} */ (window).renderer = renderer; // for whoever looks closer in the console

const sorts = { worker: [], readBack: [] };
let loading = true;
function step() {
  if (!loading) return;
  if (renderer.stale) renderer.draw(asked.camera);
  requestAnimationFrame(step);
}
requestAnimationFrame(step);

const whole = new Promise((resolve, reject) => {
  loader.open(
    splat,
    {
      limit: renderer.limits,
      onbegin: ({ count, degree, shown }) => renderer.begin(shown ?? count, degree),
      onrows: (rows) => renderer.add(rows),
      ondone: resolve,
      onfail: (sentence) => reject(new Error(sentence)),
      onprogress: () => {},
    },
  );
}).then(() => {
  loading = false;
});

offer(
  {
    canvas,
    draw(camera) {
      renderer.draw(camera);
      const { sortMs } = renderer.statistics;
      if (sortMs && sortMs !== sorts.worker.at(-1)) sorts.worker.push(sortMs);
    },
    settle: (camera) => renderer.settle(camera),
    statistics: () => ({ gaussians: renderer.statistics.gaussians, drawn: renderer.statistics.drawn, sorts }),
  },
  whole,
);
