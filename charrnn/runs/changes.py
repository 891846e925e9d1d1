"""Settings that a run changes when it is resumed: which, and what follows from it. No torch."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, replace
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
# Those whose change leaves every step of the training as it would have been.
_HARMLESS = (*LIMITS, "patience", "sample_every", "save_every", "keep")


def check_changes(changes: Mapping[str, Any], run: str | Path | None) -> None:
    """Raise SettingsError for a setting that a run keeps, with the command that helps."""
    for name, value in changes.items():
        shown = f"`{name}`" if isinstance(value, bool) else f"`{name}={shortened(value)}`"
        if name in KEPT:
            raise SettingsError(
                f"{shown}: a run keeps this setting; start a new run from its weights: charrnn "
                f"train CORPUS `init_from={'RUN' if run is None else run}` {shown}"
            )
        if name in _MODEL and name not in CHANGEABLE:
            raise SettingsError(
                f"{shown}: a run keeps its architecture; train a new one: charrnn train CORPUS "
                f"{shown}"
            )
        if name not in CHANGEABLE:
            raise SettingsError(f"`{shortened(name)}` is not a setting that a run can change")


def changed(saved: "Saved", changes: Mapping[str, Any]) -> "tuple[Saved, list[str]]":
    """Return a checkpoint as if its run had these settings, and what the user should know.

    A new learning rate is that of the next step: what the plateau schedule and returns to earlier
    checkpoints left of the old one does not apply to it.
    Raises SettingsError for settings out of bounds, or that contradict others of the run.
    """
    manifest = saved.manifest
    training = make(TrainingConfig, manifest.training).resolved()
    now = _with_changes(training, changes).resolved()
    model = make(ModelConfig, vars(manifest.model) | _named(_MODEL, changes))
    if (now, model) == (training, manifest.model):
        return saved, []
    progress = TrainerProgress.from_json(manifest.trainer)
    if now.learning_rate != training.learning_rate:
        progress.rate_scale = progress.record.factor = 1.0
    after = replace(manifest, training=asdict(now), model=model, trainer=progress.to_json())
    before, values = (vars(a) | vars(b) for a, b in ((training, manifest.model), (now, model)))
    differ = [
        f"`{name}={value}` instead of {before[name]}"
        for name, value in values.items()
        if value != before[name] and name not in _HARMLESS
    ]
    notices = [f"from here on {', '.join(differ)}; the result is no longer that of an unbroken run"]
    return (
        replace(saved, manifest=after, model=replace(saved.model, config=model)),
        notices if differ else [],
    )


def _with_changes(training: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Return settings with changes; any limit replaces all limits."""
    given = _named(_TRAINING, changes)
    limits = {name: given.pop(name) for name in LIMITS if name in given}
    if any(value is not None for value in limits.values()):
        given |= dict.fromkeys(LIMITS) | limits
    return make(TrainingConfig, vars(training) | given)


def _named(names: Collection[str], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in names}
