/** The viewer: renderer, stage, controls and panel put together, and a scene opened into them. */

import { Controls } from "./controls.js";
import { element } from "./elements.js";
import { Gallery } from "./gallery.js";
import { GraphicsError } from "./graphics.js";
import { createHelp } from "./help.js";
import { listenKeys } from "./keys.js";
import { Messages } from "./messages.js";
import { framed, poseOf, upOf } from "./motion.js";
import { Numbers } from "./numbers.js";
import { Panel } from "./panel.js";
import { Renderer } from "./renderer.js";
import { lookOf, settingsOf } from "./settings.js";
import { Share } from "./share.js";
import { Stage, calm } from "./stage.js";

/** @typedef {import("./camera.js").Camera} Camera */
/** @typedef {import("./gallery.js").PageCamera} PageCamera */
/** @typedef {import("./load.js").Loader} Loader */
/** @typedef {import("./load.js").Source} Source */
/** @typedef {import("./motion.js").Bounds} Bounds */
/** @typedef {import("./motion.js").Pose} Pose */
/** @typedef {import("./pack.js").PackedRows} PackedRows */
/** @typedef {import("./settings.js").Settings} Settings */
/**
 * What a page is to show, as Python's view/page.py writes it; everything may be missing.
 * @typedef {{title?: string, splat?: {url: string, name?: string, bytes?: number} | {embedded: true} | null, up?: number[] | null,
 *   background?: number[], near?: number, antialiased?: boolean, cameras?: PageCamera[], start?: Camera | null, live?: boolean}} Page
 */
/** @typedef {{shown: number, degree: number, name: string}} Coming a scene whose first part is near */

const SPLATS = /\.(ply|splat|spz|ksplat|sog|glb|gltf)$/i; // which of several dropped files is meant
const NEAR = 0.2; // world units, as RenderSettings.near
const FADE = 300; // ms from one look to the next
const FEWEST = 256; // Gaussians; a graphics card without room for as many is asked no more

/** For modules beside it: renderer, panel.addSection, setStatus, fail, replaceRows, setCamera, settle, ready. */
export class Viewer {
  /**
   * @param {HTMLElement} root empty; the viewer fills it
   * @param {Page} page
   * @param {Loader} loader may have begun to read what the page names
   * @throws {Error} GraphicsError, a sentence, where there is no WebGL2
   */
  constructor(root, page, loader) {
    this.root = root;
    this.page = page;
    this.loader = loader;
    this.up = upOf(page.up, page.cameras ?? []);
    this.usual = settingsOf(page);
    this.settings = { ...this.usual };
    this.local = false; // the scene is a file of this person, not the page's
    this.aside = ""; // what is to be said with the next scene
    this.openings = 0; // scenes that were begun to be loaded
    this.filled = false; // something is there to be seen
    this.framedAt = -Infinity;
    /** Bounds of what is well seen, once something is. @type {Bounds | null} */
    this.bounds = null;
    /** @type {() => void} */
    this.markReady = () => {};
    /** Resolves when the first picture is complete, or none is to come. @type {Promise<void>} */
    this.ready = new Promise((resolve) => (this.markReady = resolve));
    const canvas = element("canvas", { class: "scene empty", tabindex: 0, role: "application", "aria-roledescription": "3D view" });
    const room = element("main", { class: "stage" }, element("div", { class: "picture" }, canvas, element("div", { class: "ring" })));
    root.append(room);
    [canvas.width, canvas.height] = [room.clientWidth || 1, room.clientHeight || 1]; // or the first picture waits for another size
    this.renderer = new Renderer(canvas);
    this.stage = new Stage(canvas, room, this.renderer, this.firstPose([4, 3]));
    this.messages = new Messages(() => this.choose());
    this.controls = new Controls(this.stage, this.up, this.listener(canvas));
    this.share = new Share(this);
    this.panel = this.makePanel();
    this.gallery = new Gallery(this, page.cameras ?? []);
    this.numbers = new Numbers();
    this.help = createHelp();
    this.chooser = element("input", { type: "file", hidden: true, accept: ".ply", "aria-label": "Splat file", onchange: () => this.chosen() });
    const { panel, gallery, numbers, messages } = this;
    root.append(panel.element, numbers.element, gallery.compare.bar, this.chooser, ...messages.elements, this.help);
    panel.setCamera(gallery.cameras, null);
    this.setTitle(page.title ?? "");
    this.listen();
    listenKeys(this);
    this.apply();
    this.share.follow();
  }

