"""Several processes train one run, with the same bits whatever their number."""

import itertools
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.errors import SettingsError
from charrnn.model.cells import CELLS
from charrnn.training.group import ALONE, Group, Share, pairwise_sum
from tests import processes
from tests.training.runs import assert_same_run, losses_of
from tests.training.together import run_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo and signals of Unix")

SIZES = (1, 2, 4)
MODEL: dict[str, Any] = {
    "num_layers": 2,
    "hidden_size": 12,
    "embedding_size": 6,
    "dropout": 0.3,
    "input_dropout": 0.2,
}
TRAINING: dict[str, Any] = {
    "steps": 14,
    "batch_size": 6,  # which four shards cannot share evenly
    "seq_length": 30,
    "eval_every": 5,
    "save_every": 5,
    "seed": 7,
    "shards": 4,
}
LINES: dict[str, Any] = {"corpus_config": {"lines": True}}
KINDS: dict[str, dict[str, Any]] = {
    **{cell: {"model": {"cell": cell}} for cell in CELLS},
    "weight dropout": {"model": {"weight_dropout": 0.3}},
    "attention": {"model": {"attention": 5}},
    "adaptive softmax": {"model": {"adaptive_softmax": 8}},
    "lines": LINES,
    "documents": {"corpus_config": {"lines": True, "split_documents": True}},
    "many resets": {"training": {"state_reset": 0.9}},
}


def job(corpus: Path, folder: Path, run: str, **more: Any) -> dict[str, Any]:
    named = {
        "model": MODEL | more.pop("model", {}),
        "training": TRAINING | more.pop("training", {}),
        "checkpoint_dir": str(folder),
        "run": run,
    }
    extra = {"stop": more.pop("stop")} if "stop" in more else {}
    return {"function": "train", "positional": [str(corpus)], "named": named | more, **extra}


def together(jobs: list[list[dict[str, Any]]]) -> list[tuple[int, str]]:
    """Do the jobs of each process, all at the same time; returns exit codes and errors."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    code = "import runpy; runpy.run_module('tests.training.together', run_name='__main__')"
    started = [
        processes.start(rank, len(jobs), port, json.dumps(own), cwd=processes.ROOT, code=code)
        for rank, own in enumerate(jobs)
    ]
    ended = [process.communicate(timeout=processes.PATIENCE) for process in started]
    return [(p.returncode, err.decode()) for p, (_, err) in zip(started, ended, strict=True)]


@pytest.fixture(scope="module")
def shared_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["one", "two", "three", "twenty-nine", "a", "thousand", "of", "them"]
    lines = [" ".join(words[: 1 + i * 5 % 8]) for i in range(400)]
    path = tmp_path_factory.mktemp("corpus") / "lines.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_any_number_of_processes_gives_the_same_bits(shared_corpus: Path, tmp_path: Path) -> None:
    """Weights, losses and samples; also of runs that stop and go on with another number."""
    folders = {size: tmp_path / str(size) for size in SIZES}
    for size, folder in folders.items():
        jobs = [job(shared_corpus, folder, name, **more) for name, more in KINDS.items()]
        jobs.append(job(shared_corpus, folder, "moved", stop=7))
        assert_done(size, jobs)
    for size, other in zip(SIZES, (4, 1, 2), strict=True):
        resumed = str(folders[size] / "moved")
        assert_done(other, [{"function": "resume", "positional": [resumed], "named": {}}])
    for name, size in itertools.product([*KINDS, "moved"], SIZES[1:]):
        assert_same_run(folders[1] / name, folders[size] / name)
    assert_same_run(folders[1] / "lstm", folders[1] / "moved")


def assert_done(size: int, jobs: list[dict[str, Any]]) -> None:
    if size == 1:
        run_all(jobs, ALONE)
        return
    for code, errors in together([jobs] * size):
        assert code == 0, errors


def test_one_shard_is_a_run_without_shards(shared_corpus: Path, tmp_path: Path) -> None:
    for shards, folder in ((None, "a"), (1, "b")):
        run_all([job(shared_corpus, tmp_path, folder, training={"shards": shards})], ALONE)
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_shards_learn_what_a_whole_batch_learns(shared_corpus: Path, tmp_path: Path) -> None:
    """Their gradients add up to that of the batch, but for rounding."""
    losses = []
    for shards in (1, 2, 8):
        model = {"dropout": 0.0, "input_dropout": 0.0}
        training = {"shards": shards, "state_reset": 0.0, "precision": "float32"}
        run = str(shards)
        run_all([job(shared_corpus, tmp_path, run, model=model, training=training)], ALONE)
        losses.append([loss for _, _, loss, *_ in losses_of(tmp_path / run) if loss is not None])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1_000))
def test_shards_divide_all_lanes(shards: int, processes: int, lanes: int) -> None:
    """Each lane belongs to one shard, and each shard to one process."""
    number, size = 2 ** max(shards, processes), 2**processes
    found = []
    for rank in range(size):
        group = Group()
        group.rank, group.size = rank, size
        share = group.share(number)
        own = [lane for part in share.each() for lane in range(lanes)[part.lanes(lanes)]]
        assert own == [*range(lanes)[share.lanes(lanes)]]
        found += own
    assert found == [*range(lanes)]
    assert Share().lanes(lanes) == slice(0, lanes)


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_the_order_of_a_sum_does_not_depend_on_who_adds(shards: int) -> None:
    rng = torch.Generator().manual_seed(0)
    vectors = [torch.randn(50, generator=rng) * 10**k for k in range(shards)]
    whole = pairwise_sum(vector.clone() for vector in vectors)
    for size in (1, 2, 8):
        if size > shards:
            continue
        each = shards // size
        parts = [
            pairwise_sum(v.clone() for v in vectors[rank * each : (rank + 1) * each])
            for rank in range(size)
        ]
        assert torch.equal(pairwise_sum(parts), whole)


def test_a_number_of_shards_is_a_power_of_2() -> None:
    with pytest.raises(SettingsError, match="power of 2"):
        charrnn.TrainingConfig(shards=3)


def test_a_different_corpus_in_one_process_is_refused(shared_corpus: Path, tmp_path: Path) -> None:
    """One process says so, and no run begins."""
    other = tmp_path / "other.txt"
    other.write_text(shared_corpus.read_text(encoding="utf-8") + "more\n", encoding="utf-8")
    jobs = [[job(corpus, tmp_path, "a")] for corpus in (shared_corpus, other)]
    (one, errors), (two, _) = together(jobs)
    assert one != 0
    assert two != 0
    assert "process 1 has another corpus than process 0" in errors
    assert not (tmp_path / "a").exists()
