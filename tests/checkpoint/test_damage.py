"""Checkpoints that are damaged, or made by an attacker."""

import json
import random
import shutil
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.checkpoint.format import read_checkpoint
from charrnn.checkpoint.manifest import read_manifest
from charrnn.checkpoint.model_file import MAX_JSON, read_model
from charrnn.errors import CheckpointError
from tests.conftest import sealed

FILES = ("model.safetensors", "trainer.safetensors", "manifest.json")


@pytest.fixture
def folder(trained: charrnn.TrainingResult, tmp_path: Path) -> Path:
    """A copy of a checkpoint of a real run."""
    latest = max(trained.folder.glob("step-*"))
    return Path(shutil.copytree(latest, tmp_path / latest.name))


def test_every_flipped_bit_is_found(folder: Path) -> None:
    """Five hundred random bits, in all three files."""
    rng = random.Random(0)
    data = {name: (folder / name).read_bytes() for name in FILES}
    sizes = [len(data[name]) for name in FILES]
    read_checkpoint(folder)
    for number in range(500):
        # Half of them in the manifest, which is so small that it would hardly be hit otherwise.
        name = FILES[2] if number % 2 else rng.choices(FILES, sizes)[0]
        bit = rng.randrange(8 * len(data[name]))
        flipped = bytearray(data[name])
        flipped[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(flipped)
        with pytest.raises(CheckpointError, match=rf"{name}: "):
            read_checkpoint(folder)
        (folder / name).write_bytes(data[name])
    read_checkpoint(folder)


def test_every_truncation_is_found(folder: Path) -> None:
    """Two hundred, among them the empty file and the one that lacks a byte."""
    rng = random.Random(1)
    for number in range(200):
        name = FILES[number % 3]
        data = (folder / name).read_bytes()
        length = {0: 0, 1: len(data) - 1}.get(number // 3, rng.randrange(len(data)))
        (folder / name).write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=rf"{name}: "):
            read_checkpoint(folder)
        (folder / name).write_bytes(data)
    read_checkpoint(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["missing", "a folder", "longer", "of another checkpoint"])
def test_a_missing_or_exchanged_file_is_found(
    trained: charrnn.TrainingResult, folder: Path, name: str, what: str
) -> None:
    other = min(trained.folder.glob("step-*")) / name
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if what == "a folder":
        (folder / name).mkdir()
    elif what == "longer":
        (folder / name).write_bytes(data + b"\0")
    elif what == "of another checkpoint":
        shutil.copy(other, folder / name)
    with pytest.raises(CheckpointError, match=r"safetensors: |manifest\.json: "):
        read_checkpoint(folder)


def within_bounds(read: Any, path: Path) -> None:
    """Check that reading a hostile file raises CheckpointError, soon and in little memory."""
    began = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=path.name) as raised:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert time.perf_counter() - began < 20, "takes a second, or longer on a busy machine"
    assert len(str(raised.value)) < 1_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([10**9, -1, 2**63, 10**400, "../../etc/passwd", "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)  # fmt: skip


def read_or_named(read: Any, path: Path) -> Any:
    """Return what is read, or None if a CheckpointError names the file."""
    try:
        return read(path)
    except CheckpointError as error:
        message = str(error)
    assert path.name in message
    assert len(message) < 1_000
    return None


def changed(content: Any, path: list[int], value: Any) -> Any:
    """Replace a value somewhere within JSON data."""
    if not path or not isinstance(content, dict) or not content:
        return value
    key = sorted(content)[path[0] % len(content)]
    return content | {key: changed(content[key], path[1:], value)}


@given(path=st.lists(st.integers(0, 30), min_size=1, max_size=4), value=json_values)
def test_any_manifest_is_either_sound_or_a_named_error(
    trained: charrnn.TrainingResult, tmp_path_factory: pytest.TempPathFactory, path: Any, value: Any
) -> None:
    """Its own hash is right, as an attacker would make it."""
    folder = tmp_path_factory.mktemp("hostile")
    source = max(trained.folder.glob("step-*"))
    content = json.loads((source / "manifest.json").read_bytes())
    content.pop("sha256")
    try:
        (folder / "manifest.json").write_bytes(sealed(changed(content, path, value)))
    except (TypeError, ValueError):  # not an object any more
        return
    manifest = read_or_named(lambda file: read_manifest(file.parent), folder / "manifest.json")
    assert manifest is None or 0 < manifest.model.hidden_size <= 65_536


@given(path=st.lists(st.integers(0, 30), min_size=1, max_size=4), value=json_values)
def test_any_model_header_is_either_sound_or_a_named_error(
    trained: charrnn.TrainingResult, tmp_path_factory: pytest.TempPathFactory, path: Any, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    data = (max(trained.folder.glob("step-*")) / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["charrnn"])
    whole = changed(header | {"__metadata__": inner}, path, value)
    if isinstance(whole, dict) and isinstance(whole.get("__metadata__"), dict):
        whole["__metadata__"] = {"charrnn": json.dumps(whole["__metadata__"])}
    head = json.dumps(whole).encode()
    head += b" " * (-len(head) % 8)
    file = folder / "model.safetensors"
    file.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    model = read_or_named(read_model, file)
    assert model is None or sum(array.nbytes for array in model.weights.values()) < 1e6


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff" * 8, b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}",
        (MAX_JSON + 1).to_bytes(8, "little") + b" " * (MAX_JSON + 1),
        *[
            len(text).to_bytes(8, "little") + text
            for text in (
                b"[" * MAX_JSON,
                (b"[" * 500 + b"]" * 500 + b",") * (MAX_JSON // 1_001),
                b"[" + (b"[" * 500 + b"]" * 500 + b",") * (MAX_JSON // 1_001 - 1) + b"0]",
                b"[" + b"{}," * (MAX_JSON // 3 - 1) + b"0]",
                b'{"__metadata__": {"charrnn": ' + b"9" * 5_000 + b"}}",
                b'{"__metadata__": {"charrnn": "' + b"[" * 100_000 + b'"}}',
            )
        ],
    ],
    ids=range(11),
)  # fmt: skip
def test_a_hostile_header_takes_little_time_and_memory(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    within_bounds(read_model, path)
    (tmp_path / "manifest.json").write_bytes(data[8:])
    within_bounds(lambda path: read_manifest(path.parent), tmp_path / "manifest.json")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("hidden_size", 10**9), ("hidden_size", 65_536), ("num_layers", 64), ("embedding_size", -1)],
)
def test_a_claimed_size_is_refused_before_anything_is_allocated(
    folder: Path, setting: str, value: int
) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["charrnn"])
    inner["model"][setting] = value
    header["__metadata__"]["charrnn"] = json.dumps(inner)
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data[8 + length :])
    (folder / "manifest.json").unlink()
    within_bounds(read_model, path)


def test_a_huge_sparse_file_is_not_read(folder: Path) -> None:
    for name in ("model.safetensors", "manifest.json"):
        with (folder / name).open("r+b") as file:
            file.truncate(10**11)
        within_bounds(lambda _path: read_checkpoint(folder), folder / name)


def test_file_names_in_a_manifest_are_not_followed(folder: Path, tmp_path: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    record = content["files"].pop("model.safetensors")
    (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    content.pop("sha256")
    path.write_bytes(sealed(content | {"files": {"../other.safetensors": record}}))
    with pytest.raises(CheckpointError, match=r"step-\d+/model\.safetensors: cannot be read"):
        read_checkpoint(folder)
