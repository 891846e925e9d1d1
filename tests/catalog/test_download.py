"""Public corpora: the list, and downloads from a server that also misbehaves."""

import os
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from charrnn.catalog import download
from charrnn.catalog.download import fetch
from charrnn.catalog.names import CORPORA, PUBLIC_CORPORA, PublicCorpus
from charrnn.errors import CorpusError
from tests.catalog.site import (
    CONTENT,
    FILE,
    NAME,
    SHA256,
    Answer,
    Publish,
    Site,
    cut,
    cut_in_a_chunk,
    hang_up,
    left,
    redirect,
    send,
    status,
)

# pooch leaves the connections of failed downloads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


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
