"""Public corpora: the list, and downloads from a server that also misbehaves."""

import contextlib
import gc
import hashlib
import io
import json
import os
import re
import socket
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from typer.testing import CliRunner

from charrnn.catalog import download
from charrnn.catalog.corpora import Catalog
from charrnn.catalog.download import fetch
from charrnn.catalog.names import CORPORA, PUBLIC_CORPORA, PublicCorpus
from charrnn.cli.app import app
from charrnn.errors import CorpusError
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, encode_corpus

NAME, FILE = "river", "river.txt"
# Longer than what is written to disk at a time, and not a multiple of it.
CONTENT = b"The river does not know its name.\n" * 211
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# pooch leaves the connections of failed downloads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Answer = Callable[[BaseHTTPRequestHandler], None]


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


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    gc.collect()  # collects the sockets of failed downloads while warnings are off


@pytest.fixture
def publish(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PublicCorpus]:
    """List a corpus that the site serves as /FILE, and set the answer for it."""

    def put(answer: Answer, sha256: str | None = SHA256, **fields: Any) -> PublicCorpus:
        file = fields.pop("file", FILE)
        values = {"url": f"{site.address}/{file}", "sha256": sha256} | fields
        corpus = PublicCorpus(
            NAME, "a test", file=file, source="https://example.org", licence="CC0", **values
        )
        monkeypatch.setitem(PUBLIC_CORPORA, NAME, corpus)
        site.answers[f"/{file}"] = answer
        return corpus

    return put


Publish = Callable[..., PublicCorpus]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for corpora, which fetch creates."""
    return tmp_path / "corpora"


def left(folder: Path) -> list[str]:
    """Return the names of everything in a folder, including hidden files."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_verified_file_is_kept(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    path = fetch(NAME, folder)
    assert path == folder.resolve() / FILE
    assert path.read_bytes() == CONTENT
    assert left(folder) == [FILE]


def test_progress_ends_at_the_total_size(
    publish: Publish, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1_000)
    publish(send(CONTENT))
    seen: list[tuple[int, int]] = []
    fetch(NAME, folder, on_progress=lambda *of: seen.append(of))
    done = [so_far for so_far, _ in seen]
    assert {total for _, total in seen} == {len(CONTENT)}
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == len(CONTENT)


def test_an_existing_file_is_not_fetched_again(site: Site, publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    assert fetch(NAME, folder) == fetch(NAME, folder)
    assert site.asked == [f"/{FILE}"]


def test_a_file_saved_by_hand_is_accepted(site: Site, publish: Publish, folder: Path) -> None:
    """The message of a failed download suggests this."""
    publish(status(500))
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT)
    assert fetch(NAME, folder).read_bytes() == CONTENT
    assert site.asked == []


def test_an_existing_wrong_file_is_replaced(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    folder.mkdir()
    (folder / FILE).write_bytes(CONTENT[:100])
    assert fetch(NAME, folder).read_bytes() == CONTENT
    assert left(folder) == [FILE]


def test_a_file_with_another_hash_is_refused(publish: Publish, folder: Path) -> None:
    corpus = publish(send(b"<html>please log in</html>"))
    with pytest.raises(CorpusError, match="`unverified`") as caught:
        fetch(NAME, folder)
    assert corpus.url in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    assert left(folder) == []


def test_unverified_accepts_a_file_with_another_hash(publish: Publish, folder: Path) -> None:
    publish(send(b"a newer edition"))
    assert fetch(NAME, folder, unverified=True).read_bytes() == b"a newer edition"
    assert left(folder) == [FILE]


def test_a_file_without_a_known_hash_is_accepted(publish: Publish, folder: Path) -> None:
    publish(send(b"whatever it is"), sha256=None)
    assert fetch(NAME, folder).read_bytes() == b"whatever it is"


def test_a_redirect_is_followed(site: Site, publish: Publish, folder: Path) -> None:
    publish(redirect("/elsewhere"))
    site.answers["/elsewhere"] = send(CONTENT)
    assert fetch(NAME, folder).read_bytes() == CONTENT
    assert site.asked == [f"/{FILE}", "/elsewhere"]


FAILURES = {
    "404": (status(404), "404"),
    "500": (status(500), "500"),
    "a redirect in a circle": (redirect(f"/{FILE}"), "redirects endlessly"),
    "an interruption": (cut(CONTENT), "interrupted"),
    "an interrupted chunk": (cut_in_a_chunk, "interrupted"),
    "silence": (hang_up, "connection .* interrupted"),
}


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["known hash", "no hash"])
@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_failed_download_helps_and_leaves_nothing(
    answer: Answer, reason: str, sha256: str | None, publish: Publish, folder: Path
) -> None:
    corpus = publish(answer, sha256)
    with pytest.raises(CorpusError, match=reason) as caught:
        fetch(NAME, folder)
    assert_helps(caught.value, corpus, folder)
    assert left(folder) == []


