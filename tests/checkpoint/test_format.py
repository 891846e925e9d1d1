"""Checkpoints on disk: written whole, read back the same, verified."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import (
    FORMAT,
    CorpusRecord,
    Manifest,
    SavedModel,
    read_manifest,
    read_model,
    read_trainer,
    write_checkpoint,
)
from charrnn.errors import CheckpointError
from charrnn.model.config import ModelConfig, parameter_shapes
from charrnn.text.config import CorpusConfig
from charrnn.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("char", ("", "\n", "a", "\x1b", "字", "😀"))
CONFIG = ModelConfig(hidden_size=3, embedding_size=2)
TRAINER = {"state/0": np.arange(6.0).reshape(2, 3), "rng": np.arange(5, dtype=np.uint8)}
MANIFEST = Manifest(
    format=FORMAT,
    step=7,
    saved_at="2026-01-01T00:00:00+00:00",
    train_loss=0.1 + 0.2,
    val_loss=None,
    corpus=CorpusRecord("c", ("/somewhere/c.txt",), "0" * 64, 99),
    text=CorpusConfig(),
    model=CONFIG,
    training={"steps": 9},
    trainer={"step": 7},
    environment={"threads": 1},
)


def model() -> SavedModel:
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(CONFIG, len(VOCABULARY))
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    return SavedModel(weights, CONFIG, VOCABULARY, CorpusConfig(), 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "step-00000007"
    path.parent.mkdir()
    write_checkpoint(path, model(), TRAINER, MANIFEST)
    return path


def test_what_is_written_is_read_back(folder: Path) -> None:
    saved, expected = read_model(folder / "model.safetensors"), model()
    assert (saved.config, saved.vocabulary, saved.step) == (CONFIG, VOCABULARY, 7)
    assert all(np.array_equal(saved.weights[n], expected.weights[n]) for n in expected.weights)
    manifest = read_manifest(folder)
    assert replace(manifest, files={}) == MANIFEST
    arrays = read_trainer(folder, manifest)
    assert all(np.array_equal(arrays[n], TRAINER[n]) for n in TRAINER)


def test_a_model_file_alone_is_a_model(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    (folder / "model.safetensors").rename(alone)
    assert read_model(alone).vocabulary == VOCABULARY


def test_nothing_but_the_checkpoint_is_left_behind(folder: Path) -> None:
    assert [p.name for p in folder.parent.iterdir()] == ["step-00000007"]
    assert {p.name for p in folder.iterdir()} == {
        "model.safetensors",
        "trainer.safetensors",
        "manifest.json",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="no umask on Windows")
def test_files_honour_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_checkpoint(tmp_path / "step-00000007", model(), TRAINER, MANIFEST)
    finally:
        os.umask(before)
    for path in (tmp_path / "step-00000007").iterdir():
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_checkpoint_that_exists_is_replaced(folder: Path) -> None:
    write_checkpoint(folder, model(), TRAINER, replace(MANIFEST, val_loss=1.5))
    assert read_manifest(folder).val_loss == 1.5


def test_every_byte_is_json_or_numbers(folder: Path) -> None:
    """A length, a JSON header, and as many bytes of numbers as it says: no room for a pickle."""
    json.loads((folder / "manifest.json").read_text())
    for name in ("model.safetensors", "trainer.safetensors"):
        data = (folder / name).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        end = max(entry["data_offsets"][1] for entry in header.values())
        assert len(data) == 8 + length + end
        assert {entry["dtype"] for entry in header.values()} <= {"F32", "F64", "U8"}


@pytest.mark.parametrize("name", ["model.safetensors", "trainer.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty"])
def test_damage_is_found_and_the_file_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.unlink()
    if damage != "remove":
        path.write_bytes(bytes({"flip": data, "truncate": data[:-1], "empty": b""}[damage]))
    with pytest.raises(CheckpointError, match=name):
        (read_model(folder / "model.safetensors"), read_trainer(folder, read_manifest(folder)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 99),
        ("step", "7"),
        ("files", {}),
        ("files", {"model.safetensors": {"bytes": 1}}),
        ("model", {"hidden_size": 10**9}),
        ("model", []),
        ("corpus", {}),
        ("trainer", None),
        ("surprise", 1),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(folder: Path, key: str, value: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=r"manifest|format 99"):
        read_model(folder / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null"])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_manifest(folder)


def test_weights_that_disagree_with_the_configuration_are_refused(tmp_path: Path) -> None:
    wrong = replace(model(), config=replace(CONFIG, hidden_size=4))
    write_checkpoint(tmp_path / "step-00000007", wrong, TRAINER, MANIFEST)
    with pytest.raises(CheckpointError, match=r"weight .* is .*, the configuration says"):
        read_model(tmp_path / "step-00000007" / "model.safetensors")


def test_another_program_s_safetensors_is_no_model(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not a model of charrnn"):
        read_model(tmp_path / "x.safetensors")


def test_a_safetensors_of_a_type_that_numpy_lacks_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"00")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_model(tmp_path / "x.safetensors")


def test_a_folder_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be saved"):
        write_checkpoint(tmp_path / "file" / "step-00000007", model(), TRAINER, MANIFEST)
