"""Training, as functions. `import charrnn` offers these; see charrnn/__init__.py.

torch is imported where a function needs it, so that `import charrnn` answers at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.survey import path_or_none, sources
from charrnn.checkpoint.corpus import same_corpus
from charrnn.checkpoint.format import Manifest, Saved, SavedModel, read_checkpoint, read_model
from charrnn.checkpoint.layout import CHECKPOINT_DIR, MANIFEST_FILE, STEP_FOLDER
from charrnn.checkpoint.store import Run, find_checkpoint, find_run
from charrnn.checkpoint.upkeep import claimed, claimed_new, new_run
from charrnn.errors import CheckpointError, RunError, SettingsError
from charrnn.model.config import REGULARISERS, ModelConfig
from charrnn.runs.choice import Circumstances, check_choice, choose
from charrnn.settings import make
from charrnn.text.config import CORPORA_DIR, CorpusConfig
from charrnn.text.encoded import check_length, encode_corpus
from charrnn.text.entries import Progress
from charrnn.text.vocabulary import Vocabulary
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Observer, ReadingEvent
from charrnn.training.progress import check_values


@dataclass(frozen=True)
class TrainingResult:
    """A run that ended, or stopped for now.

    run: its name. folder: where it is. end: what the trainer said last, with the best loss.
    """

    run: str
    folder: Path
    end: EndEvent


def train(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    text: CorpusConfig | None = None,
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
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a new run.

    corpus: paths, patterns or names of corpora, "-" for stdin; none for the built-in one.
    text: settings; the defaults where left out.
    model, training: settings, or names and values of some; size, dropout and length of the run
    are then chosen where they are not among them, see charrnn.runs.choice.
    preset: fast, balanced or best: how much work to choose for; where left out, as much as there
    are minutes for, or else balanced.
    run: the run's name; after the corpus where left out. checkpoint_dir: where runs are kept.
    init_from: a MODEL (see `load`) whose weights and vocabulary to start from; `model` may then
    differ from its configuration in its dropouts alone, and `text` must be of its unit.
    cache_dir: where encoded corpora are kept; the user's cache folder where left out.
    corpora_dir: where fetched corpora are.
    device: auto, cpu, cuda or mps. threads: of the CPU; torch's own choice where left out.
    observers: called with each event (charrnn.training.events).
    stop: asked after each step; once it returns True the run is saved and ends.
    Raises CharrnnError.
    """
    check_choice({} if init_from else model or {}, training or {}, preset)
    import torch

    from charrnn.model.device import resolve_device
    from charrnn.runs.execute import Plan, execute, products_per_second

    runs = Path(checkpoint_dir)
    base, weights, notices = None, None, []
    if init_from is not None:
        parent = read_model(find_checkpoint(init_from, runs, None, "best"))
        if model is None or isinstance(model, Mapping):
            model = make(ModelConfig, asdict(parent.config) | dict(model or {}))
        text = text or parent.text.inherited()
        _check_same_architecture(model, text, parent)
        base, weights = parent.vocabulary, parent.weights
    if run is not None:
        new_run(runs, run, run)  # a name that is taken is told before the corpus is read
    text = _absolute(text or CorpusConfig())
    model, training = model or {}, training or {}
    plan_device = resolve_device(device)
    encoded = encode_corpus(
        sources(corpus),
        text,
        Catalog(corpora_dir),
        base,
        cache_dir=path_or_none(cache_dir),
        on_progress=_told_to(observers),
    )
    check_length(encoded, text)
    if base is not None:
        notices.append(_added_notice(base, encoded.vocabulary, str(init_from)))
    threads = threads or torch.get_num_threads()
    symbols = len(encoded.vocabulary)
    rate = partial(products_per_second, symbols, plan_device, threads)
    choice = choose(model, training, Circumstances(len(encoded.train), symbols, preset, rate))
    with claimed_new(runs, run, encoded.name) as (own, check_folder):
        plan = Plan(
            run=own,
            corpus=encoded,
            text=text,
            model=choice.model,
            training=choice.training.resolved(),
            chosen=choice.chosen,
            device=plan_device,
            threads=threads,
            check_folder=check_folder,
        )
        end = execute(plan, weights=weights, notices=notices, observers=observers, stop=stop)
    return TrainingResult(own.name, own.path, end)


