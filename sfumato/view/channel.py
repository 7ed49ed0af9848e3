"""What training has to say to every page that listens, over WebSockets, and what pages ask for, checked.

A page is sent at most one snapshot at a time, in pieces, and the next one only when it says "ready": one that is slow
skips snapshots, one that stalls is left behind, and nobody waits for either.
"""

import asyncio
import json
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import thread_time
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from sfumato.view.history import History
from sfumato.view.snapshots import Snapshot

__all__ = ["COMMANDS", "PATIENCE", "Channel"]

COMMANDS = ("pause", "resume", "stop")
LONGEST = 200  # letters of a message from a page
MOST_PAGES = 16  # at once
PIECE = 256 * 1024  # bytes of a snapshot that are sent at a time
PATIENCE = 20.0  # seconds in which a piece must be taken
NOT_UNDERSTOOD, TOO_LARGE, REFUSED, LATER, GOING = 1003, 1009, 1008, 1013, 1001  # RFC 6455, 7.4.1


@dataclass(eq=False)
class _Client:
    """One page, seen from the server's loop."""

    socket: WebSocket
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ready: bool = False  # for a snapshot
    limit: int | None = None  # Gaussians that the page can hold
    shown: int = 0  # serial of the snapshot it was sent last
    told: dict[str, int] = field(default_factory=dict)  # kind of message -> version
    seen: tuple[float, float] | None = None  # steps of the curves


class Channel:
    """Pages that listen. `connect` runs in the server's loop; everything else may be called from any thread."""

    def __init__(self, history: History, command: Callable[[str], None], patience: float = PATIENCE) -> None:
        """command: is told each of COMMANDS that a page gives, in the server's loop: it must return at once."""
        self._history, self._command, self._patience = history, command, patience
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: tuple[_Client, ...] = ()  # replaced, never changed: other threads look at it
        self._lock = threading.Lock()
        self._texts: dict[str, tuple[int, str]] = {}  # kind -> version, message
        self._newest: Snapshot | None = None
        self._ending = False
        self._empty = threading.Event()
        self._empty.set()
        self.cpu_seconds = 0.0  # that the server's thread has worked for

    @property
    def pages(self) -> int:
        """How many listen."""
        return len(self._clients)

    @property
    def waiting(self) -> bool:
        """True when a page could show another snapshot than the newest."""
        serial = self._newest.serial if self._newest else 0
        return any(client.ready and client.shown >= serial for client in self._clients)

    @property
    def limit(self) -> int | None:
        """Gaussians that every page can hold; None: any number."""
        return min((client.limit for client in self._clients if client.limit), default=None)

    def tell(self, kind: str, **values: Any) -> None:
        """Give every page, and those that come later, the newest message of a kind."""
        text = json.dumps({"type": kind, **values}, allow_nan=False)
        with self._lock:
            self._texts[kind] = (self._texts.get(kind, (0, ""))[0] + 1, text)
        self._wake()

    def offer(self, snapshot: Snapshot) -> None:
        """Replace the snapshot that pages are sent when they are ready."""
        self._newest = snapshot
        self._wake()

    def end(self, seconds: float = 1.0) -> None:
        """Say goodbye to every page; waits so long at most."""
        self._ending = True
        self._wake()
        self._empty.wait(seconds)

    async def connect(self, socket: WebSocket) -> None:
        """Serve one page until it leaves."""
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        if self._ending or len(self._clients) >= MOST_PAGES:
            return await socket.close(LATER, "too many pages look at this training already")
        client = _Client(socket)
        self._clients = (*self._clients, client)
        self._empty.clear()
        tasks = [asyncio.ensure_future(work) for work in (self._listen(client), self._speak(client))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients = tuple(other for other in self._clients if other is not client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if not self._clients:
                self._empty.set()

    async def _listen(self, client: _Client) -> None:
        """Do what the page asks for, until it leaves or asks for something that there is not."""
        while True:
            message = await client.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            refusal = self._obey(client, message.get("text"))
            if refusal:
                with suppress(RuntimeError):  # it has just left
                    await client.socket.close(*refusal)
                return
            client.news.set()

    def _obey(self, client: _Client, text: str | None) -> tuple[int, str] | None:
        """Do what a message says; the code and reason for closing where it says nothing known."""
        if text is None:
            return NOT_UNDERSTOOD, "only text is understood"
        if len(text) > LONGEST:
            return TOO_LARGE, f"messages have at most {LONGEST} letters"
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return REFUSED, "this is no JSON"
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ready":
            limit = message.get("limit")
            if limit is not None and (type(limit) is not int or limit < 1):
                return REFUSED, "limit must be a whole number of Gaussians"
            client.ready, client.limit = True, limit
        elif isinstance(kind, str) and kind in COMMANDS:
            self._command(kind)
        else:
            return REFUSED, f"type must be one of ready {' '.join(COMMANDS)}"
        return None

    async def _speak(self, client: _Client) -> None:
        """Tell the page what is new, as fast as it listens."""
        with suppress(WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):
            while True:
                client.news.clear()
                ending = self._ending
                await self._tell_news(client)
                snapshot = self._newest
                if client.ready and snapshot and snapshot.serial > client.shown:
                    client.ready, client.shown = False, snapshot.serial
                    await self._send_snapshot(client, snapshot)
                self.cpu_seconds = thread_time()
                if ending:
                    return await client.socket.close(GOING, "training has ended")
                await client.news.wait()

    async def _tell_news(self, client: _Client) -> None:
        for kind, (version, text) in list(self._texts.items()):
            if client.told.get(kind) != version:
                client.told[kind] = version
                await self._in_time(client.socket.send_text(text))
        first = client.seen is None
        news = self._history.since(client.seen or (-math.inf, -math.inf))
        client.seen = news.seen
        if first or news.points or news.held:
            message = {"type": "history" if first else "points", "points": news.points, "held": news.held}
            await self._in_time(client.socket.send_text(json.dumps(message)))

    async def _send_snapshot(self, client: _Client, snapshot: Snapshot) -> None:
        """In pieces, so that no more than one of them lies in the buffers of a page that does not take it."""
        count = -(-len(snapshot.data) // PIECE)
        announced = {"type": "snapshot", "step": snapshot.step, "bytes": len(snapshot.data), "pieces": count}
        await self._in_time(client.socket.send_text(json.dumps(announced)))
        for start in range(0, len(snapshot.data), PIECE):
            await self._in_time(client.socket.send_bytes(snapshot.data[start : start + PIECE]))

    async def _in_time(self, sending: Awaitable[None]) -> None:
        await asyncio.wait_for(sending, self._patience)

    def _wake(self) -> None:
        if self._loop is None or not self._clients:
            return
        with suppress(RuntimeError):  # the server is gone
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for client in self._clients:
            client.news.set()
