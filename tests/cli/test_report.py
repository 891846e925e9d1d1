"""Repetition and copying: `charrnn sample --report` and `charrnn eval --generated`."""

import json
import re
import shutil
from pathlib import Path

import charrnn
from tests.conftest import TEXT, Command

SHORT = ("-n", 40, "--seed", 1)


def test_a_report_goes_to_stderr(command: Command, where: tuple[object, ...]) -> None:
    done = command("sample", *SHORT, "--report", *where)
    assert done.stdout == command("sample", *SHORT, *where).stdout
    assert re.search(r"longest copy +\d+ characters \(", done.stderr)


def test_a_copied_text_is_detected(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "g.txt").write_text("The stones " * 3 + TEXT[10:90])
    done = command("eval", "--generated", "g.txt", "--json", *where)
    found = json.loads(done.stdout)
    assert found["copied"] == " " + TEXT[10:90] or found["copied"] == TEXT[10:90]
    assert found["copied_at"] in (9, 10)
    assert found["distinct_4"] < 0.9
    both = command("eval", "river", "g.txt", "--generated", "g.txt", *where)
    assert (both.returncode, both.stdout) == (2, "")
    assert "--generated and TEXT: choose one" in both.stderr


def test_a_model_without_its_run_is_reported_on(
    command: Command, trained: charrnn.TrainingResult, tmp_path: Path
) -> None:
    """Repetition needs no corpus; copies are looked for in the corpus that is given."""
    lone, corpus = tmp_path / "lone.safetensors", tmp_path / "other.txt"
    shutil.copy(next(trained.folder.glob("step-*/model.safetensors")), lone)
    done = command("sample", lone, *SHORT, "-p", "The ", "--report")
    assert (done.returncode, done.stdout) == (
        0,
        command("sample", lone, *SHORT, "-p", "The ").stdout,
    )
    assert re.search(r"distinct 4-grams +\d", done.stderr)
    assert re.search(r"longest copy +unknown .* --corpus PATH", done.stderr)
    found = json.loads(command("sample", lone, *SHORT, "--report", "--json").stdout)
    assert found["report"]["copied"] is None
    assert found["report"]["distinct_4"] > 0
    corpus.write_text(f"Ω {found['text'][5:25]} Ω")
    flags = ("sample", lone, *SHORT, "--report", "--corpus", corpus, "--corpus", corpus)
    compared = json.loads(command(*flags, "--json").stdout)["report"]
    assert found["text"][5:25] in compared["copied"]
    assert re.search(r"longest copy +2\d characters", command(*flags).stderr)
    refused = command("sample", lone, "--corpus", corpus)
    assert (refused.returncode, refused.stderr) == (2, "error: --corpus needs --report\n")
    (tmp_path / "g.txt").write_text(found["text"])
    generated = ("eval", lone, "--generated", "g.txt", "--json")
    assert json.loads(command(*generated).stdout)["copied"] is None
    assert (
        json.loads(command(*generated, "--corpus", corpus).stdout)["copied"] == compared["copied"]
    )
    assert "so it has no validation text" in command("eval", lone, "--corpus", corpus).stderr
