/** The cameras of a scene: drawn as frusta, flown to, gone through one by one, and compared with their photos. */

import { positionOf } from "./camera.js";
import { Comparison } from "./compare.js";
import { poseOf } from "./motion.js";
import { cameraAt, frustumSize, overlayLines } from "./overlays.js";
import { distance } from "./vector.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./viewer.js").Viewer} Viewer */
/** @typedef {Camera & {name: string, split: "train" | "test", photo?: string | null}} PageCamera */

/** Also draws the other lines beside the scene, as the cameras' are among them. */
export class Gallery {
  /**
   * @param {Viewer} viewer
   * @param {PageCamera[]} cameras
   */
  constructor(viewer, cameras) {
    this.viewer = viewer;
    this.cameras = cameras;
    /** Which one was chosen last. @type {number | null} */
    this.chosen = null;
    this.size = 0.1; // of a frustum, world units
    /** What the size was made for. @type {{cameras: PageCamera[], bounds: import("./motion.js").Bounds | null} | null} */
    this.sized = null;
    this.unfold = false; // the panel, when the comparison ends
    this.compare = new Comparison(viewer.stage, { walk: (step) => this.walk(step), close: () => this.endComparison() });
  }

  /**
   * Another scene's cameras.
   * @param {PageCamera[]} cameras
   */
  replace(cameras) {
    this.endComparison();
    this.cameras = cameras;
    this.chosen = null;
    this.viewer.panel.setCamera(cameras, null);
  }

  /** Draw the lines that are wanted. */
  draw() {
    const { settings, bounds, up, renderer, stage } = this.viewer;
    if (this.sized?.cameras !== this.cameras || this.sized.bounds !== bounds) {
      this.sized = { cameras: this.cameras, bounds }; // each is measured against each: not with every move of a slider
      this.size = frustumSize(this.cameras, bounds);
    }
    const lines = overlayLines(settings, this.cameras, this.size, this.chosen, bounds, up);
    for (const [name, line] of Object.entries(lines)) renderer.setLines(name, this.compare.open ? null : line);
    stage.touch();
  }

  /** @param {number} x CSS pixels of the canvas @param {number} y @returns {number | null} whose frustum is there */
  at(x, y) {
    if (!this.viewer.settings.cameras || this.compare.open) return null;
    return cameraAt(this.cameras, this.size, this.viewer.stage.screen, x, y);
  }

  /**
   * Fly to a camera.
   * @param {number} index
   */
  visit(index) {
    const { controls, stage, bounds } = this.viewer;
    controls.fly(false);
    stage.touched = true;
    stage.fly(poseOf(plainCamera(this.cameras[index]), bounds));
    this.choose(index);
  }

  /** @param {number | null} index which camera the panel names */
  choose(index) {
    if (index === this.chosen) return;
    this.chosen = index;
    this.viewer.panel.setCamera(this.cameras, index);
    this.draw();
  }

  /**
   * The next camera, or the one before; while photos are compared, those that have one.
   * @param {number} step
   */
  walk(step) {
    const count = this.cameras.length;
    if (count === 0) return;
    let index = this.chosen ?? (step > 0 ? -1 : count);
    for (let i = 0; i < count; i++) {
      index = (index + step + count) % count;
      if (!this.compare.open || this.cameras[index].photo) break;
    }
    if (this.compare.open) this.show(index);
    else this.visit(index);
  }

  /** Lay the photo of the chosen camera, else of the nearest that has one, over the picture; or take it away. */
  comparePhoto() {
    if (this.compare.open) return this.endComparison();
    const at = positionOf(this.viewer.stage.pose.camera);
    const gap = (/** @type {number} */ index) => distance(positionOf(this.cameras[index]), at);
    const pictured = [...this.cameras.keys()].filter((index) => this.cameras[index].photo);
    const chosen = pictured.find((index) => index === this.chosen);
    const index = chosen ?? pictured.sort((a, b) => gap(a) - gap(b))[0];
    if (index === undefined) this.viewer.setStatus("No camera of this scene has a photo to compare with.");
    else this.show(index);
  }

  /**
   * Compare this camera's photo with the picture.
   * @param {number} index
   */
  show(index) {
    const { controls, panel, stage, bounds } = this.viewer;
    controls.fly(false);
    if (!this.compare.open) this.unfold = !panel.folded;
    this.compare.show(this.cameras[index]);
    panel.fold(true); // it would lie on the photo
    stage.touched = true;
    stage.set(poseOf(plainCamera(this.cameras[index]), bounds));
    this.choose(index);
    this.draw();
  }

  endComparison() {
    if (!this.compare.open) return;
    if (this.unfold) this.viewer.panel.fold(false); // the button that had the focus is there again
    this.compare.hide();
    this.draw();
  }
}

/** Without name and photo. @param {Camera} camera @returns {Camera} */
function plainCamera({ viewmat, K, width, height }) {
  return { viewmat, K, width, height };
}
