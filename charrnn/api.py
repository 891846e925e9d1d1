"""What the commands do, as functions. `import charrnn` offers these; see charrnn/__init__.py.

torch is imported where a function needs it, so that what does without it answers at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from charrnn.checkpoint.format import Manifest, SavedModel, read_manifest, read_model, read_trainer
from charrnn.checkpoint.layout import MANIFEST_FILE, MODEL_FILE
from charrnn.checkpoint.store import (
    Run,
    drop_after,
    find_checkpoint,
    find_checkpoints,
    list_runs,
    new_run,
)
from charrnn.errors import CharrnnError, CorpusError, RunError, SettingsError
from charrnn.generation.config import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.text import Generation
from charrnn.model.config import ModelConfig
from charrnn.settings import make
from charrnn.text.config import CorpusConfig
from charrnn.text.corpus import normalise_newlines
from charrnn.text.encoded import EncodedCorpus, encode_corpus
from charrnn.text.vocabulary import Unknown, Vocabulary
from charrnn.training.config import TrainingConfig
from charrnn.training.events import EndEvent, Observer

if TYPE_CHECKING:
    from charrnn.evaluation import Evaluation

CHECKPOINT_DIR = "checkpoints"


@dataclass(frozen=True)
class TrainingResult:
    """A run that ended, or stopped for now.

    run: its name. folder: where it is. end: what the trainer said last, with the best loss.
    """

    run: str
    folder: Path
    end: EndEvent


class Model:
    """A trained model, read from a checkpoint. Writes text in numpy, without torch."""

    def __init__(self, path: Path, saved: SavedModel) -> None:
        """Take what `load` read from a model.safetensors."""
        self.path = path
        self.step = saved.step
        self.config = saved.config
        self.vocabulary = saved.vocabulary
        self.text = saved.text
        self._weights = saved.weights

    def sample(
        self,
        prompt: str = "",
        config: SamplingConfig | None = None,
        *,
        unknown: Unknown = "error",
    ) -> Generation:
        """Write text after a prompt; iterate over the result for its pieces.

        unknown: what becomes of prompt characters that the model does not know: "error" raises
        UnknownCharacterError, "skip" leaves them out, "replace" reads another in their place.
        """
        stepper = Stepper(self._weights, self.config)
        settings = config or SamplingConfig()
        return Generation(stepper, self.vocabulary, settings, self._as_read(prompt), unknown)

    def evaluate(
        self,
        text: str | None = None,
        *,
        context: int | None = None,
        unknown: Unknown = "error",
        device: str = "auto",
        threads: int | None = None,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> "Evaluation":
        """Return the nats, bits and perplexity per character of a text.

        text: None for the validation part of the run that the model is from.
        context: None carries the state through the whole text; a number starts a fresh one every
        so many characters (bytes, for a model of bytes).
        unknown: what becomes of characters that the model does not know; see `sample`.
        on_progress: called with the symbols predicted so far and in all.
        Raises UnknownCharacterError, CorpusError for a text of fewer than two characters, and
        RunError where the run's corpus is no longer there or no longer the same.
        """
        if text is None:
            ids = self._validation_ids()
        else:
            ids = self.vocabulary.encode(self._as_read(text), unknown)
        if len(ids) < 2:
            raise CorpusError("a text of at least 2 characters that the model knows is needed")
        from charrnn.evaluation import evaluation, total_nats
        from charrnn.model.device import resolve_device
        from charrnn.model.language_model import LanguageModel, load_weights

        model = LanguageModel(self.config, len(self.vocabulary))
        load_weights(model, self._weights)
        model.to(resolve_device(device))
        done = 0

        def report(symbols: int) -> None:
            nonlocal done
            done += symbols
            on_progress(done, len(ids) - 1)

        with _torch_threads(threads):
            nats = total_nats(model, ids, context=context, on_progress=report)
        return evaluation(nats, ids[1:], self.vocabulary)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(array.size for array in self._weights.values())

    @property
    def manifest(self) -> Manifest | None:
        """What else its checkpoint says; None for a model.safetensors on its own."""
        try:
            return read_manifest(self.path.parent)
        except ValueError:
            return None

    def _as_read(self, text: str) -> str:
        return text if self.text.keep_newlines else normalise_newlines(text)

    def _validation_ids(self) -> Any:
        manifest = self.manifest
        if manifest is None:
            raise RunError(
                f"{self.path} is a model without its run, so there is no validation text; name one"
            )
        corpus = _same_corpus(manifest, self.vocabulary, None)
        if len(corpus.val) == 0:
            raise RunError("the run has no validation part (--val-fraction 0); name a text")
        return corpus.val


def train(
    corpus: str | Path | Sequence[str | Path] = (),
    *,
    text: CorpusConfig | None = None,
    model: ModelConfig | None = None,
    training: TrainingConfig | None = None,
    run: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    init_from: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train a new run.

    corpus: paths or names of corpora; none for the built-in one.
    text, model, training: settings; the defaults where left out.
    run: the run's name; after the corpus where left out. checkpoint_dir: where runs are kept.
    init_from: a MODEL (see `load`) whose weights and vocabulary to start from; `model` may then
    differ from its configuration in dropout alone.
    device: auto, cpu, cuda or mps. threads: of the CPU; torch's own choice where left out.
    observers: called with each event (charrnn.training.events).
    stop: asked after each step; once it returns True the run is saved and ends.
    Raises CharrnnError.
    """
    import torch

    from charrnn.model.device import resolve_device
    from charrnn.run import Plan, execute

    folder = Path(checkpoint_dir)
    text = _absolute(text or CorpusConfig())
    base, weights, notices = None, None, []
    if init_from is not None:
        parent = read_model(find_checkpoint(init_from, folder, None, "best"))
        model = model or parent.config
        _check_same_architecture(model, text, parent)
        base, weights = parent.vocabulary, parent.weights
    plan_device = resolve_device(device)
    encoded = encode_corpus(_sources(corpus), text, base)
    if base is not None:
        notices.append(_added_notice(base, encoded.vocabulary, str(init_from)))
    plan = Plan(
        run=new_run(folder, run, encoded.name),
        corpus=encoded,
        text=text,
        model=model or ModelConfig(),
        training=training or TrainingConfig(),
        device=plan_device,
        threads=threads or torch.get_num_threads(),
    )
    end = execute(plan, weights=weights, notices=notices, observers=observers, stop=stop)
    return TrainingResult(plan.run.name, plan.run.path, end)


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
    device: str = "auto",
    threads: int | None = None,
    observers: Sequence[Observer] = (),
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Go on exactly where a run stopped.

    model, checkpoint: which run, and which of its checkpoints (see `load`); the latest one.
    steps, epochs, minutes: limits that take the place of the run's own; counted from its beginning.
    corpus: where the corpus is now, if it was moved. threads: as the run had where left out.
    Raises CharrnnError, so where the run is finished or its corpus has changed.
    """
    from charrnn.model.device import resolve_device
    from charrnn.run import Plan, execute
    from charrnn.training.trainer import TrainerState

    found = find_checkpoint(_name(model), Path(checkpoint_dir), checkpoint, "latest")
    if not (found.parent / MANIFEST_FILE).is_file():
        raise RunError(
            f"{found} is a model without its run; start a new run from it: "
            f"charrnn train --init-from {found}"
        )
    manifest, saved = read_manifest(found.parent), read_model(found)
    arrays = read_trainer(found.parent, manifest)
    run = Run(found.parent.parent)
    if not run.name:  # found from within the run's own folder, as "."
        run = Run(found.parent.resolve().parent)
    training = _raised(manifest, steps=steps, epochs=epochs, minutes=minutes, patience=patience)
    encoded = _same_corpus(manifest, saved.vocabulary, _sources(corpus) or None)
    plan = Plan(
        run=run,
        corpus=encoded,
        text=manifest.text,
        model=manifest.model,
        training=training,
        device=resolve_device(device),
        threads=threads or int(manifest.environment["threads"]),
    )
    notices = []
    if dropped := drop_after(run, manifest.step):
        listed = ", ".join(f"{step:,}" for step in dropped)
        notices.append(f"going on from step {manifest.step:,}; dropped the checkpoints of {listed}")
    state = TrainerState(arrays, manifest.trainer)
    end = execute(
        plan, weights=saved.weights, saved=state, notices=notices, observers=observers, stop=stop
    )
    return TrainingResult(run.name, run.path, end)


def load(
    model: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
) -> Model:
    """Read a model.

    model: a run's name, a run's folder, a checkpoint's folder or a model.safetensors; left out,
    the run saved last. checkpoint: latest, best or a step, of a run; left out, the best.
    Raises RunError where there is no such model, CheckpointError where it is damaged.
    """
    path = find_checkpoint(_name(model), Path(checkpoint_dir), checkpoint, "best")
    return Model(path, read_model(path))


def sample(
    model: str | Path | None = None,
    prompt: str = "",
    config: SamplingConfig | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    unknown: Unknown = "error",
) -> Generation:
    """Write text with a model: `load` and `Model.sample` in one."""
    loaded = load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir)
    return loaded.sample(prompt, config, unknown=unknown)


def evaluate(
    model: str | Path | None = None,
    text: str | None = None,
    *,
    checkpoint: str | None = None,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    context: int | None = None,
    unknown: Unknown = "error",
    device: str = "auto",
    threads: int | None = None,
) -> "Evaluation":
    """Score a text, or the run's own validation part: `load` and `Model.evaluate` in one."""
    loaded = load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir)
    return loaded.evaluate(text, context=context, unknown=unknown, device=device, threads=threads)


