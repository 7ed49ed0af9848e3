/** A viewer's draw and settle -> window.bench, by which the benchmark asks every viewer for the same things. */

/**
 * @typedef {{viewmat: number[], K: number[], width: number, height: number}} Camera viewmat row by row, OpenCV axes
 * @typedef {object} Viewer
 * @property {HTMLCanvasElement} canvas
 * @property {(camera: Camera) => void} draw now, with the newest order of the splats
 * @property {(camera: Camera) => Promise<void>} settle the whole scene in its order for this camera, drawn
 * @property {() => object} statistics
 * @property {boolean} [loaded] everything is there to be drawn
 */

/** What the page was asked to show: {splat, camera, settings}. */
export const asked = JSON.parse(decodeURIComponent(location.hash.slice(1)));

const channel = new MessageChannel();
/** Lets the browser show the canvas and workers answer; unlike animation frames it is not tied to a screen's 60 a second. */
const pause = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = () => resolve(performance.now());
    channel.port2.postMessage(0);
  });

/** @param {Viewer} viewer @param {Promise<void>} loaded */
export function offer(viewer, loaded) {
  const gl = /** @type {WebGL2RenderingContext} */ (viewer.canvas.getContext("webgl2"));

  /** Frames as a person sees them, browser and sorting included: {frames, draws} in ms, one for each camera. */
  async function frames(cameras) {
    const [times, draws] = [[], []];
    let last = await pause();
    for (const camera of cameras) {
      const start = performance.now();
      viewer.draw(camera);
      window.watch.read(gl, 1, 1);
      draws.push(performance.now() - start);
      const now = await pause();
      times.push(now - last);
      last = now;
    }
    return { frames: times, draws };
  }

  /** The settled picture as RGBA in base64, bottom row first. */
  async function picture(camera) {
    await viewer.settle(camera);
    viewer.draw(camera);
    const pixels = window.watch.read(gl, gl.drawingBufferWidth, gl.drawingBufferHeight);
    let text = "";
    for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
    return { width: gl.drawingBufferWidth, height: gl.drawingBufferHeight, pixels: btoa(text) };
  }

  const ready = loaded
    .then(() => viewer.settle(asked.camera))
    .then(() => {
      /** @type {any} */ (window).watch.complete = performance.now();
    });
  /** @type {any} */ (window).bench = { ready, frames, picture, statistics: () => viewer.statistics() };
}
