/** A live page's part of the viewer: snapshots to the renderer, numbers, curves and held-out photos to a section of the panel. */

import { drawCurve } from "./curves.js";
import { element } from "./elements.js";
import { HeldOut } from "./held.js";
import { LiveSocket } from "./live_socket.js";
import { LIVE_STATES, liveDuration, liveMemory, smoothed, thinned } from "./live_words.js";
import { readWire } from "./wire.js";

/**
 * What is used of the viewer.
 * @typedef {{renderer: {limit: number, next: unknown}, panel: {addSection: (title: string, content: HTMLElement) => void,
 *     setNote: (text: string) => void},
 *   replaceRows: (rows: import("./pack.js").PackedRows) => void, fail: (sentence: string) => void}} LiveViewer
 */
/** @typedef {import("./live_words.js").LivePoint} LivePoint */

const OVER = new Set(["done", "stopped"]); // states after which nothing more comes
const CLOSE_UP = 20; // measured pictures that a point of the curves is the mean of
const MANY_TRIES = 5; // that failed: the process has probably ended

/** Show the training that the page's own server belongs to. @param {LiveViewer} viewer */
export function startLive(viewer) {
  return new LiveTraining(viewer);
}

/** The section, and what it stands for. */
export class LiveTraining {
  /** @param {LiveViewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    /** @type {string | null} which training this is */
    this.run = null;
    this.state = "preparing";
    /** @type {import("./live_socket.js").LiveConnection} */
    this.connection = "connecting";
    this.shownStep = -1; // of the splat in the picture
    /** @type {LivePoint[]} step, loss, psnr, gaussians, seconds, memory */
    this.points = [];
    /** @type {LivePoint[]} step, psnr */
    this.heldPoints = [];
    this.drawing = 0;
    this.stateText = element("span", { class: "training-state", role: "status" }, "Connecting");
    this.stepText = element("span", {});
    this.sentence = element("p", { class: "training-sentence", "aria-live": "polite" });
    this.notes = element("p", { class: "training-sentence", "aria-live": "polite" });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Steps" });
    /** @type {Record<string, HTMLElement>} */
    this.numbers = {};
    const list = element("dl", { class: "training-numbers" });
    this.timeName = element("dt", {}, "Time left");
    for (const name of ["Gaussians", "Time", "Steps/s", "Memory"]) {
      this.numbers[name] = element("dd", {}, "–");
      list.append(name === "Time" ? this.timeName : element("dt", {}, name), this.numbers[name]);
    }
    const pause = () => this.socket.send({ type: this.state === "paused" ? "resume" : "pause" });
    this.pauseButton = element("button", { type: "button", class: "button quiet", disabled: true, onclick: pause }, "Pause");
    const ask = () => this.confirm.showModal();
    this.stopButton = element("button", { type: "button", class: "button quiet", disabled: true, onclick: ask }, "Stop and save");
    this.retryButton = element("button", { type: "button", class: "button quiet", hidden: true, onclick: () => this.socket.connect() }, "Try again");
    this.buttons = element("div", { class: "training-buttons" }, this.pauseButton, this.stopButton);
    this.psnr = element("div", {});
    this.loss = element("div", {});
    this.curves = element("div", { hidden: true }, element("h3", {}, "PSNR"), this.psnr, element("h3", {}, "Loss"), this.loss);
    const head = element("div", { class: "training-head" }, this.stateText, this.stepText);
    this.section = element("div", { class: "training" }, head, this.bar, this.sentence, this.notes, list, this.buttons, this.retryButton, this.curves);
    this.confirm = stopDialog(() => this.socket.send({ type: "stop" }));
    this.held = new HeldOut();
    this.section.append(this.held.element);
    document.head.append(element("link", { rel: "stylesheet", href: "live.css" }));
    document.body.append(this.confirm, this.held.dialog);
    viewer.panel.addSection("Live", this.section);
    const { protocol, host } = location;
    this.socket = new LiveSocket(`${protocol === "https:" ? "wss:" : "ws:"}//${host}/live`, {
      message: (message) => this.hear(message),
      snapshot: (bytes, announced) => void this.show(bytes, announced.step),
      connection: (connection, detail) => this.connected(connection, detail),
    });
    this.socket.limit = viewer.renderer.limit;
    for (const occasion of ["online", "focus"]) window.addEventListener(occasion, () => this.hurry());
  }

  /** @param {Record<string, any>} message */
  hear(message) {
    if (message.type === "state") this.setState(message);
    else if (message.type === "history" || message.type === "points") this.addPoints(message);
    else if (message.type === "held") this.held.update(message.pictures, message.ready);
    else if (message.type === "note") setText(this.notes, message.sentences.join(" "));
  }

  /** @param {Record<string, any>} now */
  setState(now) {
    if (this.run !== null && now.run !== this.run) return location.reload(); // another training has this address now
    this.run = now.run;
    this.state = now.state;
    setText(this.stateText, LIVE_STATES[now.state] ?? now.state);
    const steps = now.steps ? `step ${now.step.toLocaleString("en")} of ${now.steps.toLocaleString("en")}` : "";
    setText(this.stepText, steps);
    this.bar.value = now.steps ? now.step / now.steps : 0;
    if (now.sentence) this.say(now.sentence);
    else if (this.connection === "open") this.say("");
    setText(this.numbers.Gaussians, now.gaussians === null ? "–" : now.gaussians.toLocaleString("en"));
    const rate = OVER.has(now.state) && now.seconds > 0 ? now.step / now.seconds : now.rate;
    setText(this.numbers["Steps/s"], rate ? rate.toFixed(rate < 10 ? 2 : 1) : "–");
    setText(this.timeName, OVER.has(now.state) ? "Training" : "Time left");
    const left = now.left === null ? "–" : liveDuration(now.left);
    setText(this.numbers.Time, OVER.has(now.state) ? liveDuration(now.seconds) : left);
    setText(this.numbers.Memory, liveMemory(now.memory));
    this.offer();
    this.note();
  }

  /** What is to be seen of it while the panel is folded. */
  note() {
    const { state, bar, connection, stateText } = this;
    const share = state === "training" ? ` ${Math.floor(100 * bar.value)} %` : "";
    this.viewer.panel.setNote((stateText.textContent ?? "") + (connection === "open" ? share : ""));
  }

  /** Which buttons are of use. */
  offer() {
    const open = this.connection === "open";
    const going = this.state === "training" || this.state === "paused";
    setText(this.pauseButton, this.state === "paused" ? "Resume" : "Pause");
    this.pauseButton.disabled = !open || !going;
    this.stopButton.disabled = !open || !going;
    this.buttons.hidden = OVER.has(this.state) || this.connection === "ended";
    if (this.stopButton.disabled && this.confirm.open) this.confirm.close();
    this.retryButton.hidden = !["lost", "ended", "refused"].includes(this.connection);
  }

  /** @param {string} sentence */
  say(sentence) {
    setText(this.sentence, sentence);
  }

  /** @param {Record<string, any>} message */
  addPoints({ type, points, held }) {
    const first = type === "history";
    this.points = thinned(first ? points : [...this.points, ...points]);
    this.heldPoints = thinned(first ? held : [...this.heldPoints, ...held]);
    this.drawing ||= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = 0;
    this.curves.hidden = this.points.length === 0;
    if (this.curves.hidden) return;
    const psnr = [{ name: "training photos", points: smoothed(this.points, 2, CLOSE_UP) }];
    const held = { name: "held-out photos", points: this.heldPoints, dots: this.heldPoints.length < 40 };
    drawCurve(this.psnr, this.heldPoints.length ? [...psnr, held] : psnr, { title: "PSNR", unit: "dB", digits: 1, height: 120 });
    drawCurve(this.loss, [{ name: "loss", points: smoothed(this.points, 1, CLOSE_UP) }], { title: "Loss", digits: 4, log: true, height: 100 });
  }

  /**
   * Show a snapshot, then ask for the next: in a window that nobody sees this waits.
   * @param {ArrayBuffer} bytes
   * @param {number} step
   */
  async show(bytes, step) {
    try {
      this.viewer.replaceRows(readWire(bytes).rows);
      do await new Promise((resolve) => requestAnimationFrame(resolve));
      while (this.viewer.renderer.next);
    } catch (error) {
      return this.viewer.fail(error instanceof Error ? error.message : String(error));
    }
    this.shownStep = step;
    this.socket.ready();
  }

  /**
   * @param {import("./live_socket.js").LiveConnection} connection
   * @param {{tries: number, reason: string}} detail
   */
  connected(connection, { tries, reason }) {
    this.connection = connection;
    this.stateText.classList.toggle("alarm", connection === "lost" || connection === "refused");
    if (connection === "lost") {
      setText(this.stateText, tries === 1 ? "Connection lost" : "No connection");
      const probably = "Nobody answers: the training has probably ended. The last picture stays; it is tried again now and then.";
      this.say(tries < MANY_TRIES ? "It is tried again by itself; the picture stays." : probably);
    } else if (connection === "ended") {
      setText(this.stateText, OVER.has(this.state) ? LIVE_STATES[this.state] : "Ended");
      this.say("The process has ended. The last picture stays, as long as this page is open.");
    } else if (connection === "refused") {
      setText(this.stateText, "Refused");
      this.say(`The server refused this page: ${reason}.`);
    }
    this.offer();
    this.note();
  }

  /** Somebody looks again: no reason to wait longer. */
  hurry() {
    if (this.connection === "lost" && !this.socket.wire) this.socket.connect();
  }
}

/**
 * Nothing is announced that has not changed.
 * @param {HTMLElement} target
 * @param {string} text
 */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {() => void} stop */
function stopDialog(stop) {
  const own = (/** @type {Event} */ event) => event.stopPropagation(); // the page has its own use for keys
  const dialog = element("dialog", { class: "confirm", "aria-labelledby": "stop-title", "aria-describedby": "stop-text", onkeydown: own });
  const no = element("button", { type: "button", class: "button quiet", onclick: () => dialog.close() }, "Go on training");
  const yes = element("button", { type: "button", class: "button strong", onclick: () => (dialog.close(), stop()) }, "Stop and save");
  dialog.append(
    element("h2", { id: "stop-title" }, "Stop training?"),
    element("p", { id: "stop-text" }, "The splat and a checkpoint are saved as they are now. The same command with ", element("code", {}, "--resume"), " goes on from there later."),
    element("div", { class: "buttons" }, no, yes),
  );
  return dialog;
}
