"""A page, its modules and a few files to HTTP on this machine: exact addresses and nothing else."""

import asyncio
import errno
import re
import secrets
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import PurePosixPath
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from sfumato.core.errors import InputError
from sfumato.view.guard import Guard, is_loopback, own_names
from sfumato.view.page import Page, embeddable
from sfumato.view.served import TYPES, DiskFile, MemoryFile, media_type, not_found

__all__ = ["HOST", "PORT", "Background", "create_app", "serve", "web_files"]

HOST, PORT = "127.0.0.1", 7007
TRIES = 100  # ports, from the one that was asked for on
PATIENCE = 5.0  # seconds for the server's thread to end
TOKEN = 18  # bytes
PRIVILEGED = 1024  # the first port that everybody may listen at
_SLOT = re.compile(r'(<script type="application/json" id="page">)(.*?)(</script>)', re.DOTALL)


def create_app(page: Page, files: Mapping[str, DiskFile | MemoryFile], routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The application: / is the page, beside it are its modules, `files` by their address (decoded, "/splat/a.ply").

    routes: more, which come first. What is in no table is 404. It is to be served by `Background` or `serve`, whose
    guard keeps other sites out.
    """
    web = web_files()
    table: dict[str, DiskFile | MemoryFile] = {f"/{name}": file for name, file in web.items()}
    table["/"] = table["/index.html"] = MemoryFile(_filled(web["index.html"].content, page), media_type("index.html"))
    table |= files

    async def answer(request: Request) -> Response:
        file = table.get(request.scope["path"])
        return await file.answer(request) if file else not_found()

    return Starlette(routes=[*routes, Route("/{path:path}", answer)])


def web_files() -> dict[str, MemoryFile]:
    """The viewer's own files by name."""
    folder = resources.files("sfumato.view") / "web"
    items = [item for item in folder.iterdir() if item.is_file() and PurePosixPath(item.name).suffix in TYPES]
    return {item.name: MemoryFile(item.read_bytes(), media_type(item.name)) for item in items}


def serve(app: ASGIApp, host: str = HOST, port: int = PORT, token: str | None = None) -> None:
    """Serve until Ctrl-C. Raises InputError when it cannot listen at the host."""
    with Background(app, host, port, token) as background:
        background.wait()


class Background:
    """The application, served from a thread of its own while a with statement lasts.

    port: when it is taken, the next free one; 0: any. A host that others can reach always asks for a token, which is
    made here when none is given. Raises InputError when it cannot listen there.
    """

    def __init__(self, app: ASGIApp, host: str = HOST, port: int = PORT, token: str | None = None) -> None:
        self._socket = _listening(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self.token = token or (None if is_loopback(host) else secrets.token_urlsafe(TOKEN))
        guarded = Guard(app, own_names(host), self.token, f"sfumato-{self.port}")
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded,
                loop="asyncio",
                http="h11",
                ws="websockets-sansio",  # the one that does not use what websockets calls legacy
                ws_max_size=1 << 16,  # bytes that a page may send
                ws_per_message_deflate=False,  # what is sent is packed already
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=0,  # an open page is no reason to go on
            )
        )
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sfumato-view", daemon=True)
        self._ended = threading.Event()  # Python before 3.13 takes a thread for ended when its `join` is interrupted

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine, with the token where one is asked for."""
        return self._address(HOST if self._anywhere else self.host)

    @property
    def outside(self) -> str | None:
        """The page's address for other machines; None where they cannot reach it."""
        return None if is_loopback(self.host) else self._address(_own_address() if self._anywhere else self.host)

    def wait(self) -> None:
        """Until the server ends, or the main thread is interrupted."""
        while not self._ended.wait(0.5):  # Windows does not interrupt a wait without end
            pass
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End it, open connections included; this takes a fraction of a second."""
        self._server.should_exit = True
        if self._thread.ident is not None:  # it was started
            self._ended.wait(PATIENCE)
        self._socket.close()

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _anywhere(self) -> bool:
        return self.host in ("0.0.0.0", "::")

    def _address(self, host: str) -> str:
        named = f"[{host}]" if ":" in host else host
        return f"http://{named}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # said by `wait`
            self._error = error
        finally:
            self._ended.set()

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        for connection in list(self._server.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()
        await asyncio.sleep(0)  # transports close in the loop's next turn


def _filled(html: bytes, page: Page) -> bytes:
    """The page with its description in it."""
    text, count = _SLOT.subn(lambda found: found[1] + embeddable(page) + found[3], html.decode("utf-8"))
    if count != 1:
        raise RuntimeError(f'index.html must hold one <script type="application/json" id="page">; it holds {count}')
    return text.encode("utf-8")


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens at the host's first free port from `port` on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host {host} is no name or address that is known here; try 127.0.0.1 or 0.0.0.0") from None
    for number in [0] if port == 0 else range(port, min(port + TRIES, 65536)):
        found = socket.socket(family, kind, protocol)
        try:
            # Windows lets others take a port over unless told not to; elsewhere a port just left is free at once
            exclusive = sys.platform == "win32"
            option = getattr(socket, "SO_EXCLUSIVEADDRUSE", 0) if exclusive else socket.SO_REUSEADDR
            found.setsockopt(socket.SOL_SOCKET, option, 1)
            if address[0] == "::":  # all addresses: Windows would leave out those of IPv4
                found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            found.bind((address[0], number, *address[2:]))
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            if error.errno == errno.EADDRINUSE or (exclusive and error.errno == errno.EACCES):
                continue
            raise InputError(_unheard(host, number, error)) from None
    raise InputError(f"no port from {port} to {min(port + TRIES, 65536) - 1} is free at {host}; give another --port")


def _unheard(host: str, port: int, error: OSError) -> str:
    """The sentence for a port that cannot be listened at."""
    advice = "give another --host or --port"
    if error.errno == errno.EADDRNOTAVAIL:
        advice = "--host must be an address of this machine, such as 127.0.0.1 or 0.0.0.0"
    elif error.errno == errno.EACCES and port < PRIVILEGED:
        advice = f"ports below {PRIVILEGED} are the system's, give another --port, such as {PORT}"
    return f"cannot listen at {host}, port {port}: {error.strerror or error}; {advice}"


def _own_address() -> str:
    """This machine's address in its network, or its name; no packet is sent to find out."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address kept for documentation: only the way there is looked up
        return str(probe.getsockname()[0])
    return socket.gethostname()