def resume(
    model: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    steps: int | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    patience: int | None = None,
    corpus: str | Path | Sequence[str | Path] = (),
    val_text: str | Path | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    device: str = "auto",
    threads: int | None = None,
    force: bool = False,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Go on exactly where a run stopped.

    model, checkpoint: which run, and which of its checkpoints (see `load`); left out, the latest
    one that is sound.
    steps, epochs, minutes: limits in place of the run's own; counted from its beginning.
    corpus, val_text: where these are now, if they were moved.
    cache_dir, corpora_dir: see `train`. What can no longer be read is looked for in the cache.
    threads: as many as the run had where left out.
    force: go on with a corpus that has changed, from its beginning.
    Raises CharrnnError, so where the run is finished or its corpus has changed.
    """
    run = find_run(model, Path(checkpoint_dir))
    chosen = None
    if run is None or checkpoint not in (None, "latest"):
        chosen = find_checkpoint(model, Path(checkpoint_dir), checkpoint, "latest")
        run = _run_of(chosen)
    with claimed(run) as check_folder:
        if chosen is None:
            saved, findings = run.read_latest(_check_training)
        else:
            saved, findings = read_checkpoint(chosen.parent), []
            _check_training(saved)
        manifest = saved.manifest
        training = _raised(manifest, steps=steps, epochs=epochs, minutes=minutes, patience=patience)
        from charrnn.model.device import resolve_device
        from charrnn.runs.execute import Plan, execute

        text = manifest.text
        if val_text is not None:
            text = _absolute(replace(text, val_text=str(val_text)))
        encoded = same_corpus(
            replace(manifest, text=text),
            saved.model.vocabulary,
            sources(corpus),
            cache_dir=path_or_none(cache_dir),
            corpora_dir=Path(corpora_dir),
            force=force,
            on_progress=_told_to(observers),
        )
        plan = Plan(
            run=run,
            corpus=encoded,
            text=text,
            model=manifest.model,
            training=training,
            device=resolve_device(device),
            threads=threads or int(manifest.environment["threads"]),
            check_folder=check_folder,
        )
        end = execute(
            plan,
            saved=saved,
            notices=[f"{error}; going back to step {manifest.step:,}" for error in findings],
            observers=observers,
            stop=stop,
        )
    return TrainingResult(run.name, run.path, end)


def _told_to(observers: Sequence[Observer]) -> Progress:
    def tell(what: str, done: int, total: int) -> None:
        for observer in observers:
            observer(ReadingEvent(what, done, total))

    return tell


def _absolute(text: CorpusConfig) -> CorpusConfig:
    """Store the path of a validation text so that it is found from another folder."""
    if text.val_text is None or not os.path.lexists(text.val_text):  # it may be a corpus's name
        return text
    return replace(text, val_text=str(Path(text.val_text).absolute()))


def _check_same_architecture(model: ModelConfig, text: CorpusConfig, parent: SavedModel) -> None:
    if text.unit != parent.vocabulary.unit:
        raise SettingsError(
            f"`unit={text.unit}`: the model to start from is one of {parent.vocabulary.unit}s"
        )
    wanted, has = (asdict(c) | dict.fromkeys(REGULARISERS) for c in (model, parent.config))
    if wanted != has:
        key = next(k for k in has if wanted[k] != has[k])
        raise SettingsError(
            f"`{key}={wanted[key]}`: the model to start from has {has[key]}, and "
            "its architecture stays; leave the flag out"
        )


def _added_notice(base: Vocabulary, vocabulary: Vocabulary, parent: str) -> str:
    added = [s or "unknown" for s in vocabulary.symbols[len(base) :]]
    if not added:
        return f"starting from {parent}, whose vocabulary covers the corpus"
    shown = " ".join(s if s.isprintable() else ascii(s)[1:-1] for s in added[:20])
    more = f" and {len(added) - 20:,} more" if len(added) > 20 else ""
    return (
        f"starting from {parent}; {len(added):,} characters are new to it and start untrained: "
        f"{shown}{more}"
    )


def _run_of(model: Path) -> Run:
    """Return the run that a model.safetensors is in."""
    folder = model.parent if model.parent.parent.name else model.parent.resolve()
    if not STEP_FOLDER.fullmatch(folder.name) or not (folder / MANIFEST_FILE).is_file():
        raise RunError(
            f"{model} is a model outside of its run; start a new run from it: "
            f"charrnn train `init_from={model}`"
        )
    return Run(folder.parent)


def _check_training(saved: Saved) -> None:
    """Raise CheckpointError where a trainer could not go on with what a manifest says."""
    try:
        make(TrainingConfig, saved.manifest.training)
        check_values(saved.manifest.trainer)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{saved.folder / MANIFEST_FILE}: not a manifest of charrnn ({str(error)[:120]})"
        ) from error


def _raised(manifest: Manifest, **limits: float | None) -> TrainingConfig:
    """Return the run's training settings, with the limits that are given in place of its own."""
    given = {name: value for name, value in limits.items() if value is not None}
    settings = dict(manifest.training)
    if given.keys() & {"steps", "epochs", "minutes"}:
        settings |= {"steps": None, "epochs": None, "minutes": None}
    return make(TrainingConfig, settings | given)