def runs(checkpoint_dir: str | Path = CHECKPOINT_DIR) -> list[Run]:
    """Return the runs under a folder that have a checkpoint, the one saved last first."""
    return list_runs(Path(checkpoint_dir))


def verify(
    model: str | Path | None = None, *, checkpoint_dir: str | Path = CHECKPOINT_DIR
) -> dict[Path, str | None]:
    """Check every checkpoint of the run that MODEL means, or the one checkpoint that it is.

    Returns each checkpoint's folder with None where it is sound, else with what is wrong in it.
    """
    findings: dict[Path, str | None] = {}
    for folder in find_checkpoints(_name(model), Path(checkpoint_dir)):
        try:
            read_model(folder / MODEL_FILE)
            read_trainer(folder, read_manifest(folder))
            findings[folder] = None
        except CharrnnError as error:
            findings[folder] = str(error)
    return findings


@contextmanager
def blas_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of numpy's matrix products for a while; None leaves them as they are."""
    with threadpool_limits(threads, user_api="blas"):
        yield


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _name(model: str | Path | None) -> str | None:
    return None if model is None else str(model)


def _sources(corpus: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    if isinstance(corpus, str | Path):
        return (str(corpus),)
    return tuple(str(source) for source in corpus)


def _absolute(text: CorpusConfig) -> CorpusConfig:
    """Store the path of a validation text so that it is found from another folder."""
    if text.val_text is None:
        return text
    return replace(text, val_text=str(Path(text.val_text).resolve()))


def _check_same_architecture(model: ModelConfig, text: CorpusConfig, parent: SavedModel) -> None:
    if text.unit != parent.vocabulary.unit:
        raise SettingsError(
            f"--unit {text.unit}: the model to start from is one of {parent.vocabulary.unit}s"
        )
    wanted, has = (asdict(c) | {"dropout": 0} for c in (model, parent.config))
    if wanted != has:
        key = next(k for k in has if wanted[k] != has[k])
        raise SettingsError(
            f"--{key.replace('_', '-')} {wanted[key]}: the model to start from has {has[key]}, and "
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


def _same_corpus(
    manifest: Manifest, vocabulary: Vocabulary, sources: tuple[str, ...] | None
) -> EncodedCorpus:
    """Read a run's corpus again, and make sure that it is the same."""
    record = manifest.corpus
    try:
        corpus = encode_corpus(sources or record.sources, manifest.text, vocabulary)
    except CorpusError as error:
        raise RunError(f"the run's corpus {record.name} cannot be read: {error}") from error
    if corpus.sha256 != record.sha256:
        raise RunError(
            f"the corpus {record.name} is not the one the run learned (its hash differs); bring "
            "the old text back, or start from the run's weights: charrnn train --init-from"
        )
    return corpus


def _raised(manifest: Manifest, **limits: float | None) -> TrainingConfig:
    """Return the run's training settings, with the limits that are given in place of its own."""
    given = {name: value for name, value in limits.items() if value is not None}
    settings = dict(manifest.training)
    if given.keys() & {"steps", "epochs", "minutes"}:
        settings |= {"steps": None, "epochs": None, "minutes": None}
    return make(TrainingConfig, settings | given)
