"""What train and resume share: who watches a run, and where its validation text is."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from charrnn.text.config import CorpusConfig
from charrnn.training.events import Observer, ReadingEvent


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
