"""Names of files and folders. Holds no numpy, so that shell completion answers at once."""

import re
from pathlib import Path

from charrnn.text.config import RUN_LOG_FILE, RUN_STEP_PREFIX

CHECKPOINT_DIR = "checkpoints"
MODEL_FILE = "model.safetensors"
TRAINER_FILE = "trainer.safetensors"
MANIFEST_FILE = "manifest.json"
LOG_FILE = RUN_LOG_FILE
LOCK_FILE = ".lock"
STEP_FOLDER = re.compile(RUN_STEP_PREFIX + r"(\d{8,})")


def step_folder(step: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"{RUN_STEP_PREFIX}{step:08d}"


def run_names(checkpoint_dir: str | Path) -> list[str]:
    """Return the names of the folders that look like runs, without reading them."""
    folder = Path(checkpoint_dir)
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and (entry / LOG_FILE).is_file()
    )
