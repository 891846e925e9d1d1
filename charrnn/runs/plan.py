"""Everything that decides a run, apart from where it executes."""

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

import charrnn
from charrnn.checkpoint.manifest import Manifest
from charrnn.errors import counted
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.model.device import precision_name, resolve_precision
from charrnn.text.config import CorpusConfig
from charrnn.text.encoded import EncodedCorpus
from charrnn.training.config import FULL_EVALUATION, TrainingConfig, fit
from charrnn.training.context import ExecutionContext


@dataclass(frozen=True)
class RunPlan:
    """Corpus and settings of a run.

    chosen: the settings that were chosen for the user, name to value.
    expected_seconds: how long the run will take, None if that is not known.
    """

    corpus: EncodedCorpus
    corpus_config: CorpusConfig
    model: ModelConfig
    training: TrainingConfig
    chosen: Mapping[str, Any] = field(default_factory=dict)
    expected_seconds: float | None = None

    @cached_property
    def fitted(self) -> TrainingConfig:
        """The settings with as many lanes and steps in a chunk as the corpus has room for."""
        wanted = self.training
        lanes, steps = fit(len(self.corpus.train), wanted.batch_size, wanted.seq_length)
        return replace(wanted, batch_size=lanes, seq_length=steps)

    @property
    def lanes(self) -> int:
        """The lanes of a chunk."""
        return self.fitted.batch_size

    @property
    def steps(self) -> int:
        """The time steps of a chunk."""
        return self.fitted.seq_length

    @property
    def evaluated(self) -> tuple[int, int]:
        """The symbols of each evaluation in training, and of the last one."""
        often = self.training.evaluated(self.lanes * self.steps)
        given = self.training.eval_length
        return often, FULL_EVALUATION if given is None else given

    @property
    def products(self) -> float:
        """The products of weights that its steps take; infinity if only minutes limit it."""
        symbols = [math.inf]
        if self.training.step_limit is not None:
            symbols.append(self.training.step_limit * self.lanes * self.steps)
        if self.training.epochs is not None:
            symbols.append(self.training.epochs * len(self.corpus.train))
        return min(symbols) * multiplied_weights(self.model, len(self.corpus.vocabulary))

    def precision(self, device: torch.device) -> torch.dtype:
        """Return the number format of the products in training."""
        return resolve_precision(self.training.precision, device, self.model.hidden_size)

    def environment(self, context: ExecutionContext) -> dict[str, str | int]:
        """Return what else the bits of the result depend on, for the manifest."""
        return {
            "charrnn": charrnn.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(context.device),
            "threads": context.threads,
            "precision": precision_name(self.precision(context.device)),
        }

    def notices(self) -> list[str]:
        """Return what the user should know before training starts."""
        notices = list(self.corpus.notices)
        wanted = self.training.batch_size, self.training.seq_length
        if (self.lanes, self.steps) != wanted:
            notices.append(
                f"the corpus is short: {counted(self.lanes, 'lane')} x "
                f"{counted(self.steps, 'character')} instead of {wanted[0]} x {wanted[1]}"
            )
        if self.training.minutes is not None and "steps" in self.chosen:
            notices.append(
                f"the run ends after {self.training.steps:,} steps, if that is sooner than "
                f"`minutes={self.training.minutes:g}`: more would learn the short text by heart"
            )
        return notices

    def differences(self, before: Manifest, context: ExecutionContext) -> list[str]:
        """Return what keeps a resumed run from continuing bit for bit."""
        notices = []
        if before.corpus.sha256 != self.corpus.sha256:
            notices.append(
                f"the corpus {self.corpus.name} has changed; training continues from its beginning"
            )
        now = self.environment(context)
        differ = [
            f"{key} {now[key]} instead of {str(before.environment.get(key))[:40]}"
            for key in ("charrnn", "torch", "device", "threads", "precision")
            if now[key] != before.environment.get(key)
        ]
        if differ:
            notices.append(
                f"{', '.join(differ)}: the result will not be bit-identical to an uninterrupted run"
            )
        return notices
