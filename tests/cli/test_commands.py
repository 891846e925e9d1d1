"""The commands as a user runs them: what is on stdout, what on stderr, and the exit code."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

import charrnn
from charrnn.checkpoint.migrations import MODEL_FORMAT
from tests.conftest import ROOT, TEXT, Command
from tests.processes import in_terminal, start

SMALL = (
    "--hidden-size", 16, "--embedding-size", 8, "--batch-size", 4, "--seq-length", 16,
)  # fmt: skip


@pytest.fixture
def folder(trained: charrnn.TrainingResult) -> Path:
    return trained.folder.parent


def test_the_main_commands_work_in_turn(command: Command, tmp_path: Path) -> None:
    """CHARRNN_CHECKPOINT_DIR names the folder for all of them."""
    (tmp_path / "novel.txt").write_text(TEXT)
    where = {"CHARRNN_CHECKPOINT_DIR": "my runs"}
    first = command("train", "novel.txt", *SMALL, "--steps", 20, "--eval-every", 10, **where)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert "step     10" in first.stderr
    assert "charrnn sample novel --checkpoint-dir 'my runs' --temperature 0.8" in first.stderr

    more = command("resume", "--steps", 30, **where)
    assert (more.returncode, more.stdout) == (0, ""), more.stderr
    assert "after step 20" in more.stderr

    text = command("sample", "-p", "The ", "-n", 30, "--seed", 1, **where)
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.startswith("The ")
    assert len(text.stdout) == 34

    scored = command("eval", "novel", "novel.txt", "--json", **where)
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout).keys() >= {
        "nats_per_char", "bits_per_char", "bits_per_byte", "perplexity", "characters",
    }  # fmt: skip

    about = json.loads(command("info", "--json", **where).stdout)
    assert about["model"]["hidden_size"] == 16
    listed = json.loads(command("runs", "--json", **where).stdout)
    assert [(run["run"], run["step"]) for run in listed] == [("novel", 30)]


def test_quiet_training_prints_nothing(command: Command, corpus: Path) -> None:
    done = command("train", corpus, *SMALL, "--steps", 3, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_flags_override_a_settings_file(command: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'cell = "gru"\nhidden-size = 12\nsteps = 2\nembedding_size = 3\n'
    )
    assert command("train", corpus, "--config", "c.toml", "--hidden-size", 10).returncode == 0
    about = json.loads(command("info", "--json").stdout)
    assert about["model"]["cell"] == "gru"
    assert about["model"]["hidden_size"] == 10
    assert about["model"]["embedding_size"] == 3


def test_chosen_settings_are_printed_as_flags(
    command: Command, corpus: Path, tmp_path: Path
) -> None:
    """Training again with these flags gives the same settings."""
    (tmp_path / "c.toml").write_text("embedding-size = 4\nminutes = 0.01\n")
    done = command("train", corpus, "--config", "c.toml", "--run", "first")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("chosen"))
    flags = line.removeprefix("chosen").split()
    names = "batch-size hidden-size eval-every learning-rate dropout input-dropout"
    assert flags[::2] == [f"--{name}" for name in names.split()]

    again = command("train", corpus, "--config", "c.toml", "--run", "second", *flags)
    assert again.returncode == 0
    assert "\nchosen" not in again.stderr
    first, second = (json.loads(command("info", r, "--json").stdout) for r in ("first", "second"))
    assert first["model"] == second["model"]
    assert first["model"]["embedding_size"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("hiden-size = 3", "hiden-size is not a setting; did you mean hidden-size?"),
        ("hidden-size = 'big'", "--hidden-size big: must be a whole number"),
        ("hidden-size", "not valid TOML"),
        ("", "c.toml: No such file"),
    ],
)
def test_a_wrong_settings_file_is_reported(
    command: Command, tmp_path: Path, content: str, message: str
) -> None:
    if content:
        (tmp_path / "c.toml").write_text(content)
    done = command("train", "--config", "c.toml")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


WRONG = [
    (("train", "nowhere.txt"), 1, "no file or corpus is called 'nowhere.txt'"),
    (("train", "--steps", "-1"), 2, "--steps -1: must be at least 1"),
    (("train", "--steps", "many"), 2, "Invalid value for '--steps'"),
    (("train", "--cell", "transformer"), 2, "transformer"),
    (("train", "--colour"), 2, "No such option"),
    (("train", "--preset", "huge"), 2, "--preset huge: choose one of fast, balanced, best"),
    (("train", "--preset", "fast", "--minutes", "2"), 2, "--preset and --minutes both say"),
    (("train", "--device", "cuda:9", "tiny.txt"), 1, "--device cuda:9: not available"),
    (("train", "tiny.txt"), 1, "at least 10 are needed"),
    (("train", "--init-from", "nobody"), 1, "no run, checkpoint or model file 'nobody'"),
    (("paint",), 2, "paint"),
    (("resume",), 1, "no run with a checkpoint in checkpoints; start one: charrnn train"),
    (("sample", "tiny.txt"), 1, "not a charrnn model file"),
    (("sample", "-t", "-1"), 2, "--temperature -1.0: must be at least 0"),
    (("sample", "-t", "nan"), 2, "--temperature nan: must be a finite number"),
    (("sample", "--device", "tpu"), 2, "--device tpu: choose one of auto, cpu, cuda, mps"),
    (("sample", "--unknown", "guess"), 2, "'guess' is not one of"),
    (("sample", "-p", "a", "--prompt-file", "tiny.txt"), 2, "--prompt and --prompt-file: choose"),
    (("eval", "--context", "0"), 2, "--context 0: must be carried, or a number"),
    (("eval", "--context", "some"), 2, "--context some: must be carried, or a number"),
    (("eval", "--dynamic", "--context", "9"), 2, "--dynamic and --context 9: choose one"),
    (("eval", "--dynamic", "--generated", "tiny.txt"), 2, "--dynamic and --generated: choose one"),
    (("eval", "--dynamic-lr", "0.1"), 2, "--dynamic-lr needs --dynamic"),
    (("eval", "--dynamic", "--dynamic-decay", "2"), 2, "--dynamic-decay 2.0: must be at most 1"),
    (("resume", "--epochs", "-1"), 2, "--epochs -1.0: must be above 0"),
    (("train", "--grad-clip-value", "1e300"), 2, "--grad-clip-value 1e+300: must be at most"),
    (("info", "nobody"), 1, "no run, checkpoint or model file 'nobody'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_a_mistake_gets_a_message_and_an_exit_code(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "tiny.txt").write_text("tiny")
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    if code == 1:
        assert done.stderr.count("\n") == 1


def test_prompts_come_from_flags_files_and_pipes(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    where = ("--checkpoint-dir", folder, "--seed", 5, "-n", 20)
    by_flag = command("sample", *where, "-p", "The stones\n").stdout
    (tmp_path / "p.txt").write_bytes(b"The stones\r\n")
    assert command("sample", *where, "--prompt-file", "p.txt").stdout == by_flag
    assert command("sample", *where, "-p", "-", stdin="The stones\n").stdout == by_flag
    assert command("sample", *where, "-p", "The stones\n", "--no-echo").stdout == by_flag[11:]
    bad = command("sample", *where, "-p", "-", stdin=b"caf\xe9")
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: stdin: not UTF-8 at byte 3 (E9)")
    unknown = command("sample", *where, "-p", "Thé")
    assert unknown.returncode == 1
    assert "'é' (U+00E9), character 3" in unknown.stderr
    assert command("sample", *where, "-p", "Thé", "--unknown", "skip").stdout.startswith("Thé")


def test_samples_can_be_json_or_a_file(command: Command, folder: Path, tmp_path: Path) -> None:
    where = ("--checkpoint-dir", folder, "-n", 20, "-p", "The")
    result = json.loads(command("sample", *where, "--json").stdout)
    assert result.keys() >= {"text", "log_probability", "seed", "stop_reason"}
    again = command("sample", *where, "--seed", result["seed"])
    assert again.stdout == result["text"]
    done = command("sample", *where, "--seed", result["seed"], "-o", "out.txt")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "out.txt").read_text() == result["text"]
    refused = command("sample", *where, "-o", "no/such/folder.txt")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_eval_scores_several_texts(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The river")
    (tmp_path / "b.txt").write_text("The stones")
    where = ("--checkpoint-dir", folder)
    two = json.loads(command("eval", "river", "a.txt", "b.txt", "--json", *where).stdout)
    assert [(result["text"], result["characters"]) for result in two] == [
        ("a.txt", 8),
        ("b.txt", 9),
    ]
    table = command("eval", "river", "a.txt", *where)
    assert "nats/char" in table.stdout
    (tmp_path / "c.txt").write_text("Ω")
    wrong = command("eval", "river", "c.txt", *where)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "c.txt: the model does not know 'Ω'" in wrong.stderr


def test_eval_reports_skipped_and_scored_characters(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("The river, the river. ΩΩé")
    where = ("eval", "river", "a.txt", "--checkpoint-dir", folder)
    done = command(*where, "--unknown", "skip")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "notice: a.txt: skipped 3 of 25 characters because the model does not know them: Ω é",
        "notice: a.txt: 21 of 22 characters scored; the first is read, not predicted",
    ]
    replaced = command(*where, "--unknown", "replace", "--json")
    assert "replaced 3 of 25 characters" in replaced.stderr
    assert json.loads(replaced.stdout)["characters"] == 24
    assert command(*where, "--unknown", "skip", "--quiet").stderr == ""


def test_every_character_of_a_line_is_scored(command: Command, tmp_path: Path) -> None:
    """And its end, since the model knows what comes before a line."""
    (tmp_path / "names.txt").write_text("Anna\nBert\nCarla\n" * 20)
    (tmp_path / "a.txt").write_text("Anna")
    assert command("train", "names.txt", "--lines", *SMALL, "--steps", 2, "-q").returncode == 0
    done = command("eval", "names", "a.txt", "--json")
    assert (json.loads(done.stdout)["characters"], done.stderr) == (len("Anna\n"), "")


def test_dynamic_evaluation_learns_from_each_text_alone(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    """The second text is scored as if the first had not been read."""
    (tmp_path / "a.txt").write_text("The stones " * 30)
    where = ("--json", "--checkpoint-dir", folder)
    plain = json.loads(command("eval", "river", "a.txt", *where).stdout)
    done = command("eval", "river", "a.txt", "a.txt", "--dynamic", *where)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first == second
    assert first.keys() == plain.keys()
    assert first["nats_per_char"] < plain["nats_per_char"]
    still = command("eval", "river", "a.txt", "--dynamic", "--dynamic-lr", 0, *where)
    assert json.loads(still.stdout)["nats_per_char"] == pytest.approx(plain["nats_per_char"])
    own = json.loads(command("eval", "river", "--dynamic", "--dynamic-length", 5, *where).stdout)
    assert own["text"] == "validation"


def test_an_unreadable_checkpoint_gets_a_notice(
    command: Command, corpus: Path, tmp_path: Path
) -> None:
    assert command("train", corpus, *SMALL, "--steps", 4, "-q").returncode == 0
    (tmp_path / "checkpoints" / "river" / "step-00000004" / "manifest.json").write_text("{}")
    for arguments in (("sample", "-n", 5), ("eval",), ("info",)):
        done = command(*arguments)
        assert done.returncode == 0
        assert "notice: " in done.stderr
        assert "step-00000004: cannot be read and is skipped" in done.stderr
        assert command(*arguments, "-q").stderr == ""


def test_info_verify_finds_damage(command: Command, corpus: Path, tmp_path: Path) -> None:
    assert command("train", corpus, *SMALL, "--steps", 4, "--save-every", 2, "-q").returncode == 0
    sound = command("info", "--verify")
    assert sound.returncode == 0
    assert sound.stdout.count("sound") == 3
    path = tmp_path / "checkpoints" / "river" / "step-00000002" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    damaged = command("info", "--verify", "--json")
    assert damaged.returncode == 1
    assert "damaged" in json.loads(damaged.stdout)[1]["finding"]


def test_info_shortens_a_long_vocabulary(command: Command, tmp_path: Path) -> None:
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    (tmp_path / "book.txt").write_text(characters * 8)
    assert command("train", "book.txt", *SMALL, "--steps", 2, "-q").returncode == 0
    shown = command("info").stdout
    assert f"vocabulary       300 characters: {characters[:64]}... (-v shows all)\n" in shown
    assert f"300 characters: {characters}\n" in command("info", "-v").stdout
    labels = re.findall(r"^(.*?)  ", shown, re.M)
    assert "validation loss" in labels
    assert not any("_" in label for label in labels)
    assert json.loads(command("info", "--json").stdout)["vocabulary"] == characters


def test_no_control_character_reaches_the_terminal(command: Command, tmp_path: Path) -> None:
    """Names and vocabularies may contain anything."""
    (tmp_path / "esc.txt").write_text("\x1b[31mred\x07 " * 100)
    trained = command("train", "esc.txt", *SMALL, "--steps", 2, "--sample-every", 1)
    about = command("info")
    for text in (trained.stderr, about.stdout, about.stderr):
        assert "\x1b[31m" not in text
        assert "\x07" not in text


def test_a_closed_pipe_ends_sampling_quietly(folder: Path) -> None:
    arguments = ("sample", "-n", "100000", "--checkpoint-dir", str(folder))
    with start(*arguments, cwd=ROOT) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.read(10)
        writer.stdout.close()
        assert writer.stderr.read() == b""
        assert writer.wait(60) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_view_of_a_run_fits_the_terminal(corpus: Path, tmp_path: Path, columns: int) -> None:
    """Except for paths, which may be longer than a narrow terminal is wide."""
    arguments = ["train", str(corpus), *map(str, SMALL), "--steps", "40", "--eval-every", "20"]
    shown = in_terminal(arguments, tmp_path, columns)
    lines = shown.replace("\n", "\r").split("\r")
    bars = [line for line in lines if "%|" in line]
    assert bars
    assert all(len(bar) <= columns for bar in bars)
    expected = ["loss"] if columns == 40 else ["loss", "bits", "/s", "evaluating", "lr", "grad"]
    assert all(word in bars[-1] for word in expected)
    evaluations = [line for line in lines if line.startswith("step ")]
    assert len(evaluations) == 2
    assert columns < 80 or all(len(line) <= columns for line in evaluations)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_file_names_may_contain_any_bytes(command: Command, spawn: Command, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text(TEXT)
    assert command("train", name, *SMALL, "--steps", 2).returncode == 0
    assert command("resume", "--steps", 3).returncode == 0
    about = spawn("info", "--json", PYTHONIOENCODING="ascii")
    assert about.returncode == 0
    assert "caf" in json.loads(about.stdout)["corpus"]["sources"][0]


def test_an_error_cannot_steer_the_terminal(command: Command, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    header = json.dumps({"format": MODEL_FORMAT, "model": {"\x1b[31mEVIL\x07": 1}})
    save_file({"x": np.zeros(1)}, tmp_path / "evil.safetensors", {"charrnn": header})
    done = command("info", "evil.safetensors")
    assert done.returncode == 1
    assert "EVIL" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_quiet_lists_print_only_names(command: Command, folder: Path) -> None:
    assert command("runs", "-q", "--checkpoint-dir", folder).stdout == "river\n"
    assert command("corpora", "-q").stdout.split()[:2] == ["python", "unicode-names"]
    assert "step-" not in command("runs", "--checkpoint-dir", folder).stdout
    assert "20, 40, 60" in command("runs", "-v", "--checkpoint-dir", folder).stdout
