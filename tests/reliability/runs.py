"""A small run for tests of what goes wrong, and a recorder of what it reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import charrnn
from charrnn.model.config import ModelConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.events import CheckpointEvent, Event, StepEvent, WarningEvent

MODEL = ModelConfig(hidden_size=8, embedding_size=4, dropout=0.2)
TRAINING = TrainingConfig(
    steps=24, batch_size=4, seq_length=16, eval_every=8, save_every=4, sample_every=0
)


class Recorder:
    """An observer that keeps all events, and acts at given steps: `step6=action`."""

    def __init__(self, **at: Callable[[], Any]) -> None:
        self.events: list[Event] = []
        self.at = {int(name.removeprefix("step")): do for name, do in at.items()}

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, StepEvent) and event.step in self.at:
            self.at[event.step]()

    @property
    def warnings(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e, WarningEvent)]

    @property
    def saved(self) -> list[int]:
        return [e.step for e in self.events if isinstance(e, CheckpointEvent)]


def train(corpus: Path, folder: Path, recorder: Recorder | None = None, **options: Any) -> Path:
    settings: dict[str, Any] = {"model": MODEL, "training": TRAINING, "checkpoint_dir": folder}
    return charrnn.train(corpus, observers=[recorder or Recorder()], **settings | options).folder
