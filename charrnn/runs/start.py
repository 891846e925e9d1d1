"""Train a new run: `charrnn.train`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.errors import SettingsError
from charrnn.model.config import ModelConfig
from charrnn.runs.choice import Requested, requested
from charrnn.runs.watching import with_absolute_val_text, with_progress
from charrnn.settings import make
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Observer
from charrnn.training.group import ALONE, Group

if TYPE_CHECKING:
    from charrnn.runs.parent import Parent


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
    group: Group = ALONE,
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
    device: auto, cpu, cuda or mps. threads: of the CPU; by default as many as are fastest
    in a short measurement, and one for a small model.
    progress: show a live bar, in a terminal or a notebook.
    observers: called with each event (charrnn.events).
    stop: asked after each step; once it returns True the run is saved and ends.
    group: the processes that train the run together, see charrnn.training.processes; all of them
    call this function with the same arguments.
    Raises CharrnnError.
    """
    runs = Path(checkpoint_dir)
    parent, config = origin(init_from, corpus_config, runs)
    request = request_for(parent, config, model, training, preset)
    # numpy and torch are imported now, when no mistake in the settings is left to be reported.
    from charrnn.catalog.survey import sources
    from charrnn.checkpoint.lifecycle import new_run
    from charrnn.runs.begin import begin, read_basis
    from charrnn.runs.threads import computing_on

    places = CorpusPlaces.of(cache_dir, corpora_dir)
    with with_progress(observers, progress=progress) as everyone:
        computing = computing_on(device, threads, stop, group)
        if run is not None:  # a name that is taken: say so before the corpus is read
            group.from_first(lambda: new_run(runs, run, run))
        found = sources(corpus)
        if group.size > 1 and "-" in found:
            raise SettingsError("several processes cannot read one stdin; write the text to a file")
        # The first process encodes the corpus, and the others find it in the cache.
        basis = group.in_turn(lambda: read_basis(found, config, parent, runs, places, everyone))
        own, end = begin(basis, request, run, computing, everyone)
    return TrainingResult(own.name, own.path, end)


def origin(
    init_from: str | Path | None,
    corpus_config: CorpusConfig | Mapping[str, Any] | None,
    checkpoint_dir: Path,
) -> "tuple[Parent | None, CorpusConfig]":
    """Return the model that new runs start from, if any, and how their corpus is read."""
    parent, inherited = None, {}
    if init_from is not None:
        from charrnn.runs.parent import read_parent

        parent = read_parent(init_from, checkpoint_dir)
        inherited = parent.corpus_settings()
    if not isinstance(corpus_config, CorpusConfig):
        corpus_config = make(CorpusConfig, inherited | dict(corpus_config or {}))
    return parent, with_absolute_val_text(corpus_config)


def request_for(
    parent: "Parent | None",
    config: CorpusConfig,
    model: ModelConfig | Mapping[str, Any] | None,
    training: TrainingConfig | Mapping[str, Any] | None,
    preset: str | None,
) -> Requested:
    """Check the settings of a new run, without numpy and torch. Raises SettingsError."""
    if parent is not None:
        model = parent.model_settings(model)
    request = requested(model or {}, training or {}, preset)
    if parent is not None:
        parent.check(request.model, config)
        # A high rate would lose what the parent has learned.
        request = replace(request, free=request.free - {"learning_rate"})
    return request
