"""Progress bars on stderr, drawn with tqdm. If stderr is not a terminal, nothing is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from charrnn.render.terminal import harmless, takes_unicode
from charrnn.render.wording import WORTH_A_BAR


class Progress:
    """A bar for work whose size is known; call it with how much is done, and of how much."""

    def __init__(self, label: str, quiet: bool, unit: str = "") -> None:
        self._bar: Any = None
        self._label = label
        self._unit = unit
        self._shown = not quiet and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=total or None,
                desc=self._label,
                unit=self._unit,
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
                ascii=not takes_unicode(sys.stderr),
            )
        self._bar.update(done - self._bar.n)
        if 0 < total <= done:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def bars(quiet: bool, unit: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows one bar per label, given the label, the done and the total."""
    shown: dict[str, Progress] = {}

    def show(label: str, done: int, total: int) -> None:
        shown.setdefault(label, Progress(harmless(label), quiet, unit))(done, total)

    try:
        yield show
    finally:
        for bar in shown.values():
            bar.close()


@contextmanager
def reading(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows how far a large corpus is checked or encoded, in bytes."""
    with bars(quiet, "B") as bar:

        def show(what: str, done: int, total: int) -> None:
            if total >= WORTH_A_BAR:
                bar(f"{what} the corpus", done, total)

        yield show
