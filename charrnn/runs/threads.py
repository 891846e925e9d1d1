"""Where runs execute, and with how many CPU threads: given, recorded, or measured to be fastest."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

import charrnn
from charrnn.errors import GroupError, SettingsError, counted
from charrnn.model.config import ModelConfig, multiplied_weights
from charrnn.model.device import resolve_device, torch_threads
from charrnn.runs.memory import translate_out_of_memory
from charrnn.settings import MAX_THREADS, check_threads
from charrnn.text.encoded import EncodedCorpus
from charrnn.training.allocation import freed_memory_kept
from charrnn.training.config import TrainingConfig
from charrnn.training.context import ExecutionContext
from charrnn.training.cost import TrialSteps, TrialText
from charrnn.training.group import ALONE, Group
from charrnn.training.threads import ThreadChoice, fastest_threads

# Products in a time step of a chunk below which a second thread gains less than a fifth, if the
# machine is idle, and may cost a hundred times the time of a step, if it is not.
WORTH_THREADS = 2**21
# A trial step is of at most so many time steps and about so many products, of a model of at most so
# many layers and units. It takes some milliseconds, or a second on a processor that others use.
TRIAL_LENGTH, TRIAL_PRODUCTS = 4, 2**30
TRIAL_LAYERS, TRIAL_UNITS = 2, 1024
TRIAL_SYMBOLS = 2**16  # of the text


@dataclass(frozen=True)
class Computing:
    """Where runs execute. threads: of the CPU; None to choose. stop: see ExecutionContext.

    group: the processes that train a run together. They are all on this machine, as far as the
    number of threads is concerned.
    """

    device: torch.device
    threads: int | None
    stop: Callable[[], bool]
    group: Group = ALONE

    def keeping(self, recorded: int) -> "Computing":
        """Return the same with as many threads as a run had, so that it continues bit for bit.

        Not so if a number was given, or if this machine has fewer processors.
        """
        if self.threads is not None or recorded > processors():
            return self
        return replace(self, threads=recorded)

    def check_alike(self, *values: Any) -> None:
        """Make sure that the processes of a run agree, also on the version of charrnn and torch.

        Raises GroupError, and SettingsError if so many processes cannot share a run.
        """
        if self.group.size.bit_count() != 1:
            raise SettingsError(
                f"{self.group.size} processes cannot share a run: use 1, 2, 4, 8 or another power "
                "of 2"
            )
        own = [charrnn.__version__, torch.__version__, *values]
        kinds = ["version of charrnn", "version of torch", "corpus"] + ["setting"] * len(values)
        first, *others = self.group.collect(own)
        for process, other in enumerate(others, 1):
            differing = [kind for kind, a, b in zip(kinds, first, other, strict=False) if a != b]
            if differing:
                error = GroupError(
                    f"process {process} has another {differing[0]} than process 0; start all "
                    "processes with the same command and files"
                )
                error.reported = self.group.rank > 0
                raise error

    def with_threads(self, threads: int) -> ExecutionContext:
        """Return where a run with so many threads executes."""
        group = self.group
        return ExecutionContext(
            self.device, threads, group, lambda: group.any(self.stop()), group.clock
        )

    def choose_threads(
        self, model: ModelConfig, training: TrainingConfig, text: TrialText
    ) -> ThreadChoice:
        """Return the threads that were given, or else those that are fastest for a model.

        training: with as many lanes and steps as a chunk has.
        On a GPU torch's own choice is taken, and for a small model one thread, without measuring.
        Raises MemoryShortageError.
        """
        most = min(torch.get_num_threads(), MAX_THREADS)
        if self.threads is not None:
            return ThreadChoice(self.threads, most)
        if self.device.type != "cpu":
            return ThreadChoice(most, most)
        if self.group.size > 1:  # the others would not take part in the race
            return ThreadChoice(max(1, processors() // self.group.size), most)
        if multiplied_weights(model, text.vocabulary_size) * training.batch_size < WORTH_THREADS:
            return ThreadChoice(1, most)
        with translate_out_of_memory(model, training, text.vocabulary_size, self.device):
            return _race(most, model, training, text)


def computing_on(
    device: str, threads: int | None, stop: Callable[[], bool], group: Group = ALONE
) -> Computing:
    """Check where to execute.

    Raises DeviceError, and SettingsError for more threads than a checkpoint may record.
    """
    check_threads(threads)
    return Computing(resolve_device(device), threads, stop, group)


def trial_text(corpus: EncodedCorpus) -> TrialText:
    """Return what to take trial steps on."""
    return TrialText(corpus.train[:TRIAL_SYMBOLS], len(corpus.vocabulary))


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_notices(choice: ThreadChoice) -> list[str]:
    """Say why a run has fewer threads than it could have, if other programs are the reason."""
    if not choice.held_up:
        return []
    return [
        f"{counted(choice.number, 'thread')} of {choice.most}: faster while other programs use "
        f"this machine; `threads={choice.most}` overrides"
    ]


@freed_memory_kept()
def _race(most: int, model: ModelConfig, training: TrainingConfig, text: TrialText) -> ThreadChoice:
    """Measure how many threads are fastest for a model on the CPU."""
    if most == 1:
        return ThreadChoice(1, most)
    tried = _reduced(model)
    products = multiplied_weights(tried, text.vocabulary_size) * training.batch_size
    length = min(training.seq_length, TRIAL_LENGTH, max(1, TRIAL_PRODUCTS // products))
    with torch_threads(1):
        short = replace(training, seq_length=length)
        steps = TrialSteps(tried, short, text, torch.device("cpu"))

        def seconds(threads: int) -> float:
            torch.set_num_threads(threads)
            return steps.seconds()

        return fastest_threads(most, seconds)


def _reduced(model: ModelConfig) -> ModelConfig:
    """Return a model that is soon made and suits the same number of threads."""
    units = min(model.hidden_size, TRIAL_UNITS)
    return replace(
        model,
        num_layers=min(model.num_layers, TRIAL_LAYERS),
        hidden_size=units,
        embedding_size=units if model.tie_embeddings else model.embedding_size,
    )
