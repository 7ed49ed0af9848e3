"""Requests to those that our own pages make: to this host, from this origin, with the token where there is one."""

import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback", "own_names"]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'{sockets}",
        "worker-src 'self'",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FORBIDDEN = 403
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


class Guard:
    """An ASGI application around another: refuses what its pages would not ask for, and adds headers to every answer.

    A foreign Host is that of a page whose name was bound to this machine's address (DNS rebinding); a foreign Origin
    is that of another site's script. names: hosts that are ours, without port. token: when given, a request needs it,
    once as `?token=`, from then on as the cookie that this sets.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], token: str | None = None, cookie: str = "sfumato") -> None:
        self._app, self._names, self._token, self._cookie = app, frozenset(names), token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(MutableHeaders(scope=message), host, fresh)
            await send(message)

        refusal, fresh = self._judge(scope, headers, host)
        if refusal is None:
            await self._app(scope, receive, sending)
        elif scope["type"] == "websocket":
            await send(
                {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": bytes(refusal.body).decode()[:120]}
            )
        else:
            await refusal(scope, receive, sending)

    def _judge(self, scope: Scope, headers: Headers, host: str) -> tuple[PlainTextResponse | None, bool]:
        """What is answered instead, or None; and whether the token came in the URL."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This viewer is only looked at.\n", 405, {"Allow": "GET, HEAD"}), False
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return _refused(f"This viewer answers to {' or '.join(sorted(self._names))} only."), False
        origins = [origin.lower() for origin in headers.getlist("origin")]
        if any(origin not in (f"http://{host}", f"https://{host}") for origin in origins):
            return _refused("This viewer answers to its own pages only."), False
        if self._token is None:
            return None, False
        fresh = self._matches(dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", ""))
        if fresh or self._matches(HTTPConnection(scope).cookies.get(self._cookie, "")):
            return None, fresh
        return _refused("This viewer needs the token: open the whole address that `sfumato` printed."), False

    def _is_ours(self, host: str) -> bool:
        """With a token also any address in numbers, which no name can be bound to."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]")
        return name in self._names or (self._token is not None and _address(name) is not None)

    def _matches(self, word: str) -> bool:
        return secrets.compare_digest(word.encode(), (self._token or "").encode())

    def _dress(self, headers: MutableHeaders, host: str, fresh: bool) -> None:
        # Safari before 15.4 does not count ws: of the same host as 'self'; policies cannot name IPv6 addresses
        named = bool(_HOST.fullmatch(host)) and not host.startswith("[")
        headers["Content-Security-Policy"] = POLICY.format(sockets=f" ws://{host}" if named else "")
        for name, value in HEADERS.items():
            headers[name] = value
        headers.setdefault("Cache-Control", "no-cache")
        if fresh:
            headers.append("Set-Cookie", f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/")


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine reaches."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def own_names(host: str) -> set[str]:
    """The hosts, lower case and without port, that a server listening at `host` is called by."""
    if is_loopback(host):
        return {"localhost", "127.0.0.1", "::1", host.lower()}
    name = socket.gethostname().lower()
    return {"localhost", host.lower(), name, f"{name}.local"}


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _refused(sentence: str) -> PlainTextResponse:
    return PlainTextResponse(sentence + "\n", FORBIDDEN)