  /** @param {HTMLCanvasElement} canvas what the controls tell */
  listener(canvas) {
    return {
      click: (/** @type {number} */ x, /** @type {number} */ y) => {
        const index = this.gallery.at(x, y);
        if (index !== null) this.gallery.visit(index);
      },
      point: (/** @type {number} */ x, /** @type {number} */ y) => void canvas.classList.toggle("pointing", this.gallery.at(x, y) !== null),
      flying: (/** @type {boolean} */ on) => {
        this.panel.setFlying(on);
        this.setStatus(on ? "Flying: W A S D to move, Q and E down and up, drag to look around. F ends it." : "Turning around the middle again.");
      },
    };
  }

  makePanel() {
    const { share } = this;
    return new Panel(this.settings, (name, value) => this.change(name, value), {
      reset: () => this.reset(),
      fly: () => this.controls.fly(),
      screenshot: () => void share.screenshot(),
      turntable: () => share.film(),
      link: () => void share.copyLink(),
      open: () => this.choose(),
      help: () => this.help.showModal(),
      walk: (step) => this.gallery.walk(step),
      compare: () => this.gallery.comparePhoto(),
    });
  }

  listen() {
    this.listenDrops();
    addEventListener("hashchange", () => this.share.follow());
    matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", () => this.apply());
    this.stage.watchers.push(() => this.numbers.show(this.renderer.statistics));
    this.stage.onfail = (sentence) => this.messages.fail(sentence, { title: "No picture", open: false });
    this.stage.resters.push(() => this.share.remember());
    this.stage.resters.push(() => this.numbers.show(this.renderer.statistics, true));
    this.renderer.onlost = () => {
      const sentence = "The graphics card was taken away from this page. The picture comes back as soon as the card does.";
      this.messages.fail(sentence, { title: "Graphics lost", open: false, stay: true });
    };
    this.renderer.onfail = (sentence) => this.messages.fail(sentence, { title: "No picture" });
    this.renderer.onrestored = () => {
      this.messages.dismiss();
      this.setStatus("The graphics card is back.");
      this.stage.touch();
    };
  }

