"""Public corpora, downloaded into a folder."""

from collections.abc import Callable
from pathlib import Path

from charrnn.errors import CorpusError
from charrnn.text.catalog import PUBLIC, PublicCorpus

TIMEOUT_SECONDS = 30


class _Progress:
    """What pooch tells of a download, passed on."""

    def __init__(self, on_progress: Callable[[int, int], None]) -> None:
        self.total = 0
        self._done = 0
        self._on_progress = on_progress

    def update(self, count: int) -> None:
        self._done += count
        self._on_progress(min(self._done, self.total), self.total)

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

    A download that does not end well leaves nothing behind. unverified: take what is at the address
    now, whatever its hash. on_progress: called with the bytes so far and in all, 0 where unknown.
    Raises CorpusError for an unknown name, and with a way out where the download fails.
    """
    if name not in PUBLIC:
        raise CorpusError(f"no public corpus is called {name!r}; charrnn corpora lists them")
    corpus = PUBLIC[name]
    import pooch
    import requests
    import urllib3

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(
        progressbar=_Progress(on_progress),
        timeout=TIMEOUT_SECONDS,
        headers={"User-Agent": "charrnn"},
    )
    known = corpus.sha256 if corpus.sha256 and not unverified else None
    try:
        path = pooch.retrieve(corpus.url, known, corpus.file, folder, downloader=downloader)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise CorpusError(_by_hand(corpus, folder, _reason(error))) from error
    except ValueError as error:  # pooch's word for a hash that differs
        raise CorpusError(
            f"{corpus.url}: not the file that charrnn knows, its SHA-256 is another; it was not "
            "kept. It may have been published anew: --unverified takes it as it is"
        ) from error
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return Path(path)


def _by_hand(corpus: PublicCorpus, folder: Path, reason: str) -> str:
    return (
        f"{corpus.name} could not be downloaded: {reason}. Get {corpus.url} in another way and "
        f"save it as {folder / corpus.file}"
    )


def _reason(error: Exception) -> str:
    import requests

    match error:
        case requests.HTTPError(response=response) if response is not None:
            return f"the server answered {response.status_code} {response.reason}"
        case requests.TooManyRedirects():
            return "the server redirects without end"
        case requests.Timeout():
            return f"no answer within {TIMEOUT_SECONDS} seconds"
        case requests.ConnectionError():
            return "there is no connection to the server, or it was cut"
        case _:
            return "the connection was cut"
