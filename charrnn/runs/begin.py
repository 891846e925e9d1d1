"""A new run from its corpus to its end, once its settings are checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.lifecycle import claimed_new
from charrnn.checkpoint.store import Run
from charrnn.model.device import resolve_device
from charrnn.runs.choice import Circumstances, Requested, choose
from charrnn.runs.execute import execute
from charrnn.runs.memory import products_per_second
from charrnn.runs.parent import Parent
from charrnn.runs.plan import RunPlan
from charrnn.runs.watching import reading_events
from charrnn.settings import MAX_THREADS, check_threads
from charrnn.text.advice import advice
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, check_length, encode_corpus
from charrnn.training.config import fit
from charrnn.training.context import ExecutionContext
from charrnn.training.events import EndEvent, Observer


@dataclass(frozen=True)
class Basis:
    """What new runs on one text share. parent: the model they start from, if any."""

    corpus: EncodedCorpus
    corpus_config: CorpusConfig
    parent: Parent | None
    checkpoint_dir: Path


def execution_context(
    device: str, threads: int | None, stop: Callable[[], bool]
) -> ExecutionContext:
    """Return where to execute. threads: None for torch's own choice.

    Raises DeviceError, and SettingsError for more threads than a checkpoint may record.
    """
    threads = min(torch.get_num_threads(), MAX_THREADS) if threads is None else threads
    check_threads(threads)
    return ExecutionContext(resolve_device(device), threads, stop=stop)


def read_basis(
    sources: tuple[str, ...],
    config: CorpusConfig,
    parent: Parent | None,
    checkpoint_dir: Path,
    places: CorpusPlaces,
    observers: Sequence[Observer],
) -> Basis:
    """Encode the corpus of new runs. Raises CharrnnError."""
    corpus = encode_corpus(
        sources,
        config,
        Catalog(places.corpora_dir),
        None if parent is None else parent.model.vocabulary,
        cache_dir=places.cache_dir,
        on_progress=reading_events(observers),
    )
    check_length(corpus, config)
    return Basis(corpus, config, parent, checkpoint_dir)


def begin(
    basis: Basis,
    request: Requested,
    name: str | None,
    context: ExecutionContext,
    observers: Sequence[Observer],
) -> tuple[Run, EndEvent]:
    """Choose what is not given, and train a new run. Raises CharrnnError.

    name: None to use that of the corpus.
    """
    corpus, parent = basis.corpus, basis.parent
    plan = _plan(basis, request, context)
    notices = [] if parent is None else [parent.notice(corpus.vocabulary)]
    with claimed_new(basis.checkpoint_dir, name, corpus.name) as claim:
        end = execute(
            plan,
            context,
            claim,
            weights=None if parent is None else parent.model.weights,
            notices=[*notices, *advice(corpus, basis.corpus_config)],
            observers=observers,
        )
    return claim.run, end


def _plan(basis: Basis, request: Requested, context: ExecutionContext) -> RunPlan:
    corpus = basis.corpus
    symbols = len(corpus.vocabulary)
    rate = partial(products_per_second, symbols, context.device, context.threads)
    choice = choose(request, Circumstances(len(corpus.train), symbols, rate))
    training = choice.training
    lanes, steps = fit(len(corpus.train), training.batch_size, training.seq_length)
    return RunPlan(
        corpus=corpus,
        corpus_config=basis.corpus_config,
        model=choice.model,
        training=training.resolved(),
        lanes=lanes,
        steps=steps,
        chosen=choice.chosen,
    )