def test_an_unreachable_server_is_reported(publish: Publish, folder: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening, so no one else gets the port
        corpus = publish(hang_up, url=f"http://127.0.0.1:{closed.getsockname()[1]}/{FILE}")
        with pytest.raises(CorpusError, match="connection to the server failed") as caught:
            fetch(NAME, folder)
    assert_helps(caught.value, corpus, folder)
    assert left(folder) == []


def test_a_server_that_never_answers_is_reported(
    publish: Publish, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = threading.Event()

    def wait(_request: BaseHTTPRequestHandler) -> None:
        finished.wait(timeout=30)

    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.1)
    corpus = publish(wait)
    try:
        with pytest.raises(CorpusError, match="did not answer within") as caught:
            fetch(NAME, folder)
    finally:
        finished.set()
    assert_helps(caught.value, corpus, folder)
    assert left(folder) == []


def assert_helps(error: CorpusError, corpus: PublicCorpus, folder: Path) -> None:
    """Check that a message is short and explains how to get the file by hand."""
    message = str(error)
    assert len(message.splitlines()) <= 2
    assert corpus.url in message
    assert str(folder / corpus.file) in message


def test_an_interrupted_download_starts_over(site: Site, publish: Publish, folder: Path) -> None:
    publish(cut(CONTENT))
    with pytest.raises(CorpusError):
        fetch(NAME, folder)
    site.answers[f"/{FILE}"] = send(CONTENT)
    assert fetch(NAME, folder).read_bytes() == CONTENT
    assert left(folder) == [FILE]


@pytest.mark.parametrize("answer", [cut(CONTENT), status(404), send(b"wrong")])
def test_a_failed_download_changes_no_existing_file(
    answer: Answer, publish: Publish, folder: Path
) -> None:
    """Neither another corpus nor an old version of this one."""
    publish(answer)
    folder.mkdir()
    (folder / FILE).write_bytes(b"an older edition")
    (folder / "other.txt").write_bytes(b"another")
    with pytest.raises(CorpusError):
        fetch(NAME, folder)
    assert left(folder) == ["other.txt", FILE]
    assert (folder / FILE).read_bytes() == b"an older edition"


def test_an_interrupted_download_leaves_nothing(
    publish: Publish, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK_BYTES", 1_000)
    publish(send(CONTENT))
    seen: list[int] = []

    def stop(done: int, _total: int) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(NAME, folder, on_progress=stop)
    assert 0 < seen[0] < len(CONTENT)
    assert left(folder) == []


def test_an_unknown_name_is_refused(folder: Path) -> None:
    with pytest.raises(CorpusError, match="'no-such-corpus'; list them with: charrnn corpora"):
        fetch("no-such-corpus", folder)
    assert not folder.exists()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_blocking_the_folder_is_reported(below: str, publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    folder.write_bytes(b"a file")
    with pytest.raises(CorpusError, match="cannot be written") as caught:
        fetch(NAME, folder / below)
    assert str(folder / below) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert folder.read_bytes() == b"a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_reported(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    folder.mkdir(mode=0o500)
    with pytest.raises(CorpusError, match="cannot be written") as caught:
        fetch(NAME, folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_entries_of_the_list_are_valid() -> None:
    for name, corpus in PUBLIC_CORPORA.items():
        assert name == corpus.name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert urlsplit(corpus.url).scheme in {"http", "https"}
        assert urlsplit(corpus.url).netloc
        assert urlsplit(corpus.source).scheme in {"http", "https"}
        assert corpus.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", corpus.sha256)
        assert corpus.bytes is None or corpus.bytes > 0
        assert re.fullmatch(r"\w[\w.-]*", corpus.file), "a plain name without a folder"
        assert corpus.licence.strip()
        assert corpus.description.strip()


def test_corpora_share_no_names_files_or_addresses() -> None:
    assert not CORPORA.keys() & PUBLIC_CORPORA.keys()
    known = PUBLIC_CORPORA.values()
    assert len({corpus.file.lower() for corpus in known}) == len(known)
    assert len({corpus.url for corpus in known}) == len(known)
    assert len({corpus.sha256 or corpus.name for corpus in known}) == len(known)


Pack = Callable[[dict[str, bytes]], bytes]


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


ARCHIVES = pytest.mark.parametrize(
    ("file", "pack"), [("river.zip", zipped), ("river.tar.gz", tarred)], ids=["zip", "tar.gz"]
)


def text_of(corpus: EncodedCorpus) -> str:
    return corpus.vocabulary.decode(np.concatenate([corpus.train[:], corpus.val[:]]).tolist())


@ARCHIVES
def test_matching_members_become_documents(
    file: str, pack: Pack, publish: Publish, folder: Path, tmp_path: Path
) -> None:
    packed = pack(
        {
            "set/poems/one.txt": b"first poem\n",
            "set/README.md": b"about the poems\n",
            "set/poems/two.txt": "zweites Gedicht: schön\n".encode(),
            "set/cover.png": b"\x89PNG\0\0",
        }
    )
    publish(send(packed), hashlib.sha256(packed).hexdigest(), file=file, glob="*.txt")
    fetch(NAME, folder)
    corpus = encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=tmp_path / "cache")
    assert text_of(corpus) == "first poem\nzweites Gedicht: schön\n"
    assert corpus.documents == 2
    assert (corpus.name, corpus.sources) == (NAME, (NAME,))


@ARCHIVES
def test_archives_are_never_extracted(
    file: str,
    pack: Pack,
    publish: Publish,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither beside the archive, nor in a parent folder, nor at an absolute path."""
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    absolute = tmp_path / "absolute.txt"
    packed = pack(
        {
            "plain.txt": b"a plain member\n",
            "../../evil.txt": b"an evil member\n",
            "x/../../../evil.txt": b"an evil member\n",
            str(absolute): b"an absolute member\n",
        }
    )
    publish(send(packed), hashlib.sha256(packed).hexdigest(), file=file, glob="*.txt")
    cache = tmp_path / "cache"
    fetch(NAME, folder)
    corpus = encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=cache)
    assert text_of(corpus) == "a plain member\n" + 2 * "an evil member\n" + "an absolute member\n"
    written = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(cache)]
    assert written == [folder / file]
    assert not [p for p in cache.rglob("*") if p.suffix == ".txt"]


def test_a_missing_corpus_explains_how_to_fetch_it(
    publish: Publish, folder: Path, tmp_path: Path
) -> None:
    publish(send(CONTENT))
    with pytest.raises(CorpusError, match=f"charrnn corpora fetch {NAME}, or save http"):
        encode_corpus((NAME,), CorpusConfig(), Catalog(folder), cache_dir=tmp_path / "cache")


def listed(folder: Path) -> dict[str, Any]:
    """Return what `charrnn corpora --json` prints about the corpus."""
    result = CliRunner().invoke(app, ["corpora", "--json", "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = next(c for c in json.loads(result.stdout) if c["name"] == NAME)
    return found


def test_the_command_downloads_a_corpus(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    assert listed(folder)["where"] == "to fetch"
    result = CliRunner().invoke(app, ["corpora", "fetch", NAME, "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "its hash is right" in result.stderr
    assert f"charrnn train {NAME}" in result.stderr
    assert listed(folder)["where"] == "fetched"
    assert Path(listed(folder)["file"]).read_bytes() == CONTENT


def test_the_command_reports_an_unchecked_hash(publish: Publish, folder: Path) -> None:
    publish(send(b"a newer edition"))
    arguments = ["corpora", "fetch", NAME, "--unverified", "--corpora-dir", str(folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "not checked" in result.stderr


@pytest.mark.parametrize("answer", [cut(CONTENT), status(404), send(b"wrong")])
def test_a_failing_command_prints_one_error(answer: Answer, publish: Publish, folder: Path) -> None:
    publish(answer)
    result = CliRunner().invoke(app, ["corpora", "fetch", NAME, "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]+\n", result.stderr)
    assert left(folder) == []
    assert listed(folder)["where"] == "to fetch"


def test_the_command_refuses_unknown_names(folder: Path) -> None:
    result = CliRunner().invoke(app, ["corpora", "fetch", "atlantis", "--corpora-dir", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"error: [^\n]*'atlantis'[^\n]+\n", result.stderr)


def test_unverified_replaces_an_existing_file(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    folder.mkdir()
    (folder / FILE).write_bytes(b"an older edition")
    assert fetch(NAME, folder, unverified=True).read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions on Windows")
def test_fetched_files_have_the_permissions_of_the_umask(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    before = os.umask(0o022)
    try:
        assert fetch(NAME, folder).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_folder_blocking_the_file_is_reported(publish: Publish, folder: Path) -> None:
    publish(send(CONTENT))
    (folder / FILE).mkdir(parents=True)
    with pytest.raises(CorpusError, match="cannot be written"):
        fetch(NAME, folder)
    assert left(folder) == [FILE]
