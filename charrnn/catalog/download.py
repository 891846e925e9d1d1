"""Public corpora, downloaded into a folder."""

import difflib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from charrnn.catalog.names import CORPORA, PUBLIC_CORPORA, PublicCorpus
from charrnn.errors import CorpusError

TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16
_TEMPORARY = ".fetch-"


class _Progress:
    """What pooch tells of a download, passed on; it sets `total` first, to 0 where unknown."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self.total = 0
        self._done = 0
        self._on_progress = on_progress

    def update(self, count: int) -> None:
        self._done += count
        self._on_progress(min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def fetch(
    name: str,
    folder: Path,
    *,
    unverified: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Download a public corpus, unless it is there already; returns its file.

    A download that does not end well leaves nothing behind, and what was there stays.
    unverified: take what is at the address now, whatever its hash. on_progress: called with the
    bytes so far and in all, 0 where unknown. Raises CorpusError for an unknown name, and with a way
    out where the download fails.
    """
    if name not in PUBLIC_CORPORA:
        if name in CORPORA:
            raise CorpusError(f"{name} is built in: charrnn train {name}")
        close = difflib.get_close_matches(name, PUBLIC_CORPORA, n=1)
        hint = f"did you mean {close[0]}?" if close else "charrnn corpora lists them"
        raise CorpusError(f"no public corpus is called {name!r}; {hint}")
    corpus = PUBLIC_CORPORA[name]
    path = folder / corpus.file
    try:
        if path.is_file() and not unverified and _is_right(path, corpus):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left_overs(folder)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder) as temporary:
            found = _download(corpus, path, Path(temporary).absolute(), on_progress)
            if not unverified and not _is_right(found, corpus):
                raise CorpusError(
                    f"{corpus.url}: not the file that charrnn knows, its SHA-256 is another; it "
                    "was not kept. It may have been published anew: `unverified` takes it as it is"
                )
            found.chmod(0o666 & ~_umask())  # pooch gives it to its owner alone
            found.replace(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _remove_left_overs(folder: Path) -> None:
    """Remove what downloads that were killed have left, a day after."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        if time.time() - path.stat().st_mtime > 24 * 3600:
            shutil.rmtree(path, ignore_errors=True)


def _is_right(path: Path, corpus: PublicCorpus) -> bool:
    if corpus.sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == corpus.sha256


def _download(
    corpus: PublicCorpus, path: Path, temporary: Path, on_progress: Callable[[int, int], None]
) -> Path:
    import pooch
    import requests
    import urllib3

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(
        progressbar=_Progress(on_progress),
        chunk_size=_CHUNK_BYTES,
        timeout=TIMEOUT_SECONDS,
        headers={"User-Agent": "charrnn", "Accept-Encoding": "identity"},
    )
    try:
        found = pooch.retrieve(corpus.url, None, corpus.file, temporary, downloader=downloader)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        response = getattr(error, "response", None)
        if response is not None:
            response.close()
        raise CorpusError(
            f"{corpus.name} could not be downloaded: {_reason(error)}. Get {corpus.url} in another "
            f"way and save it as {path}"
        ) from error
    return Path(found)


def _reason(error: Exception) -> str:
    import requests

    match error:
        case requests.HTTPError(response=response) if response is not None:
            return f"the server answered {response.status_code} {response.reason}"
        case requests.TooManyRedirects():
            return "the server redirects without end"
        case requests.Timeout():
            return f"no answer within {TIMEOUT_SECONDS} seconds"
        case requests.exceptions.SSLError():
            return "the server's certificate could not be verified"
        case requests.exceptions.ProxyError():
            return "the proxy that is set does not pass it on"
        case requests.ConnectionError():
            return "there is no connection to the server, or it was cut"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection was cut"
        case _:
            return f"the server's answer makes no sense ({type(error).__name__})"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
