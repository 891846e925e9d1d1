"""A local server that publishes a corpus, and that also misbehaves on demand."""

import contextlib
import hashlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from charrnn.catalog.names import PublicCorpus

NAME, FILE = "river", "river.txt"
# Longer than what is written to disk at a time, and not a multiple of it.
CONTENT = b"The river does not know its name.\n" * 211
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Answer = Callable[[BaseHTTPRequestHandler], None]
Publish = Callable[..., PublicCorpus]


class Site(HTTPServer):
    """A local server. answers: how it answers, by path; asked: the paths requested so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        self.server.asked.append(self.path)
        with contextlib.suppress(ConnectionError):  # the client may hang up early
            self.server.answers.get(self.path, status(404))(self)

    def log_message(self, *_arguments: object) -> None:
        pass


def send(content: bytes, *, code: int = 200, size: int | None = None, **headers: str) -> Answer:
    """Answer with some content. size: the size to announce, if it is not the true one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(content) if size is None else size))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def status(code: int) -> Answer:
    return send(b"<p>not what you want</p>", code=code)


def redirect(where: str) -> Answer:
    return send(b"", code=302, Location=where)


def cut(content: bytes) -> Answer:
    """Announce all of it, send half of it, and hang up."""
    return send(content[: len(content) // 2], size=len(content))


def cut_in_a_chunk(request: BaseHTTPRequestHandler) -> None:
    """Announce a chunk, send half of it, and hang up."""
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(f"{len(CONTENT):x}\r\n".encode() + CONTENT[: len(CONTENT) // 2])
    request.close_connection = True


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Do not answer at all."""


def left(folder: Path) -> list[str]:
    """Return the names of everything in a folder, including hidden files."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
