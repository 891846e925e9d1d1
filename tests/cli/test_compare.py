"""`charrnn compare` as a user runs it: its table, its JSON, its curves, and what it refuses."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import charrnn
from tests.conftest import TEXT, Command
from tests.processes import in_terminal

ODD = "_$x^2$ \x1b[31m"
MISSING = "is not installed (extra: plot)"


def needs(module: str) -> pytest.MarkDecorator:
    there = importlib.util.find_spec(module) is not None
    return pytest.mark.skipif(not there, reason=f"{module} {MISSING}")


needs_matplotlib, needs_plotext = needs("matplotlib"), needs("plotext")
needs_terminal = pytest.mark.skipif(
    sys.platform == "win32", reason="no pseudo-terminals on Windows"
)


@pytest.fixture
def folder(trained: charrnn.TrainingResult, tmp_path: Path) -> Path:
    """The working folder, with a run under checkpoints."""
    shutil.copytree(trained.folder, tmp_path / "checkpoints" / "river")
    return tmp_path


def add(folder: Path, name: str) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(folder / "checkpoints/river", folder / "checkpoints" / name))


def test_compare_shows_the_logged_losses_of_each_run(command: Command, folder: Path) -> None:
    """At once, from logs and manifests; --no-eval says the same."""
    add(folder, "brook")
    done = command("compare", "river", "brook")
    assert (done.returncode, done.stderr) == (0, "")
    heads, *rows = (re.split("  +", line) for line in done.stdout.splitlines())
    assert heads == [
        "run", "model", "params", "chars", "time", "best step",
        "nats logged in training", "bits logged in training",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["river", "brook"]
    (run, _) = charrnn.list_runs(folder / "checkpoints")
    assert rows[0][-2] == f"{run.best.manifest.val_loss:.4f}"
    assert command("compare", "river", "brook", "--no-eval").stdout == done.stdout
    (row,) = json.loads(command("compare", "river", "--json").stdout)
    assert row["logged_val_loss"] == run.best.manifest.val_loss
    assert (row["carried"], row["fresh"]) == (None, None)


def test_eval_prints_the_scores_of_each_run(command: Command, folder: Path) -> None:
    """Those of charrnn eval."""
    add(folder, "brook")
    done = command("compare", "river", "brook", "--eval")
    assert (done.returncode, done.stderr) == (0, "")
    heads, *rows = (line.split("  ") for line in done.stdout.splitlines())
    assert [head.strip() for head in heads if head] == [
        "run", "model", "params", "chars", "time", "best step",
        "nats carried", "bits carried", "nats fresh 256", "bits fresh 256",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["river", "brook"]
    scored = json.loads(command("eval", "river", "--json").stdout)
    assert f"{scored['nats_per_char']:.4f}" in rows[0]
    assert f"{scored['bits_per_char']:.4f}" in rows[0]
    assert "lstm 1x24" in done.stdout
    assert "3.84k" in done.stdout  # 60 steps x 4 lanes x 16


def test_json_has_the_unrounded_figures(command: Command, folder: Path) -> None:
    (row,) = json.loads(command("compare", "--eval", "--json", "--context", 16).stdout)
    assert (row["run"], row["corpus"], row["unit"]) == ("river", "river", "char")
    assert (row["steps"], row["symbols"], row["problem"]) == (60, 3840, None)
    assert row["model"]["hidden_size"] == 24
    assert row["fresh"]["context"] == 16
    fresh = json.loads(command("eval", "--json", "--context", 16).stdout)
    assert row["fresh"]["nats_per_char"] == fresh["nats_per_char"]


def test_a_context_asks_for_scores(command: Command, folder: Path) -> None:
    """Only scores have one; --no-eval still wins."""
    assert "nats fresh 16" in command("compare", "--context", 16).stdout
    assert "logged in training" in command("compare", "--context", 16, "--no-eval").stdout


@needs_terminal
def test_only_a_terminal_is_told_of_eval(command: Command, folder: Path) -> None:
    """And nobody who has chosen already, or wants quiet."""
    hint = "--eval scores the whole validation part"
    assert hint in in_terminal(("compare",), folder, 80)
    for flag in ("--eval", "--no-eval", "--quiet", "--json"):
        assert hint not in in_terminal(("compare", flag), folder, 80), flag
    assert command("compare").stderr == ""


def test_byte_models_are_said_to_be_logged_per_byte(command: Command, folder: Path) -> None:
    """Their scores are per character, and need no such notice."""
    words = (
        "--unit byte --hidden-size 8 --embedding-size 4 --batch-size 4 --seq-length 16 --steps 2"
    )
    (folder / "river.txt").write_text(TEXT)
    assert command("train", "river.txt", "--run", "bytes", *words.split()).returncode == 0
    said = "notice: the logged figures of byte models are per byte\n"
    assert command("compare", "bytes").stderr == said
    assert command("compare", "bytes", "--eval").stderr == ""


def test_a_run_that_cannot_be_scored_gets_a_notice(command: Command, folder: Path) -> None:
    for checkpoint in add(folder, "broken").glob("step-*"):
        (checkpoint / "model.safetensors").write_bytes(b"")
    done = command("compare", "broken", "river", "--eval")
    assert done.returncode == 0
    assert done.stderr.startswith("notice: broken: ")
    assert done.stderr.count("\n") == 1
    broken, river = (line.split() for line in done.stdout.splitlines()[1:])
    assert broken[-4:] == ["-"] * 4
    assert "-" not in river
    assert command("compare", "broken", "river", "--eval", "--quiet").stderr == ""


WRONG = [
    (("nobody",), 1, "no run, checkpoint or model file 'nobody'"),
    (("--context", "0"), 2, "Invalid value for '--context'"),
    (("--x", "epochs"), 2, "--x epochs: choose one of steps, characters, time"),
    (("--plot", "curve.jpg"), 2, "--plot curve.jpg: must end in .png, .svg, .pdf"),
    (("--json", "--terminal"), 2, "--json and --terminal: choose one"),
    (("--eval", "--device", "cuda:9"), 1, "--device cuda:9: not available"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_a_mistake_gets_a_message_and_an_exit_code(
    command: Command, folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = command("compare", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_compare_without_runs_says_how_to_start_one(command: Command, tmp_path: Path) -> None:
    done = command("compare")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no runs in checkpoints; start one with: charrnn train\n"
    assert command("compare", "--json").stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "module"), [(("--plot", "x.png"), "matplotlib"), (("--terminal",), "plotext")]
)
def test_a_missing_extra_is_reported_before_the_work(
    spawn: Command, folder: Path, arguments: tuple[str, ...], module: str
) -> None:
    """Without curves, the extra is not needed."""
    hidden = folder / "hidden" / "sitecustomize.py"
    hidden.parent.mkdir()
    hidden.write_text(f"import sys; sys.modules[{module!r}] = None")
    from tests.conftest import ROOT

    where = {"PYTHONPATH": f"{hidden.parent}:{ROOT}"}
    done = spawn("compare", *arguments, **where)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"error: {arguments[0]} needs {module}, which is not installed: "
    assert done.stderr.startswith(said)
    assert done.stderr.endswith(f'-m pip install -e "{ROOT}[plot]"\n')
    assert spawn("compare", **where).returncode == 0
    assert not (folder / "x.png").exists()


@needs_matplotlib
@pytest.mark.parametrize(
    ("name", "axis", "begins"),
    [
        ("a.png", "steps", b"\x89PNG"),
        ("a.SVG", "characters", b"<?xml"),
        ("a.pdf", "time", b"%PDF"),
    ],
)
def test_curves_are_saved_in_a_figure(
    command: Command, folder: Path, name: str, axis: str, begins: bytes
) -> None:
    done = command("compare", "--plot", name, "--x", axis)
    assert (done.returncode, done.stderr) == (0, f"curves saved in {name}\n")
    assert command("compare", "--plot", name, "--quiet").stderr == ""
    assert (folder / name).read_bytes().startswith(begins)


@needs_matplotlib
def test_a_figure_is_labelled_and_reproducible(spawn: Command, folder: Path) -> None:
    """Whatever the names of runs and the user's matplotlib settings are."""
    add(folder, ODD)
    (folder / "matplotlibrc").write_text("text.usetex: True\nsvg.fonttype: none\n")
    done = spawn("compare", "--plot", "a.svg", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    first = (folder / "a.svg").read_text()
    for comment in ("characters trained on", "loss in nats per character", "river", "_$x^2$ ␛[31m"):
        assert f"<!-- {comment} -->" in first
    spawn("compare", "--plot", "a.svg")
    assert (folder / "a.svg").read_text() == first


@needs_matplotlib
def test_an_unwritable_figure_is_reported_before_the_work(command: Command, folder: Path) -> None:
    done = command("compare", "--plot", "no/such/folder.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --plot no/such/folder.png: No such file or directory\n"
    assert command("compare", "nobody", "--plot", "a.png").returncode == 1
    assert not (folder / "a.png").exists()


@needs_matplotlib
def test_a_bad_matplotlib_backend_is_reported(spawn: Command, folder: Path) -> None:
    done = spawn("compare", "--plot", "a.png", MPLBACKEND="nonsense")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "'nonsense' is not a valid value" in done.stderr


@needs_matplotlib
@needs_plotext
def test_a_log_without_losses_gets_a_notice(command: Command, folder: Path) -> None:
    (add(folder, "brook") / "log.jsonl").write_bytes(b"\xff\x00 no log\n{")
    some = command("compare", "--plot", "a.png")
    assert (some.returncode, some.stderr.splitlines()[0]) == (
        0, "notice: brook: its log has no loss to draw over characters",
    )  # fmt: skip
    none = command("compare", "brook", "--terminal", "--plot", "a.png")
    assert none.returncode == 1
    assert none.stderr.endswith("error: nothing to draw: no run has a loss in its log\n")


@needs_plotext
@pytest.mark.parametrize("columns", ["60", "120"])
def test_piped_curves_are_plain_text_80_columns_wide(
    command: Command, folder: Path, columns: str
) -> None:
    add(folder, ODD)
    done = command("compare", "--terminal", "--x", "time", COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.split("nats per character\n")[1].splitlines()
    assert max(map(len, lines)) == 80
    assert any("training time in seconds" in line for line in lines)
    assert lines[-3:] == ["a  river", "b  _$x^2$ ␛[31m", ".  training, mean of several steps"]


@needs_plotext
@needs_terminal
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_curves_fit_the_terminal_with_colours_and_without(folder: Path, columns: int) -> None:
    arguments = ("compare", "--terminal")
    plain = in_terminal(arguments, folder, columns, TERM="xterm")
    chart = plain.split("nats per character\r\n")[1].split("\r\n")
    assert "\x1b[38" not in plain
    assert max(map(len, chart)) == columns
    assert sum("a" in line for line in chart) > 5
    coloured = in_terminal(arguments, folder, columns, TERM="xterm-256color", NO_COLOR="")
    assert "\x1b[38;5;32m" in coloured


@needs_terminal
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_figure_is_folded_at_any_width(folder: Path, columns: int) -> None:
    """A long name is folded; on a narrow terminal, each run becomes a list."""
    add(folder, "a-rather-long-name-of-a-run")
    shown = in_terminal(("compare", "--eval"), folder, columns, TERM="xterm")
    for row in charrnn.compare(checkpoint_dir=folder / "checkpoints", evaluate=True):
        assert row.carried is not None
        assert f"{row.carried.nats_per_char:.4f}" in shown
    lines = re.sub(r"\x1b\[\d+m", "", shown.rpartition("\r ")[2]).split("\r\n")
    assert all(len(line.rstrip()) <= columns for line in lines[1:])
    assert ("nats carried" in shown) == (columns == 40)
    assert "river, carried: " in shown  # the bar
