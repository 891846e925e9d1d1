"""Names of files and folders. Holds no numpy, so that shell completion answers at once."""

import re
from pathlib import Path

CHECKPOINT_DIR = "checkpoints"
MODEL_FILE = "model.safetensors"
TRAINER_FILE = "trainer.safetensors"
MANIFEST_FILE = "manifest.json"
LOG_FILE = "log.jsonl"
STEP_FOLDER = re.compile(r"step-(\d{8,})")


def step_folder(step: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"step-{step:08d}"


def run_names(checkpoint_dir: str | Path) -> list[str]:
    """Return the names of the folders that look like runs, without reading them."""
    folder = Path(checkpoint_dir)
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / LOG_FILE).is_file())
