"""Fixtures for tests that download corpora from a local server."""

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.catalog.names import PUBLIC_CORPORA, PublicCorpus
from tests.catalog.site import FILE, NAME, SHA256, Answer, Site


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for corpora, which fetch creates."""
    return tmp_path / "corpora"
