"""Train a new run: `charrnn.train`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.errors import SettingsError
from charrnn.model.config import REGULARISERS, ModelConfig
from charrnn.runs.choice import Circumstances, choose, requested
from charrnn.settings import make
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.training.config import TrainingConfig, fit
from charrnn.training.events import EndEvent, Observer, ReadingEvent

if TYPE_CHECKING:
    from charrnn.checkpoint.model_file import SavedModel
    from charrnn.text.entries import Progress
    from charrnn.text.vocabulary import Vocabulary

# numpy and torch are imported where they are needed, so that a mistake in the settings is reported
# at once.


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
    parent = None if init_from is None else _read_parent(init_from, runs)
    if parent is not None and (model is None or isinstance(model, Mapping)):
        model = make(ModelConfig, asdict(parent.config) | dict(model or {}))
    request = requested(model or {}, training or {}, preset)
    config = with_absolute_val_text(_corpus_config(corpus_config, parent))
    if parent is not None:
        _check_same_architecture(request.model, config, parent)
    from charrnn.checkpoint.lifecycle import claimed_new, new_run

    if run is not None:
        new_run(runs, run, run)  # reports a name that is taken before the corpus is read
    import torch

    from charrnn.catalog.corpora import Catalog
    from charrnn.catalog.survey import path_or_none, sources
    from charrnn.model.device import resolve_device
    from charrnn.runs.execute import execute
    from charrnn.runs.memory import products_per_second
    from charrnn.runs.plan import RunPlan
    from charrnn.text.encoded import check_length, encode_corpus
    from charrnn.training.context import ExecutionContext

    with with_progress(observers, progress=progress) as everyone:
        where = resolve_device(device)
        context = ExecutionContext(where, threads or torch.get_num_threads(), stop=stop)
        encoded = encode_corpus(
            sources(corpus),
            config,
            Catalog(corpora_dir),
            None if parent is None else parent.vocabulary,
            cache_dir=path_or_none(cache_dir),
            on_progress=reading_events(everyone),
        )
        check_length(encoded, config)
        notices = []
        if parent is not None:
            notices.append(_parent_notice(parent.vocabulary, encoded.vocabulary, str(init_from)))
        lanes, steps = fit(
            len(encoded.train), request.training.batch_size, request.training.seq_length
        )
        symbols = len(encoded.vocabulary)
        rate = partial(products_per_second, symbols, where, context.threads)
        choice = choose(request, Circumstances(len(encoded.train), symbols, lanes, steps, rate))
        plan = RunPlan(
            corpus=encoded,
            corpus_config=config,
            model=choice.model,
            training=choice.training.resolved(),
            lanes=lanes,
            steps=steps,
            chosen=choice.chosen,
        )
        with claimed_new(runs, run, encoded.name) as claim:
            end = execute(
                plan,
                context,
                claim,
                weights=None if parent is None else parent.weights,
                notices=notices,
                observers=everyone,
            )
    return TrainingResult(claim.run.name, claim.run.path, end)


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


def reading_events(observers: Sequence[Observer]) -> "Progress":
    """Return a function that reports the reading of a corpus to observers."""

    def report(what: str, done: int, total: int) -> None:
        for observer in observers:
            observer(ReadingEvent(what, done, total))

    return report


def _read_parent(model: str | Path, checkpoint_dir: Path) -> "SavedModel":
    from charrnn.checkpoint.model_file import read_model
    from charrnn.checkpoint.store import find_checkpoint

    return read_model(find_checkpoint(model, checkpoint_dir, None, "best"))


def _corpus_config(
    given: CorpusConfig | Mapping[str, Any] | None, parent: "SavedModel | None"
) -> CorpusConfig:
    """Return how the corpus is read; by default as that of the model to start from was."""
    if isinstance(given, CorpusConfig):
        return given
    inherited = {} if parent is None else asdict(parent.corpus_config.inherited())
    return make(CorpusConfig, inherited | dict(given or {}))


def with_absolute_val_text(config: CorpusConfig) -> CorpusConfig:
    """Make the path of a validation text absolute, so that another folder finds it."""
    if config.val_text is None or not os.path.lexists(config.val_text):  # or a corpus's name
        return config
    return replace(config, val_text=str(Path(config.val_text).absolute()))


def _check_same_architecture(
    model: ModelConfig, config: CorpusConfig, parent: "SavedModel"
) -> None:
    if config.unit != parent.vocabulary.unit:
        raise SettingsError(
            f"`unit={config.unit}`: the model to start from reads {parent.vocabulary.unit}s"
        )
    wanted, has = (asdict(c) | dict.fromkeys(REGULARISERS) for c in (model, parent.config))
    if wanted != has:
        key = next(k for k in has if wanted[k] != has[k])
        raise SettingsError(
            f"`{key}={wanted[key]}`: the model to start from has {has[key]}, and its architecture "
            f"cannot change; leave `{key}` out"
        )


def _parent_notice(base: "Vocabulary", vocabulary: "Vocabulary", parent: str) -> str:
    added = [s or "unknown" for s in vocabulary.symbols[len(base) :]]
    if not added:
        return f"starting from {parent}, whose vocabulary covers the corpus"
    shown = " ".join(s if s.isprintable() else ascii(s)[1:-1] for s in added[:20])
    more = f" and {len(added) - 20:,} more" if len(added) > 20 else ""
    return (
        f"starting from {parent}; {len(added):,} characters are new to it and start untrained: "
        f"{shown}{more}"
    )