  listenDrops() {
    const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      this.root.classList.add("dropping");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) this.root.classList.remove("dropping");
    });
    addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      this.root.classList.remove("dropping");
      this.openFiles([...(event.dataTransfer?.files ?? [])]);
    });
  }

  /** Open what the page names, or invite a file; called once, at the start. */
  begin() {
    const { splat, live } = this.page;
    if (splat) return this.open(splat);
    this.panel.setIdle(true);
    if (live) return this.setStatus("Waiting for the first picture of the training.", true);
    this.messages.invite(true);
    this.markReady();
  }

  /**
   * Load a splat and show it as it comes; what is shown before stays until there is some of it.
   * @param {Source} source
   * @param {() => void} [adopt] called before any of it is shown
   * @param {import("./load.js").Limit} [limit] of Gaussians
   */
  open(source, adopt = () => {}, limit = this.renderer.limits) {
    const { renderer, messages } = this;
    const opening = ++this.openings;
    let asked = messages.elements.some((part) => part.contains(document.activeElement));
    /** @type {Coming | null} */
    let coming = null;
    const begin = () => {
      const scene = coming;
      coming = null;
      if (scene && !this.makeRoom(scene)) this.open(source, adopt, scene.shown >> 1);
    };
    messages.dismiss();
    messages.invite(false);
    messages.load(0);
    this.stage.coming = true;
    this.loader.open(source, {
      limit,
      onbegin: (scene) => {
        coming = scene;
        if (!this.filled) begin();
      },
      onrows: (rows) => {
        adopt();
        adopt = () => {};
        begin();
        if (opening !== this.openings) return; // there was no room
        renderer.add(rows);
        this.frameAgain(250);
        this.reveal();
        if (asked) this.stage.canvas.focus({ preventScroll: true }); // the button that had the focus is gone
        asked = false;
      },
      onprogress: (share) => messages.load(share),
      ondone: ({ count, note }) => void this.loaded(count, note),
      onfail: (sentence) => this.unloaded(sentence),
    });
  }

  /**
   * Room for a scene in place of what is shown; false where fewer of its Gaussians may find some.
   * @param {Coming} scene
   */
  makeRoom({ shown, degree, name }) {
    try {
      this.renderer.clear(); // where the next scene is, is not where this one was
      this.renderer.begin(shown, degree);
    } catch (error) {
      if (!(error instanceof GraphicsError)) throw error;
      this.filled = false;
      this.stage.canvas.classList.add("empty");
      if (shown >= 2 * FEWEST) return false;
      this.loader.cancel();
      this.openings++;
      this.unloaded(error.message);
      return true;
    }
    this.panel.setDegree(Math.min(3, degree));
    if (!this.page.title) this.setTitle(name);
    return true;
  }

  /**
   * All is there: the picture in full, and what is to be known about it.
   * @param {number} count of Gaussians
   * @param {string} note
   */
  async loaded(count, note) {
    const { openings } = this;
    this.stage.coming = false;
    this.frameAgain();
    await this.settle();
    if (openings !== this.openings) return; // another one is on its way
    if (!this.stage.touched) this.controls.repivot();
    this.messages.load(null);
    this.setStatus(this.aside + (note || `${count.toLocaleString("en")} ${count === 1 ? "Gaussian" : "Gaussians"}`));
    this.markReady();
  }

  /** Not all came: what did stays. @param {string} sentence */
  unloaded(sentence) {
    this.stage.coming = false;
    if (this.filled) this.frameAgain();
    else this.panel.setIdle(true);
    this.messages.invite(!this.filled);
    this.messages.fail(sentence);
    this.markReady();
  }

  /**
   * Files that were dropped or chosen: the first splat among them.
   * @param {File[]} files
   */
  openFiles(files) {
    const file = files.find(({ name }) => SPLATS.test(name)) ?? files[0];
    if (!file) return;
    this.open({ file }, () => this.adopt(file.name, files.length));
  }

  /**
   * What comes is a file of this person: what the page knew of another scene does not hold for it.
   * @param {string} name
   * @param {number} count of the files it came with
   */
  adopt(name, count) {
    this.local = true;
    this.share.turntable?.stop();
    this.page = { live: this.page.live }; // cameras, up and start were another scene's
    this.up = this.controls.up = upOf(null, []);
    this.gallery.replace([]);
    this.stage.touched = this.share.linked = false;
    this.framedAt = -Infinity;
    this.bounds = null;
    this.setTitle(name);
    this.aside = count > 1 ? `${count} files came; this is ${name}. ` : "";
  }

  /** Let a person choose a file. */
  choose() {
    this.chooser.click();
  }

  chosen() {
    const files = [...(this.chooser.files ?? [])];
    this.chooser.value = ""; // so that the same file can be chosen again
    this.openFiles(files);
  }

  /** Show the canvas: there is something on it, or soon will be. */
  reveal() {
    if (this.filled) return;
    this.filled = true;
    this.messages.invite(false);
    this.panel.setIdle(false);
    this.stage.canvas.classList.remove("empty");
    this.stage.begin();
  }

  /**
   * A whole new scene, as training sends them.
   * @param {PackedRows} rows
   */
  replaceRows(rows) {
    if (this.local) return; // a person looks at something else now
    const first = !this.filled;
    this.renderer.replace(rows);
    this.panel.setDegree(Math.min(3, rows.degree));
    this.frameAgain(first ? 0 : 2000);
    this.reveal();
    this.stage.touch();
    if (!first) return;
    this.setStatus("");
    void this.settle().then(this.markReady);
  }

  /**
   * The view at the start: told, else the middle one of the cameras, else the whole scene.
   * @param {[number, number]} size of the canvas
   * @returns {Pose}
   */
  firstPose(size) {
    const { start, cameras = [] } = this.page;
    const camera = start ?? cameras[cameras.length >> 1];
    if (camera) return poseOf(camera, this.bounds);
    return framed(this.bounds ?? { low: [-1, -1, -1], high: [1, 1, 1], middle: [0, 0, 0], radius: 1 }, this.up, ...size);
  }

  /**
   * Until a person moves the view it shows what is there by now.
   * @param {number} [pause] ms since the last time that must have gone by
   */
  frameAgain(pause = 0) {
    const now = performance.now();
    if (now - this.framedAt < pause) return;
    this.framedAt = now;
    this.bounds = this.renderer.bounds();
    this.controls.pace = this.bounds.radius;
    this.renderer.look.near = this.near();
    if (!this.stage.touched && !this.share.linked) this.stage.set(this.firstPose(this.stage.size));
    this.gallery.draw();
  }

  /** What is nearer than this, in world units, is not drawn: told, else as everywhere, unless the scene is tiny. */
  near() {
    return this.page.near ?? Math.min(NEAR, this.bounds ? 0.1 * this.bounds.radius : NEAR);
  }

  /** Back to the view at the start. */
  reset() {
    this.gallery.endComparison();
    this.gallery.choose(null);
    this.controls.fly(false);
    this.stage.fly(this.firstPose(this.stage.size));
  }

  /**
   * A person set something.
   * @param {keyof Settings} name
   * @param {any} value
   */
  change(name, value) {
    this.settings = { ...this.settings, [name]: value };
    this.apply();
  }

  /** Bring renderer, panel and overlays to the settings. */
  apply() {
    const { look } = this.renderer;
    Object.assign(look, lookOf(this.settings), { near: this.near(), fadeMs: calm() ? 0 : FADE });
    this.panel.update(this.settings);
    this.numbers.element.hidden = !this.settings.statistics;
    this.gallery.draw();
    this.stage.touch();
  }

  /**
   * Say a sentence at the lower edge of the page, and to screen readers.
   * @param {string} sentence empty: nothing more to say
   * @param {boolean} [stay] until something else is said
   */
  setStatus(sentence, stay = false) {
    this.messages.say(sentence, { stay });
  }

  /**
   * Say what went wrong, in a card.
   * @param {string} sentence
   * @param {string} [title]
   */
  fail(sentence, title) {
    this.messages.fail(sentence, { title, open: false });
  }

  /** @param {string} title */
  setTitle(title) {
    this.panel.setTitle(title || "sfumato");
    document.title = title ? `${title} · sfumato` : "sfumato";
    this.stage.canvas.setAttribute("aria-label", `${title || "Scene"}. Arrow keys turn, plus and minus come nearer and farther, question mark for help.`);
  }

  /** The camera as it is seen, in pixels of the drawing. @returns {Camera} */
  camera() {
    return this.stage.camera();
  }

  /**
   * @param {Camera} camera
   * @param {{animate?: boolean}} [options]
   */
  setCamera(camera, { animate = false } = {}) {
    this.stage.touched = true;
    this.stage.fly(poseOf(camera, this.bounds), animate ? undefined : 0);
  }

  /** Resolves when the picture of the present view is complete on the canvas. */
  async settle() {
    await this.stage.settle();
  }
}
