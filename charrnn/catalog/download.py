"""Download public corpora into a folder."""

import difflib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from charrnn.catalog.names import CORPORA, PUBLIC_CORPORA, PublicCorpus
from charrnn.errors import CorpusError

TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16
_TEMPORARY = ".fetch-"


class _Progress:
    """Passes pooch's progress on. pooch sets `total` first, to 0 if the size is unknown."""

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
    """Download a public corpus, unless it is already there; return its file.

    A failed download leaves nothing behind and does not change what was there before.
    unverified: accept the file even if its hash is wrong.
    on_progress: called with the bytes done and the total, which is 0 if unknown.
    Raises CorpusError for an unknown name and if the download fails.
    """
    if name not in PUBLIC_CORPORA:
        if name in CORPORA:
            raise CorpusError(f"{name} is built in; train on it with: charrnn train {name}")
        close = difflib.get_close_matches(name, PUBLIC_CORPORA, n=1)
        hint = f"did you mean {close[0]}?" if close else "list them with: charrnn corpora"
        raise CorpusError(f"no public corpus is called {name!r}; {hint}")
    corpus = PUBLIC_CORPORA[name]
    path = folder / corpus.file
    try:
        if path.is_file() and not unverified and _is_verified(path, corpus):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder) as temporary:
            found = _download(corpus, path, Path(temporary).absolute(), on_progress)
            if not unverified and not _is_verified(found, corpus):
                raise CorpusError(
                    f"{corpus.url}: the file was discarded because its SHA-256 is not the expected "
                    "one; if a new version was published, accept it with `unverified`"
                )
            found.chmod(0o666 & ~_umask())  # pooch makes it readable only by its owner
            found.replace(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror or error})") from error
    return path


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed downloads left behind more than a day ago."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):  # another process has removed it
            if time.time() - path.stat().st_mtime > 24 * 3600:
                shutil.rmtree(path, ignore_errors=True)


def _is_verified(path: Path, corpus: PublicCorpus) -> bool:
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
            f"{corpus.name} could not be downloaded: {_reason(error)}; try again later, or save "
            f"{corpus.url} as {path} yourself"
        ) from error
    return Path(found)


def _reason(error: Exception) -> str:
    import requests

    match error:
        case requests.HTTPError(response=response) if response is not None:
            return f"the server answered {response.status_code} {response.reason}"
        case requests.TooManyRedirects():
            return "the server redirects endlessly"
        case requests.Timeout():
            return f"the server did not answer within {TIMEOUT_SECONDS} seconds"
        case requests.exceptions.SSLError():
            return "the server's certificate could not be verified"
        case requests.exceptions.ProxyError():
            return "the configured proxy refused the connection"
        case requests.ConnectionError():
            return "the connection to the server failed or was interrupted"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection was interrupted"
        case _:
            return f"the server sent an invalid answer ({type(error).__name__})"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
