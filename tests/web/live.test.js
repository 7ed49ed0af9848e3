import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveSocket, liveWait } from "../../sfumato/view/web/live_socket.js";
import { liveDuration, liveMemory, smoothed, thinned } from "../../sfumato/view/web/live_words.js";

/** A world without a network: sockets that a test opens, feeds and closes, and timers that it runs. */
function fakeWorld() {
  const sockets = [];
  const timers = [];
  const open = (/** @type {string} */ url) => {
    const socket = { url, sent: [], readyState: 0, binaryType: "", send: (text) => socket.sent.push(JSON.parse(text)), close: () => {} };
    socket.accept = () => ((socket.readyState = 1), socket.onopen());
    socket.feed = (data) => socket.onmessage({ data });
    socket.drop = (code = 1006, reason = "") => ((socket.readyState = 3), socket.onclose({ code, reason }));
    sockets.push(socket);
    return socket;
  };
  return { sockets, timers, open, later: (action, ms) => timers.push({ action, ms }) };
}

function listening() {
  const heard = { messages: [], snapshots: [], connections: [] };
  const listener = {
    message: (message) => heard.messages.push(message),
    snapshot: (bytes, announced) => heard.snapshots.push([[...new Uint8Array(bytes)], announced.step]),
    connection: (connection, detail) => heard.connections.push([connection, detail.tries]),
  };
  return { heard, listener };
}

test("a snapshot comes in pieces, and the next one only after ready", () => {
  const world = fakeWorld();
  const { heard, listener } = listening();
  const live = new LiveSocket("ws://x/live", listener, world);
  const [socket] = world.sockets;
  assert.equal(live.send({ type: "pause" }), false); // not open yet
  live.limit = 5;
  socket.accept();
  assert.deepEqual(socket.sent, [{ type: "ready", limit: 5 }]);
  socket.feed('{"type":"snapshot","step":7,"bytes":5,"pieces":2}');
  socket.feed(new Uint8Array([1, 2, 3]).buffer);
  assert.deepEqual(heard.snapshots, []);
  socket.feed('{"type":"state","state":"training"}'); // in between
  socket.feed(new Uint8Array([4, 5]).buffer);
  assert.deepEqual(heard.snapshots, [[[1, 2, 3, 4, 5], 7]]);
  assert.deepEqual(heard.messages, [{ type: "state", state: "training" }]);
  socket.feed(new Uint8Array([9]).buffer); // announced by nothing
  assert.equal(heard.snapshots.length, 1);
  assert.equal(socket.sent.length, 1);
  live.ready();
  assert.equal(socket.sent.length, 2);
});

test("after a drop it comes back, and forgets half a snapshot", () => {
  const world = fakeWorld();
  const { heard, listener } = listening();
  new LiveSocket("ws://x/live", listener, world);
  world.sockets[0].accept();
  world.sockets[0].feed('{"type":"snapshot","step":7,"bytes":5,"pieces":2}');
  world.sockets[0].feed(new Uint8Array([1, 2, 3]).buffer);
  world.sockets[0].drop();
  assert.deepEqual(heard.connections, [["open", 0], ["lost", 1]]);
  for (let tries = 2; tries < 9; tries++) {
    world.timers[tries - 2].action();
    world.sockets[tries - 1].drop();
    assert.deepEqual(heard.connections.at(-1), ["lost", tries]);
  }
  const waits = world.timers.map(({ ms }) => ms);
  assert.ok(waits[0] <= 600 && waits.at(-1) >= 12000 && waits.at(-1) <= 18000, String(waits));
  world.timers.at(-1).action();
  const last = world.sockets.at(-1);
  last.accept();
  last.feed(new Uint8Array([4, 5]).buffer); // the end of what was lost
  last.feed("{}");
  assert.deepEqual(heard.snapshots, []);
  last.drop();
  assert.deepEqual(heard.connections.at(-1), ["lost", 1]); // it counts anew
});

test("a person who is quicker than the timer makes one connection", () => {
  const world = fakeWorld();
  const live = new LiveSocket("ws://x/live", listening().listener, world);
  world.sockets[0].drop();
  live.connect();
  world.timers[0].action();
  assert.equal(world.sockets.length, 2);
  world.sockets[0].drop(); // late news of the old one
  assert.equal(live.wire, world.sockets[1]);
});

test("a goodbye and a refusal are not tried again", () => {
  for (const [code, connection] of [[1001, "ended"], [1008, "refused"], [1013, "refused"]]) {
    const world = fakeWorld();
    const { heard, listener } = listening();
    new LiveSocket("ws://x/live", listener, world);
    world.sockets[0].accept();
    world.sockets[0].drop(code, "why");
    assert.deepEqual(heard.connections.at(-1), [connection, 0]);
    assert.deepEqual(world.timers, []);
  }
});

test("waits grow, and differ by chance", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map((tries) => liveWait(tries, 0.5)), [500, 1000, 2000, 4000, 8000, 15000, 15000]);
  assert.deepEqual([liveWait(0, 0), liveWait(0, 1)], [400, 600]);
});

test("numbers in words", () => {
  assert.deepEqual([7.6, 59.4, 60, 3729, 86400].map(liveDuration), ["8 s", "59 s", "1:00", "1:02:09", "24:00:00"]);
  assert.deepEqual([null, 1, 425713664, 1.25e9].map(liveMemory), ["–", "0 MB", "426 MB", "1.3 GB"]);
});

test("curves: the mean of the last few, gaps left out, never too many", () => {
  const points = [[1, 10], [2, null], [3, 20], [4, 30]];
  assert.deepEqual(smoothed(points, 1, 2), [[1, 10], [2, 10], [3, 20], [4, 25]]);
  assert.deepEqual(smoothed([[1, null]], 1, 2), [[1, null]]);
  const many = Array.from({ length: 10 }, (_, index) => [index]);
  assert.deepEqual(thinned(many, 5).map(([step]) => step), [0, 4, 8, 9]);
});
