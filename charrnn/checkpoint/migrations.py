"""Versions of what a checkpoint holds, and how files of earlier versions are read.

A model file (model.safetensors) and the trainer's files (trainer.safetensors and manifest.json)
have a version each, so that a change to one leaves the other readable. A model file that any
released version wrote loads for ever: MODEL_FORMAT goes up only together with a migration. Trainer
files may become too old to resume; their model stays readable even then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.checkpoint.arrays import Arrays
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig

MODEL_FORMAT = 3
TRAINER_FORMAT = 4

# From each version of a model file's header to the next. 1 and 2 were never released.
MODEL_MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


@dataclass(frozen=True)
class TrainerMigration:
    """From one version of the trainer's files to the next: the manifest's values, the arrays."""

    values: Callable[[dict[str, Any]], dict[str, Any]]
    arrays: Callable[[Arrays, ModelConfig], dict[str, Any]]


def _scheduled(values: dict[str, Any]) -> dict[str, Any]:
    """Format 3 called a checkpoint planned that is now called scheduled."""
    return {("scheduled" if key == "planned" else key): value for key, value in values.items()}


def _named_state(arrays: Arrays, config: ModelConfig) -> dict[str, Any]:
    """Format 3 numbered the parts of the carried state: state/0 for h, state/1 for c."""
    names = {f"state/{i}": f"state/{part.name}" for i, part in enumerate(config.state.parts)}
    return {names.get(name, name): array for name, array in arrays.items()}


TRAINER_MIGRATIONS: Mapping[int, TrainerMigration] = {
    3: TrainerMigration(_scheduled, _named_state),
}


def versions_to_migrate(
    found: Any, current: int, migrations: Mapping[int, Any], writer: str = ""
) -> range:
    """Return the versions whose migrations bring a file up to date, in order.

    writer: the charrnn that wrote the file, if known. Raises CheckpointError for a version that
    this charrnn cannot read.
    """
    by = f", written by charrnn {writer[:40]}," if writer else ""
    if type(found) is not int or found > current:
        raise CheckpointError(
            f"format {str(found)[:40]}{by} is newer than this charrnn, which reads up to format "
            f"{current}; upgrade charrnn"
        )
    if any(version not in migrations for version in range(found, current)):
        raise CheckpointError(
            f"format {found}{by} is too old for this charrnn, which reads from format "
            f"{min([*migrations, current])}; use the version that wrote it"
        )
    return range(found, current)


def migrated_trainer(found: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's values in a manifest of a version, brought up to date.

    Those of a version that is too old stay as they are: such a run is listed, and its model used.
    """
    if type(found) is not int or found >= min(TRAINER_MIGRATIONS):
        for version in versions_to_migrate(found, TRAINER_FORMAT, TRAINER_MIGRATIONS):
            values = TRAINER_MIGRATIONS[version].values(values)
    return values
