"""Runs that someone else made open no file that only they name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.checkpoint.manifest import read_manifest
from charrnn.checkpoint.origin import can_sign, is_own
from charrnn.errors import RunError
from tests.conftest import TEXT, Command, sealed

MODEL = charrnn.ModelConfig(hidden_size=8, embedding_size=4)
TRAINING = charrnn.TrainingConfig(steps=4, eval_every=2, batch_size=4, seq_length=16)
STRANGE = "does not open the files that the run names"

Opened = list[str]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A run of this user, whose corpus no cache has."""
    corpus = tmp_path / "river.txt"
    corpus.write_text(TEXT, encoding="utf-8")
    folder = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "runs",
        cache_dir=tmp_path / "cache",
    ).folder  # fmt: skip
    shutil.rmtree(tmp_path / "cache")
    return folder


def rewrite(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifests of a run, with the right seal, as anybody can."""
    for manifest in run.glob("*/manifest.json"):
        content = json.loads(manifest.read_text())
        change(content)
        manifest.write_bytes(sealed(content))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a stranger's run names; reading it would fail loudly."""
    path = tmp_path / "secret.txt"
    path.mkdir()
    return path


def name(secret: Path) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["corpus"].update(sources=[str(secret)])


def test_a_run_of_this_user_is_known_by_its_signature(own: Path) -> None:
    manifest = read_manifest(own / "step-00000004")
    assert len(manifest.origin) == 64
    assert is_own(manifest)


def test_a_changed_name_is_no_longer_signed(own: Path, secret: Path) -> None:
    rewrite(own, name(secret))
    assert not is_own(read_manifest(own / "step-00000004"))


def test_a_changed_validation_text_is_no_longer_signed(own: Path) -> None:
    rewrite(own, lambda content: content["text"].update(val_text="/etc/passwd", val_fraction=0.1))
    assert not is_own(read_manifest(own / "step-00000004"))


@pytest.mark.parametrize("forged", ["", "0" * 64, "é" * 32])
def test_a_stranger_s_run_opens_nothing(own: Path, secret: Path, forged: str) -> None:
    """Neither to evaluate, nor to report, nor to compare, nor to resume; and it says so."""
    rewrite(own, name(secret))
    rewrite(own, lambda content: content.update(origin=forged))
    model = charrnn.load(own)
    with pytest.raises(RunError, match=STRANGE):
        model.evaluate(cache_dir=own / "cache")
    with pytest.raises(RunError, match=STRANGE):
        model.evaluate("The river", dynamic=charrnn.DynamicConfig(), cache_dir=own / "cache")
    with pytest.raises(RunError, match=STRANGE):
        model.report("The river", cache_dir=own / "cache")
    with pytest.raises(RunError, match=STRANGE):
        charrnn.resume(own, steps=6, cache_dir=own / "cache")
    (row,) = charrnn.compare([own], evaluate=True, cache_dir=own / "cache")
    assert row.problem is not None
    assert STRANGE in row.problem


def test_what_the_user_names_is_opened(own: Path, tmp_path: Path) -> None:
    rewrite(own, lambda content: content.update(origin=""))
    corpus, cache = tmp_path / "river.txt", tmp_path / "fresh"
    scored = charrnn.load(own).evaluate(corpus=corpus, cache_dir=cache)
    assert scored.characters > 50
    assert charrnn.resume(own, steps=6, corpus=corpus, cache_dir=cache).end.step == 6


def run_with_validation_text(corpus: Path, held_out: Path, cache: Path) -> Path:
    held_out.write_text(TEXT[:200], encoding="utf-8")
    return charrnn.train(
        corpus, corpus_config={"val_text": str(held_out)}, model=MODEL, training=TRAINING,
        checkpoint_dir=corpus.parent / "runs", run="with", cache_dir=cache,
    ).folder  # fmt: skip


def test_a_stranger_s_validation_text_must_be_named_too(own: Path, tmp_path: Path) -> None:
    corpus, held_out, cache = (tmp_path / n for n in ("river.txt", "held-out.txt", "fresh"))
    run = run_with_validation_text(corpus, held_out, cache)
    shutil.rmtree(cache)
    rewrite(run, lambda content: content.update(origin=""))
    with pytest.raises(RunError, match="`val_text=PATH`"):
        charrnn.resume(run, steps=6, corpus=corpus, cache_dir=cache)
    again = charrnn.resume(run, steps=6, corpus=corpus, val_text=held_out, cache_dir=cache)
    assert again.end.step == 6


def test_a_corpus_in_the_cache_needs_no_file(own: Path, tmp_path: Path) -> None:
    """It is known by its hash, and this user has encoded it before."""
    rewrite(own, lambda content: content.update(origin=""))
    charrnn.survey(tmp_path / "river.txt", cache_dir=tmp_path / "cache")
    assert charrnn.load(own).evaluate(cache_dir=tmp_path / "cache").characters > 50


def test_a_key_that_others_can_read_signs_nothing(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    key = tmp_path / "data" / "charrnn" / "key"
    key.parent.mkdir(parents=True)
    key.write_bytes(bytes(32))
    key.chmod(0o644)
    assert not is_own(read_manifest(own / "step-00000004"))


def test_a_validation_text_can_be_named_to_score_it(own: Path, tmp_path: Path) -> None:
    corpus, held_out, cache = (tmp_path / n for n in ("river.txt", "held-out.txt", "fresh"))
    run = run_with_validation_text(corpus, held_out, cache)
    expected = charrnn.load(run).evaluate(cache_dir=cache)
    shutil.rmtree(cache)
    rewrite(run, lambda content: content.update(origin=""))
    found = charrnn.load(run).evaluate(corpus=corpus, val_text=held_out, cache_dir=cache)
    assert found == expected


def test_a_run_that_cannot_be_signed_says_so(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    messages: list[str] = []
    run = charrnn.train(
        corpus, model=MODEL, training=TRAINING, checkpoint_dir=tmp_path / "runs",
        observers=[lambda e: messages.append(e.message) if e.kind == "warning" else None],
    ).folder  # fmt: skip
    assert any("the run cannot be signed" in message for message in messages)
    assert read_manifest(run / "step-00000004").origin == ""


@pytest.mark.parametrize("error", [OSError(95, "not supported"), FileExistsError(17, "exists")])
def test_a_key_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Even on a file system without hard links, where the key is made all the same."""

    def link(_source: Path, target: Path) -> None:
        if isinstance(error, FileExistsError):
            Path(target).write_bytes(bytes(32))
            Path(target).chmod(0o600)
        raise error

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("os.link", link)
    assert can_sign()
    assert [path.name for path in (tmp_path / "data" / "charrnn").iterdir()] == ["key"]


def test_the_command_line_says_what_to_do(own: Path, command: Command) -> None:
    rewrite(own, lambda content: content.update(origin=""))
    done = command("eval", own, "--cache-dir", own / "cache")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "name its corpus river yourself: --corpus PATH" in done.stderr
    named = command("eval", own, "--corpus", own.parents[1] / "river.txt")
    assert named.returncode == 0, named.stderr
