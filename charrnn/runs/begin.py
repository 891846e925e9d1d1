"""A new run from its corpus to its end, once its settings are checked."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from charrnn.catalog.corpora import Catalog
from charrnn.catalog.places import CorpusPlaces
from charrnn.checkpoint.lifecycle import claimed_new
from charrnn.checkpoint.store import Run
from charrnn.errors import SettingsError
from charrnn.model.config import ModelConfig
from charrnn.runs.choice import Circumstances, Requested, choose
from charrnn.runs.execute import execute
from charrnn.runs.memory import products_per_second
from charrnn.runs.parent import Parent
from charrnn.runs.plan import RunPlan
from charrnn.runs.threads import Computing, thread_notices, trial_text
from charrnn.runs.watching import reading_events
from charrnn.text.advice import advice
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus, check_length, encode_corpus
from charrnn.training.config import SHARDS, TrainingConfig
from charrnn.training.events import EndEvent, Observer
from charrnn.training.threads import ThreadChoice

# Products of weights from which on a run takes long enough to measure how long, and the time of a
# run as a multiple of that of its steps.
WORTH_MEASURING, OTHER_WORK = 3e11, 1.1


@dataclass(frozen=True)
class Basis:
    """What new runs on one text share. parent: the model they start from, if any."""

    corpus: EncodedCorpus
    corpus_config: CorpusConfig
    parent: Parent | None
    checkpoint_dir: Path

    @cached_property
    def advice(self) -> list[str]:
        """What the shape of the text suggests."""
        return advice(self.corpus, self.corpus_config)


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
    computing: Computing,
    observers: Sequence[Observer],
) -> tuple[Run, EndEvent]:
    """Choose what is not given, and train a new run. Raises CharrnnError.

    name: None to use that of the corpus.
    """
    corpus, parent, group = basis.corpus, basis.parent, computing.group
    computing.check_alike(basis.corpus.sha256, basis.corpus_config, request)
    decided = group.from_first(lambda: _decide(basis, request, computing))
    plan = RunPlan(corpus, basis.corpus_config, *decided[:-1])
    threads = decided[-1]
    notices = thread_notices(threads)
    if parent is not None:
        notices.append(parent.notice(corpus.vocabulary))
    with ExitStack() as stack:
        claim = group.from_first(
            lambda: stack.enter_context(claimed_new(basis.checkpoint_dir, name, corpus.name))
        )
        end = execute(
            plan,
            computing.with_threads(threads.number),
            claim,
            weights=None if parent is None else parent.model.weights,
            notices=[*notices, *basis.advice],
            observers=observers,
        )
    return claim.run, end


def _decide(
    basis: Basis, request: Requested, computing: Computing
) -> tuple[ModelConfig, TrainingConfig, Mapping[str, Any], float | None, ThreadChoice]:
    """Choose what is not given, see RunPlan for the first four.

    The time a run has is worth what the fastest threads of all its processes do in it.
    """
    corpus = basis.corpus
    text = trial_text(corpus)

    def rate(model: ModelConfig, training: TrainingConfig) -> float:
        threads = computing.choose_threads(model, training, text).number
        alone = products_per_second(text, computing.device, threads, model, training)
        return computing.group.size * alone

    choice = choose(request, Circumstances(len(corpus.train), len(corpus.vocabulary), rate))
    training = choice.training
    size = computing.group.size
    if training.shards is None and size > 1:
        training = replace(training, shards=max(SHARDS, size))
    if training.shard_count < size:
        raise SettingsError(
            f"`shards={training.shards}`: {size} processes need {size} shards at least"
        )
    plan = RunPlan(
        corpus=corpus,
        corpus_config=basis.corpus_config,
        model=choice.model,
        training=training.resolved(),
        chosen=choice.chosen,
    )
    threads = computing.choose_threads(plan.model, plan.fitted, text)
    seconds = [] if training.minutes is None else [60 * training.minutes]
    if plan.products < math.inf and (seconds or plan.products > WORTH_MEASURING):
        # The speed that was measured for the choice is that of another size.
        device, number = computing.device, threads.number
        speed = products_per_second(text, device, number, plan.model, plan.fitted)
        seconds.append(OTHER_WORK * plan.products / (speed * computing.group.size))
    return plan.model, plan.training, plan.chosen, min(seconds, default=None), threads
