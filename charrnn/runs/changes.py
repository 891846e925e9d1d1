"""Settings that a run changes when it is resumed: which, and what follows from it. No torch."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import SettingsError, shortened
from charrnn.model.config import REGULARISERS, ModelConfig
from charrnn.settings import make
from charrnn.training.config import KEPT, LIMITS, TrainingConfig
from charrnn.training.progress import TrainerProgress

if TYPE_CHECKING:
    from charrnn.checkpoint.format import Saved

_MODEL = tuple(field.name for field in fields(ModelConfig))
_TRAINING = tuple(field.name for field in fields(TrainingConfig))
# The settings that `resume` can change.
CHANGEABLE = (*(name for name in _TRAINING if name not in KEPT), *REGULARISERS)
# Those that change without a notice: limits, and those that leave every step as it would have been.
_SILENT = (*LIMITS, "patience", "sample_every", "save_every", "keep")
_NO_LONGER = "the result is no longer that of a run that never stopped"


def check_changes(changes: Mapping[str, Any], run: str | Path | None) -> None:
    """Raise SettingsError for a setting that a run keeps, with the command that helps."""
    of_run = "RUN" if run is None else shlex.quote(str(run))
    for name, value in changes.items():
        shown = f"`{name}`" if isinstance(value, bool) else f"`{name}={shortened(value)}`"
        if name in KEPT:
            raise SettingsError(
                f"{shown}: a run keeps this setting; start a new run from its weights: charrnn "
                f"train CORPUS `init_from={of_run}` {shown}"
            )
        if name in _MODEL and name not in CHANGEABLE:
            raise SettingsError(
                f"{shown}: a run keeps its architecture; train a new one: charrnn train CORPUS "
                f"{shown}"
            )
        if name not in CHANGEABLE:
            raise SettingsError(f"`{shortened(name)}` is not a setting that a run can change")


@dataclass(frozen=True)
class Changed:
    """A checkpoint as if its run had other settings. differ: their names, as they are shown."""

    saved: "Saved"
    differ: Mapping[str, str]

    @property
    def notices(self) -> list[str]:
        """What the user should know."""
        told = [text for name, text in self.differ.items() if name not in _SILENT]
        return [f"from here on {', '.join(told)}; {_NO_LONGER}"] if told else []

    @property
    def to_be_kept(self) -> bool:
        """Whether to save the settings at once. Limits wait: they can be raised at any time."""
        return bool(self.differ.keys() - {*LIMITS, "patience"})


def changed(saved: "Saved", changes: Mapping[str, Any]) -> Changed:
    """Change the settings of the run that a checkpoint is of.

    A new learning rate is that of the next step: what the plateau schedule and returns to earlier
    checkpoints left of the old one does not apply to it. Evaluations stay of the same length when
    they come more or less often, since the best one is found by comparing them.
    Raises SettingsError for settings out of bounds, or that contradict others of the run.
    """
    manifest = saved.manifest
    training = make(TrainingConfig, manifest.training).resolved()
    now = _with_changes(training, changes).resolved()
    model = make(ModelConfig, vars(manifest.model) | _named(_MODEL, changes))
    before, after = (vars(a) | vars(b) for a, b in ((training, manifest.model), (now, model)))
    differ = {
        name: f"`{name}={value}` instead of {before[name]}"
        for name, value in after.items()
        if value != before[name]
    }
    if not differ:
        return Changed(saved, {})
    progress = TrainerProgress.from_json(manifest.trainer)
    if "learning_rate" in differ:
        progress.rate_scale = progress.record.factor = 1.0
    if progress.record.best_step is not None and now.eval_every != training.eval_every:
        now = replace(now, eval_length=training.evaluated(now.batch_size * now.seq_length))
    manifest = replace(manifest, training=asdict(now), model=model, trainer=progress.to_json())
    kept = replace(saved, manifest=manifest, model=replace(saved.model, config=model))
    return Changed(kept, differ)


def _with_changes(training: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Return settings with changes; any limit replaces all limits."""
    given = _named(_TRAINING, changes)
    limits = {name: given.pop(name) for name in LIMITS if name in given}
    if any(value is not None for value in limits.values()):
        given |= dict.fromkeys(LIMITS) | limits
    return make(TrainingConfig, vars(training) | given)


def _named(names: Collection[str], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}
