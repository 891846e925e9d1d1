"""A new run from its corpus to its end, once its settings are checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.lifecycle import claimed_new, new_run
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
class NewRun:
    """What a new run is made of. runs: the folder of all. name: None to use that of the corpus."""

    sources: tuple[str, ...]
    corpus_config: CorpusConfig
    request: Requested
    parent: Parent | None
    runs: Path
    name: str | None


def execution_context(
    device: str, threads: int | None, stop: Callable[[], bool]
) -> ExecutionContext:
    """Return where to execute. threads: None for torch's own choice.

    Raises DeviceError, and SettingsError for more threads than a checkpoint may record.
    """
    threads = min(torch.get_num_threads(), MAX_THREADS) if threads is None else threads
    check_threads(threads)
    return ExecutionContext(resolve_device(device), threads, stop=stop)


def begin(
    new: NewRun, places: CorpusPlaces, context: ExecutionContext, observers: Sequence[Observer]
) -> tuple[Run, EndEvent]:
    """Encode the corpus, choose what is not given, and train. Raises CharrnnError."""
    if new.name is not None:
        new_run(new.runs, new.name, new.name)  # a name that is taken: say so first
    parent = new.parent
    corpus = encode_corpus(
        new.sources,
        new.corpus_config,
        Catalog(places.corpora_dir),
        None if parent is None else parent.model.vocabulary,
        cache_dir=places.cache_dir,
        on_progress=reading_events(observers),
    )
    check_length(corpus, new.corpus_config)
    plan = _plan(corpus, new, context)
    notices = [] if parent is None else [parent.notice(corpus.vocabulary)]
    with claimed_new(new.runs, new.name, corpus.name) as claim:
        end = execute(
            plan,
            context,
            claim,
            weights=None if parent is None else parent.model.weights,
            notices=[*notices, *advice(corpus, new.corpus_config)],
            observers=observers,
        )
    return claim.run, end


def _plan(corpus: EncodedCorpus, new: NewRun, context: ExecutionContext) -> RunPlan:
    asked = new.request.training
    lanes, steps = fit(len(corpus.train), asked.batch_size, asked.seq_length)
    symbols = len(corpus.vocabulary)
    rate = partial(products_per_second, symbols, context.device, context.threads)
    circumstances = Circumstances(len(corpus.train), symbols, lanes, steps, rate)
    choice = choose(new.request, circumstances)
    return RunPlan(
        corpus=corpus,
        corpus_config=new.corpus_config,
        model=choice.model,
        training=choice.training.resolved(),
        lanes=lanes,
        steps=steps,
        chosen=choice.chosen,
    )
