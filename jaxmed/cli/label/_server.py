"""The server of the page: this computer alone, and nobody without the address that it tells."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from jaxmed.cli.label._answers import Answers, Conflict
from jaxmed.cli.label._pictures import Pictures, png

HOST = "127.0.0.1"
_LARGEST = 2**14  # Bytes of an answer.
# Digits, then letters but z, which takes back, and c, which shows the next channel.
KEYS = "1234567890abdefghijklmnopqrstuvwxy"


class Labelling(NamedTuple):
    """What is labelled on the page.

    Attributes:
        answers: of the person.
        pictures: the images, by their place among those asked for.
        names: of the cases.
        classes: names of the classes.
        show_names: whether cases are named on the page.
        table: where labels are written, in words.
    """

    answers: Answers
    pictures: Pictures
    names: tuple[str, ...]
    classes: tuple[str, ...]
    show_names: bool
    table: str


class Server(ThreadingHTTPServer):
    """Serves one labelling on 127.0.0.1, at an address that holds a secret.

    A page of another site can make a browser send requests here, and a name of its own lead here.
    So the secret is asked for in every path, the name that a browser believes to talk to (``Host``)
    must be this computer's, and what changes anything must come from the page itself (``Origin``).
    """

    daemon_threads = True

    def __init__(self, labelling: Labelling, port: int = 0):
        """Take a port, 0 for any that is free.

        Raises:
            OSError: it is taken.
        """
        super().__init__((HOST, port), _Handler)
        self.labelling = labelling
        self.secret = secrets.token_urlsafe(18)
        here = self.server_address[1]
        self.hosts = {f"{name}:{here}" for name in (HOST, "localhost")}
        self.address = f"http://{HOST}:{here}/{self.secret}/"

    def end(self) -> None:
        """Leave `serve_forever`, from any thread, once the present answer is sent."""
        threading.Thread(target=self.shutdown, daemon=True).start()


class _Refused(Exception):
    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "jaxmed", ""

    def do_GET(self) -> None:
        def answer() -> None:
            path, query = self._checked()
            if path == "":
                self._page()
            elif path == "state":
                self._send(self._state())
            elif path == "image":
                self._image(query)
            else:
                raise _Refused(404, "there is no such page")

        self._guarded(answer)

    def do_POST(self) -> None:
        def answer() -> None:
            path, _ = self._checked(writes=True)
            asked, answers = self._body(), self.server.labelling.answers
            if path == "label":
                answers.label(_whole(asked, "case"), _text(asked, "label"))
            elif path == "skip":
                answers.skip(_whole(asked, "case"))
            elif path == "undo":
                answers.undo()
            elif path == "finish":
                self._send(self._state())
                return self.server.end()
            else:
                raise _Refused(404, "there is no such page")
            self._send(self._state())

        self._guarded(answer)

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except _Refused as error:
            self.close_connection = True  # what was sent with it was perhaps not read
            self._send({"error": str(error)}, error.status)
        except Conflict as error:
            self._send({"error": str(error), **self._state()}, 409)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page was left: nobody to tell
        except (OSError, ValueError) as error:
            self._send({"error": str(error) or type(error).__name__}, 500)

    def _checked(self, *, writes: bool = False) -> tuple[str, dict[str, list[str]]]:
        """The path behind the secret, and the query, of a request that may be answered."""
        hosts, parts = self.headers.get_all("Host", []), urlsplit(self.path)
        # A request may name its host a second time, or in its path.
        if len(hosts) != 1 or {*hosts, parts.netloc or hosts[0]} - self.server.hosts:
            raise _Refused(403, "this server answers its own computer only")
        own = {f"http://{host}" for host in self.server.hosts}
        if {*self.headers.get_all("Origin", [])} - own:
            raise _Refused(403, "this server answers its own page only")
        if {*self.headers.get_all("Sec-Fetch-Site", [])} - {"none", "same-origin"}:
            raise _Refused(403, "this server answers its own page only")
        secret, _, path = parts.path.lstrip("/").partition("/")
        if not hmac.compare_digest(secret.encode(), self.server.secret.encode()):
            raise _Refused(403, "the address is not the one that `jaxmed label` told")
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if writes and kind != "application/json":
            raise _Refused(415, "an answer is sent as application/json")
        return path, parse_qs(parts.query)

    def _body(self) -> dict[str, Any]:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _Refused(411, "an answer says how long it is") from None
        if not 0 <= length <= _LARGEST:
            raise _Refused(413, f"an answer has at most {_LARGEST} bytes")
        try:
            found = json.loads(self.rfile.read(length) or b"{}")
        except (ValueError, RecursionError):
            raise _Refused(400, "an answer is a JSON object") from None
        if not isinstance(found, dict):
            raise _Refused(400, "an answer is a JSON object")
        return found

    def _state(self) -> dict[str, Any]:
        labelling = self.server.labelling
        found = labelling.answers.progress()
        state: dict[str, Any] = found._asdict()
        state["table"] = labelling.table
        if found.case is not None:
            state["name"] = labelling.names[found.case] if labelling.show_names else ""
            try:
                picture = labelling.pictures[found.case]
            except (OSError, ValueError) as error:  # the file is damaged: put it off, label on
                return {**state, "error": str(error), "slices": 0, "channels": 0, "aspect": 1}
            state |= {
                "slices": picture.slices, "channels": picture.channels, "aspect": picture.aspect,
                "width": picture.planes.shape[2], "height": picture.planes.shape[1],
            }  # fmt: skip
        return state

    def _image(self, query: dict[str, list[str]]) -> None:
        numbers = []
        for name in ("case", "slice", "channel"):
            text = query.get(name, ["0"])[0]
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise _Refused(400, f"{name} is a number")
            numbers.append(int(text))
        case, plane, channel = numbers
        if case >= len(self.server.labelling.names):
            raise _Refused(404, f"there is no case {case}")
        try:
            content = png(self.server.labelling.pictures[case], plane, channel)
        except IndexError as error:
            raise _Refused(404, str(error)) from None
        self._send(content, kind="image/png")

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        classes = [
            {"key": key, "name": name}
            for key, name in zip(KEYS, self.server.labelling.classes, strict=False)
        ]
        # Within a script "</" would end it, whatever a class is called.
        text = json.dumps(classes).replace("<", "\\u003c")
        page = resources.files("jaxmed.cli.label").joinpath("page.html").read_text("utf-8")
        page = page.replace("{{nonce}}", nonce).replace("{{classes}}", text)
        self._send(page.encode(), kind="text/html; charset=utf-8", nonce=nonce)

    def _send(
        self,
        content: bytes | dict[str, Any],
        status: int = 200,
        kind: str = "application/json",
        nonce: str = "",
    ) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        source = f"'nonce-{nonce}'" if nonce else "'none'"
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                f"default-src 'none'; script-src {source}; style-src {source}; connect-src 'self'; "
                "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: addresses hold the secret."""


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Refused(400, f"{name} is a whole number, got {value!r}")
    return value


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str):
        raise _Refused(400, f"{name} is a text, got {value!r}")
    return value
