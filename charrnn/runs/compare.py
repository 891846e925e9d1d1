"""Runs side by side: what each cost, and what it reached on its validation text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.layout import CHECKPOINT_DIR
from charrnn.checkpoint.manifest import CorpusRecord, Manifest
from charrnn.checkpoint.store import Run, find_checkpoint, find_run, saved_runs
from charrnn.errors import CheckpointError, CorpusError, RunError
from charrnn.model.config import ModelConfig
from charrnn.models import Model, load
from charrnn.runs.curves import Curve, read_curve
from charrnn.settings import LARGEST
from charrnn.text.config import CORPORA_DIR, CorpusConfig

if TYPE_CHECKING:
    from charrnn.evaluation.score import Evaluation

CONTEXT = 256
UNEQUAL = 2  # times as many symbols
_NAMED = 3  # runs on different corpora

# What may keep one run from being scored; the others are scored all the same.
_OF_ONE_RUN = (RunError, CheckpointError, CorpusError, OSError)


@dataclass(frozen=True)
class Comparison:
    """A run beside others. Unknown figures are None, and `problem` says why.

    model, corpus, corpus_config: of the run as it was last saved. steps, symbols, seconds: how much
    the run was trained, in optimizer steps, characters (bytes, for byte models) and training time.
    best_step, val_loss: of the best checkpoint; the loss is the one that training logged, in nats
    per symbol, on val_symbols symbols: at the end of the run, or else when it was saved.
    carried, fresh: that checkpoint on the whole validation part of its run, with carried state, and
    with a fresh state every so many symbols; None unless the runs were evaluated.
    """

    run: Run
    model: ModelConfig | None = None
    corpus_config: CorpusConfig | None = None
    corpus: CorpusRecord | None = None
    parameters: int | None = None
    steps: int | None = None
    symbols: int | None = None
    seconds: float | None = None
    best_step: int | None = None
    val_loss: float | None = None
    val_symbols: int | None = None
    carried: "Evaluation | None" = None
    fresh: "Evaluation | None" = None
    curve: Curve = field(default_factory=Curve)
    problem: str | None = None

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.name


def compare(
    models: Sequence[str | Path] = (),
    *,
    checkpoint_dir: str | Path = CHECKPOINT_DIR,
    evaluate: bool = False,
    context: int = CONTEXT,
    device: str = "auto",
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    corpora_dir: str | Path = CORPORA_DIR,
    notice: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> list[Comparison]:
    """Compare runs, in the order given; by default all runs in a folder, the newest first.

    models: names or folders of runs. evaluate: whether to score each on its whole validation part,
    which takes a while; otherwise everything comes from logs and manifests, at once.
    context: the symbols after which the state is fresh, in the second of the two scores.
    notice: called with what the user should know: what is not known of a run, and whether the
    figures are of different texts. on_progress: called with what is being scored, and the symbols
    done and in all. device, threads, cache_dir, corpora_dir: see `Model.evaluate`.
    Raises RunError if there is no such run, and DeviceError.
    """
    folder = Path(checkpoint_dir)
    runs = [_find(model, folder) for model in models] if models else saved_runs(folder, notice)
    rows = []
    for run in dict.fromkeys(runs):
        row, model = _facts(run, notice, weights=evaluate)
        if evaluate and model is not None:
            try:
                _check_validation(model, cache_dir, corpora_dir)
                score = partial(
                    model.evaluate,
                    device=device,
                    threads=threads,
                    cache_dir=cache_dir,
                    corpora_dir=corpora_dir,
                )
                carried, fresh = (
                    partial(on_progress, f"{run.name}, {how}") for how in ("carried", "fresh")
                )
                row = replace(row, carried=score(on_progress=carried))
                row = replace(row, fresh=score(context=context, on_progress=fresh))
            except _OF_ONE_RUN as error:
                row = _with_problem(row, error)
        if row.problem is not None:
            notice(f"{run.name}: {row.problem}")
        rows.append(row)
    for message in _differences(rows) or ([] if evaluate else _lengths(rows)):
        notice(message)
    return rows


def _find(model: str | Path, folder: Path) -> Run:
    run = find_run(model, folder)
    if run is None:
        path = find_checkpoint(model, folder, None, "best")  # raises RunError if there is none
        raise RunError(f"{model} is a single checkpoint ({path.parent.name}); name its run")
    return run


def _facts(
    run: Run, notice: Callable[[str], None], *, weights: bool
) -> tuple[Comparison, Model | None]:
    """Return what is known of a run without scoring it, and its best model if that was read."""
    row = Comparison(run)
    try:
        curve = read_curve(run.log)
        row = replace(row, curve=curve, parameters=curve.parameters)
    except OSError as error:
        row = _with_problem(row, f"its log cannot be read ({error.strerror or error})")
    try:
        if not run.checkpoints:
            raise CheckpointError("no checkpoint of it can be read; charrnn info `verify` says why")
        row = _of_manifests(row, run.latest.manifest, run.best.manifest)
        if not weights and row.parameters is not None:
            return row, None
        model = load(run.path.absolute(), notice=notice)
    except _OF_ONE_RUN as error:
        return _with_problem(row, error), None
    row = replace(row, parameters=model.parameters)
    if (read := model.manifest) is not None:  # a better one, if the run is still training
        row = _with_loss(row, read)
    return row, model


def _of_manifests(row: Comparison, latest: Manifest, best: Manifest) -> Comparison:
    row = replace(
        row,
        model=latest.model,
        corpus_config=latest.corpus_config,
        corpus=latest.corpus,
        steps=latest.step,
        symbols=row.curve.seen(latest.step),
        seconds=_number(latest.trainer.get("seconds")),
    )
    return _with_loss(row, best)


def _with_loss(row: Comparison, best: Manifest) -> Comparison:
    """Add the logged loss of the best checkpoint: the one on most symbols."""
    full = row.curve.full
    if full is not None and full.step == best.step:
        return replace(row, best_step=best.step, val_loss=full.loss, val_symbols=full.symbols)
    symbols = None if best.val_loss is None else row.curve.evaluated
    return replace(row, best_step=best.step, val_loss=best.val_loss, val_symbols=symbols)


def _check_validation(model: Model, cache_dir: str | Path | None, corpora_dir: str | Path) -> None:
    if len(model.corpora.learned(CorpusPlaces.of(cache_dir, corpora_dir)).val) < 2:
        raise RunError("it has no validation part to score it on")


def _with_problem(row: Comparison, error: Exception | str) -> Comparison:
    """Add a problem, in one line."""
    line = str(error).partition("\n")[0]
    return replace(row, problem=line if row.problem is None else f"{row.problem}; {line}")


def _differences(rows: Sequence[Comparison]) -> list[str]:
    """Return what makes the figures of the runs hard to compare."""
    learned = [
        (row, row.corpus, row.corpus_config) for row in rows if row.corpus and row.corpus_config
    ]
    one_each = {corpus.sha256: f"{row.name}: {corpus.name}" for row, corpus, _ in learned[::-1]}
    if len(one_each) > 1:
        names = ", ".join([*one_each.values()][: -_NAMED - 1 : -1])
        names += ", ..." if len(one_each) > _NAMED else ""
        return [
            f"the runs were trained on different corpora ({names}); each is scored on its own, so "
            "their figures are not comparable"
        ]
    held_out = {(t.val_fraction, t.val_text, t.split_documents) for _, _, t in learned}
    if len(held_out) > 1:
        return ["the runs hold out different parts of their corpus; each is scored on its own part"]
    return []


def _lengths(rows: Sequence[Comparison]) -> list[str]:
    """Say so if the logged losses are of much less of the validation part for some runs."""
    symbols = [row.val_symbols for row in rows if row.val_symbols]
    units = {row.corpus_config.unit for row in rows if row.corpus_config}
    if len(units) != 1 or not symbols or max(symbols) < UNEQUAL * min(symbols):
        return []
    unit = "bytes" if units == {"byte"} else "characters"
    return [
        f"these losses were logged on {min(symbols):,} to {max(symbols):,} {unit}, so small "
        "differences say little; to score the whole validation parts: charrnn compare --eval"
    ]


def _number(value: Any) -> float | None:
    """Return a value of a checkpoint if it is a number, which nothing else has checked."""
    if type(value) in (int, float) and 0 <= value <= LARGEST:
        return float(value)
    return None
