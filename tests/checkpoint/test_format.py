"""Checkpoints on disk: written completely, read back the same, verified."""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import read_checkpoint, write_checkpoint
from charrnn.checkpoint.manifest import read_manifest
from charrnn.checkpoint.model_file import read_model
from charrnn.errors import CheckpointError
from charrnn.text.config import CorpusConfig
from tests.checkpoint.samples import CONFIG, MANIFEST, TRAINER, VOCABULARY, model
from tests.conftest import sealed


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
    arrays = read_checkpoint(folder).arrays
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
    """A length, a JSON header, and the bytes of numbers it describes: no room for a pickle."""
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
        read_checkpoint(folder)


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
        ("step", 8),
        ("model", asdict(replace(CONFIG, dropout=0.5))),
        ("text", asdict(CorpusConfig(lowercase=True))),
    ],
)
def test_a_manifest_with_wrong_values_is_refused(folder: Path, key: str, value: Any) -> None:
    """Even if its own hash is right."""
    path = folder / "manifest.json"
    path.write_bytes(sealed(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=r"manifest|format 99"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null"])
def test_a_file_that_is_not_a_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_manifest(folder)


def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path: Path) -> None:
    wrong = replace(model(), config=replace(CONFIG, hidden_size=4))
    write_checkpoint(tmp_path / "step-00000007", wrong, TRAINER, MANIFEST)
    with pytest.raises(CheckpointError, match=r"bytes, but its configuration asks for"):
        read_model(tmp_path / "step-00000007" / "model.safetensors")
    turned = model()
    weights = {n: w.T if n == "output.weight" else w for n, w in turned.weights.items()}
    write_checkpoint(
        tmp_path / "step-00000007", replace(turned, weights=weights), TRAINER, MANIFEST
    )
    with pytest.raises(CheckpointError, match=r"weight output.weight is \(3, 6\), .* \(6, 3\)"):
        read_model(tmp_path / "step-00000007" / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("state/h", np.zeros((1, 2, 4))),
        ("state/h", np.zeros((2, 2, 3))),
        ("state/c", np.zeros(3)),
        ("state/0", np.zeros((1, 2, 3))),
        ("optimizer/output.bias/exp_avg", np.zeros(5)),
        ("optimizer/nothing/exp_avg", np.zeros(5)),
    ],
)
def test_trainer_arrays_of_a_wrong_shape_or_name_are_refused(
    folder: Path, name: str, array: Any
) -> None:
    write_checkpoint(folder, model(), TRAINER | {name: array}, MANIFEST)
    with pytest.raises(CheckpointError, match=rf"trainer\.safetensors: {name} is"):
        read_checkpoint(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_weights_are_not_saved_nor_loaded(folder: Path, value: float) -> None:
    wrong = model()
    weights = {n: w.copy() for n, w in wrong.weights.items()}
    weights["output.bias"][3] = value
    with pytest.raises(CheckpointError, match=r"not saved, weight output.bias contains"):
        write_checkpoint(folder, replace(wrong, weights=weights), TRAINER, MANIFEST)
    read_checkpoint(folder)
    path = folder / "model.safetensors"
    data = path.read_bytes()
    bias = model().weights["output.bias"].tobytes()
    path.write_bytes(data.replace(bias, weights["output.bias"].tobytes()))
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"weight output.bias contains NaN or infinity"):
        read_model(path)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not a charrnn model"):
        read_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("found", "message"),
    [(b'"I32"', "not 32-bit floating-point"), (b'"Q32"', "not a readable safetensors file")],
)
def test_weights_of_another_type_are_refused(folder: Path, found: bytes, message: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', found))
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=message):
        read_model(path)


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be saved"):
        write_checkpoint(tmp_path / "file" / "step-00000007", model(), TRAINER, MANIFEST)
