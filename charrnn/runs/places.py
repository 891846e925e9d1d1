"""Where runs and corpora are kept, and who is told of a run."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.text.config import CorpusConfig
from charrnn.training.events import Observer, ReadingEvent


@dataclass(frozen=True)
class Places:
    """The folders of all runs, of encoded corpora (None: the user's cache) and of fetched ones."""

    checkpoint_dir: Path
    cache_dir: Path | None
    corpora_dir: Path

    @staticmethod
    def of(
        checkpoint_dir: str | Path, cache_dir: str | Path | None, corpora_dir: str | Path
    ) -> "Places":
        """Take folders as text or paths."""
        cache = None if cache_dir is None else Path(cache_dir)
        return Places(Path(checkpoint_dir), cache, Path(corpora_dir))


@contextmanager
def with_progress(
    observers: Sequence[Observer], *, progress: bool
) -> Iterator[tuple[Observer, ...]]:
    """Yield the observers, and with progress a live bar that is closed at the end."""
    if not progress:
        yield tuple(observers)
        return
    from charrnn.render.progress import ProgressBar

    with closing(ProgressBar()) as bar:
        yield (*observers, bar)


def reading_events(observers: Sequence[Observer]) -> Callable[[str, int, int], None]:
    """Return a function that reports the reading of a corpus to observers."""

    def report(what: str, done: int, total: int) -> None:
        for observer in observers:
            observer(ReadingEvent(what, done, total))

    return report


def with_absolute_val_text(config: CorpusConfig) -> CorpusConfig:
    """Make the path of a validation text absolute, so that another folder finds it."""
    if config.val_text is None or not os.path.lexists(config.val_text):  # or a corpus's name
        return config
    return replace(config, val_text=str(Path(config.val_text).absolute()))
