"""Train a new run: `charrnn.train`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.model.config import ModelConfig
from charrnn.runs.choice import requested
from charrnn.runs.watching import with_absolute_val_text, with_progress
from charrnn.settings import make
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Observer


@dataclass(frozen=True)
class TrainingResult:
    """A run that ended, or stopped for now.

    run: its name. folder: its path. end: the last event, which has the best loss.
    """

    run: str
    folder: Path
    end: EndEvent


def train(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    corpus_config: CorpusConfig | Mapping[str, Any] | None = None,
    model: ModelConfig | Mapping[str, Any] | None = None,
    training: TrainingConfig | Mapping[str, Any] | None = None,
    preset: str | None = None,
    run: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    init_from: str | Path | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = False,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a new run.

    corpus: paths, patterns or names of corpora, "-" for stdin; the built-in one by default.
    corpus_config: how the corpus is read: settings, or names and values of some.
    model, training: settings, or names and values of some. Size, dropout and length of the run are
    then chosen unless they are among them, see charrnn.runs.choice.
    preset: fast, balanced or best: how much work to choose for; by default as much as there is time
    for in the minutes given, or else balanced.
    run: the run's name; by default that of the corpus. checkpoint_dir: the folder of all runs.
    init_from: fine-tune the weights and vocabulary of this MODEL (see `load`); `model` may then
    change only its dropout settings, and `corpus_config` must be of its unit.
    cache_dir: the folder of encoded corpora; by default the user's cache folder.
    corpora_dir: the folder of fetched corpora.
    device: auto, cpu, cuda or mps. threads: of the CPU; by default torch's own choice.
    progress: show a live bar, in a terminal or a notebook.
    observers: called with each event (charrnn.events).
    stop: asked after each step; once it returns True the run is saved and ends.
    Raises CharrnnError.
    """
    runs = Path(checkpoint_dir)
    parent, inherited = None, {}
    if init_from is not None:
        from charrnn.runs.parent import read_parent

        parent = read_parent(init_from, runs)
        model, inherited = parent.model_settings(model), parent.corpus_settings()
    request = requested(model or {}, training or {}, preset)
    if not isinstance(corpus_config, CorpusConfig):
        corpus_config = make(CorpusConfig, inherited | dict(corpus_config or {}))
    config = with_absolute_val_text(corpus_config)
    if parent is not None:
        parent.check(request.model, config)
    # numpy and torch are imported now, when no mistake in the settings is left to be reported.
    from charrnn.catalog.survey import sources
    from charrnn.runs.begin import NewRun, begin, execution_context

    places = CorpusPlaces.of(cache_dir, corpora_dir)
    new = NewRun(sources(corpus), config, request, parent, runs, run)
    with with_progress(observers, progress=progress) as everyone:
        own, end = begin(new, places, execution_context(device, threads, stop), everyone)
    return TrainingResult(own.name, own.path, end)
