"""Who is let in: hosts that are ours, our own pages, and whoever has the token."""

from collections.abc import Iterator

import httpx
import pytest
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sfumato.view.guard import Guard, is_loopback, own_names
from sfumato.view.page import Page
from sfumato.view.server import Background, create_app

TOKEN = "a-Token_of-24-letters"


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": b"hello"})


def ask(
    *headers: tuple[str, str], token: str | None = None, host: str = "127.0.0.1", query: str = "", kind: str = "http"
) -> tuple[int, dict[str, str]]:
    """Status and headers that a guard around `hello` answers; 403 for a websocket that is closed."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(dict(message))

    async def receive() -> Message:
        return {"type": "http.request"}

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "method": "GET", "path": "/", "query_string": query.encode(), "headers": raw}
    with pytest.raises(StopIteration):  # nothing here waits, and Playwright keeps a loop of its own in this thread
        Guard(_hello, own_names(host), token, "cookie")(scope, receive, send).send(None)
    if sent[0]["type"] == "websocket.close":
        return 403, {}
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


OURS = ("127.0.0.1:7007", "localhost:7007", "LOCALHOST", "[::1]:7007", "127.0.0.1", "localhost:8000")
FOREIGN = (
    "evil.example",
    "evil.example:7007",
    "127.0.0.1.evil.example",
    "localhost.evil.example:7007",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "192.0.2.1:7007",
    "0.0.0.0:7007",
    "2130706433",
    "127.1",
    "",
    "localhost:7007, evil.example",
    "localhost;script-src *",
    "localhost:port",
    "[::1",
    "é",
)


@pytest.mark.parametrize("host", OURS)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_our_hosts_are_answered(host: str, kind: str) -> None:
    assert ask(("Host", host), kind=kind)[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_foreign_hosts_are_refused(host: str, kind: str) -> None:
    assert ask(("Host", host), kind=kind)[0] == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_one_host_is_needed(kind: str) -> None:
    assert ask(kind=kind)[0] == 403
    assert ask(("Host", "localhost"), ("Host", "evil.example"), kind=kind)[0] == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:7007", 200),
        ("http://LOCALHOST:7007", 200),
        ("https://localhost:7007", 200),  # behind something that encrypts
        ("http://localhost:7008", 403),  # another server on this machine
        ("http://127.0.0.1:7007", 403),
        ("http://localhost", 403),
        ("https://evil.example", 403),
        ("http://localhost:7007.evil.example", 403),
        ("http://evil.example/localhost:7007", 403),
        ("null", 403),
        ("file://", 403),
        ("", 403),
        ("localhost:7007", 403),
    ],
)
def test_only_our_own_pages_ask(kind: str, origin: str, status: int) -> None:
    assert ask(("Host", "localhost:7007"), ("Origin", origin), kind=kind)[0] == status
    assert ask(("Host", "localhost:7007"), ("Origin", origin), ("Origin", "http://x"), kind=kind)[0] == 403


def test_answers_are_dressed_also_when_they_refuse() -> None:
    for host in ("localhost:7007", "evil.example", "localhost;script-src *"):
        _, headers = ask(("Host", host))
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert headers["content-security-policy"].count("script-src") == 1
        assert headers["x-content-type-options"] == "nosniff"
    assert ask(("Host", "localhost"))[1]["cache-control"] == "no-store"  # the application knows better
    assert "ws:" not in ask(("Host", "[::1]:7007"))[1]["content-security-policy"]  # no source can be named so


LATER = ("Cookie", f"other=1; cookie={TOKEN}")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("query", "cookie", "status"),
    [
        ("", None, 403),
        (f"token={TOKEN}", None, 200),
        (f"a=b&token={TOKEN}", None, 200),
        ("", LATER, 200),
        (f"token={TOKEN[:-1]}", None, 403),
        (f"token={TOKEN}x", None, 403),
        ("token=", None, 403),
        ("token", None, 403),
        (f"Token={TOKEN}", None, 403),
        ("token=%ff%00", None, 403),
        (TOKEN, None, 403),
        ("", ("Cookie", f"cookie={TOKEN[:-1]}"), 403),
        ("", ("Cookie", f"other={TOKEN}"), 403),
        ("", ("Cookie", "cookie="), 403),
        ("token=wrong", LATER, 200),  # an old bookmark
    ],
)
def test_the_token_opens(kind: str, query: str, cookie: tuple[str, str] | None, status: int) -> None:
    headers = [("Host", "192.0.2.1:7007"), *([cookie] if cookie else [])]
    assert ask(*headers, token=TOKEN, host="0.0.0.0", query=query, kind=kind)[0] == status


def test_the_token_comes_back_as_a_cookie_that_scripts_cannot_read() -> None:
    _, headers = ask(("Host", "192.0.2.1"), token=TOKEN, host="0.0.0.0", query=f"token={TOKEN}")
    assert headers["set-cookie"] == f"cookie={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    assert "set-cookie" not in ask(("Host", "192.0.2.1"), LATER, token=TOKEN, host="0.0.0.0")[1]
    assert "set-cookie" not in ask(("Host", "192.0.2.1"), token=TOKEN, host="0.0.0.0", query="token=x")[1]


def test_a_token_does_not_let_foreign_sites_in() -> None:
    for headers in (
        [("Host", "evil.example")],
        [("Host", "192.0.2.1"), ("Origin", "http://evil.example")],
    ):
        assert ask(*headers, LATER, token=TOKEN, host="0.0.0.0", query=f"token={TOKEN}")[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "Localhost", "127.0.0.2", "::1"])
def test_what_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)
    assert host.lower() in own_names(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "localhost.example.org"])
def test_what_others_reach_has_a_token(host: str) -> None:
    assert not is_loopback(host)


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def background(request: pytest.FixtureRequest) -> Iterator[Background]:
    """A server for this machine, and one for others."""
    with Background(create_app(Page(""), {}, [WebSocketRoute("/live", _echo)]), request.param, port=0) as found:
        yield found


def test_real_requests(background: Background) -> None:
    with httpx.Client(trust_env=False) as client:
        bare = f"http://127.0.0.1:{background.port}/"
        assert client.get(bare).status_code == (403 if background.token else 200)
        assert client.get(background.url).status_code == 200
        assert client.get(bare).status_code == 200  # the cookie was set
        assert client.get(bare + "style.css").status_code == 200
        assert client.get(bare, headers={"Host": "evil.example"}).status_code == 403
        assert client.get(bare, headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get(bare, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 200
        told = client.get(bare, headers={"Host": "<script>"})
        assert (told.status_code, told.headers["content-type"]) == (403, "text/plain; charset=utf-8")


def test_real_websockets(background: Background) -> None:
    url = background.url.replace("http", "ws").replace("/?", "/live?")
    url = url if background.token else url + "live"
    with connect(url, origin=f"http://127.0.0.1:{background.port}", proxy=None) as socket:  # type: ignore[arg-type]
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
    refused = [(url, "http://evil.example"), (url, "null"), (url, "http://localhost:1")]
    if background.token:
        refused.append((url.split("?")[0], f"http://127.0.0.1:{background.port}"))
    for place, origin in refused:
        with pytest.raises(InvalidStatus) as error, connect(place, origin=origin, proxy=None):  # type: ignore[arg-type]
            pass
        assert error.value.response.status_code == 403


def test_addresses(background: Background) -> None:
    if background.host == "127.0.0.1":
        assert background.token is background.outside is None
        assert background.url == f"http://127.0.0.1:{background.port}/"
    else:
        assert background.token is not None
        assert len(background.token) >= 24
        assert background.url == f"http://127.0.0.1:{background.port}/?token={background.token}"
        assert background.outside is not None
        assert background.outside.endswith(f":{background.port}/?token={background.token}")
