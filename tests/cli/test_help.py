"""Help pages, and what is suggested for a flag, a setting or a command that does not exist."""

import re
import shlex
from pathlib import Path

import pytest

import charrnn
from tests.conftest import TEXT, Command

COMMANDS = (
    "train", "resume", "sample", "eval", "info", "runs", "runs remove", "runs rename", "compare",
    "corpora", "corpora show", "corpora fetch", "corpora cache",
)  # fmt: skip


def titles(page: str) -> list[str]:
    return re.findall(r"^(\w.*):$", page, re.M)


def test_train_has_at_most_eight_panels(command: Command) -> None:
    page = command("train", "--help").stdout
    panels = titles(page)[1:-1]
    assert titles(page) == ["Arguments", *panels, "Examples"]
    assert {"Run", "Model", "Training", "Optimizer"} <= set(panels)
    assert len(panels) == len(set(panels)) <= 8
    assert panels[-1] == "General"


def test_an_option_is_in_the_panel_of_its_setting(command: Command) -> None:
    parts = re.split(r"^(\w.*):$", command("train", "--help").stdout, flags=re.M)
    panels = dict(zip(parts[1::2], parts[2::2], strict=True))
    for panel, flags in {
        "Run": ("--run", "--init-from", "--minutes", "--patience"),
        "Model": ("--cell", "--tie-embeddings"),
        "Training": ("--batch-size", "--seed"),
        "Optimizer": ("--optimizer", "--grad-clip-value"),
        "Evaluation and checkpoints": ("--eval-every", "--keep"),
        "Text": ("--unit", "--max-corpus-bytes"),
        "Documents and validation": ("--lines", "--val-text"),
        "General": ("--checkpoint-dir", "--help"),
    }.items():
        for flag in flags:
            assert re.search(rf"^  (-\w, )?{flag}\b", panels[panel], re.M), (panel, flag)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_help_fits_the_terminal(command: Command, columns: str) -> None:
    page = command("train", "--help", COLUMNS=columns).stdout
    shown = page[: page.index("Examples:")].splitlines()
    assert max(map(len, shown)) <= min(int(columns), 100)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_page_ends_with_examples_that_parse(command: Command, name: str) -> None:
    page = command(*name.split(), "--help").stdout
    examples = re.findall(r"^    (charrnn .*)$", page[page.index("\nExamples:") :], re.M)
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example)[1:]
        of = next(n for n in reversed(COMMANDS) if words[: n.count(" ") + 1] == n.split())
        known = command(*of.split(), "--help").stdout
        for flag in (word for word in words if word.startswith("-")):
            assert re.search(rf"^  .*(?<![\w-]){flag}\b", known, re.M), example


@pytest.mark.parametrize("group", ["", "corpora", "runs"])
def test_a_list_of_commands_quotes_their_pages(command: Command, group: str) -> None:
    page = command(*group.split(), "--help").stdout
    listed = page[page.index("Commands:") :].partition("\n\n")[0].splitlines()[1:]
    assert len(listed) >= 2
    for name, summary in (line.split(maxsplit=1) for line in listed):
        own = command(*group.split(), name, "--help").stdout.splitlines()
        assert own[2] == f"  {summary}."


WRONG = [
    ("train --lr 0.1", "No such option: --lr; did you mean --learning-rate?"),
    ("train --epoch 2", "did you mean --epochs?"),
    ("train --hidden 9", "did you mean --hidden-size?"),
    ("train --lstm_size 9", "did you mean --hidden-size?"),
    ("train --layers 2", "did you mean --num-layers?"),
    ("train --batch 2", "did you mean --batch-size?"),
    ("train --max-steps 2", "did you mean --steps?"),
    ("train --dropout-rate 0", "did you mean --dropout?"),
    ("train --model gru", "did you mean --cell?"),
    ("train --sizes 9", "did you mean --hidden-size?"),
    ("train --lerning-rate 1", "did you mean --learning-rate?"),
    ("train --learn 1", "did you mean --learning-rate?"),
    ("train --data a.txt", "CORPUS is given without a flag: charrnn train CORPUS"),
    ("train --temperature 1", "it belongs to charrnn sample"),
    ("train --colour red", "see charrnn train --help"),
    ("train -x", "see charrnn train --help"),
    ("sample --temp 1", "did you mean --temperature?"),
    ("sample --model stux", "MODEL is given without a flag: charrnn sample MODEL"),
    ("eval --lr 1", "did you mean --dynamic-lr?"),
    ("corpora show --lowercased", "did you mean --lowercase?"),
    ("--versoin", "did you mean --version?"),
    ("trian", "No such command 'trian'; did you mean train?"),
    ("generate", "did you mean sample?"),
    ("corpora shwo", "did you mean show?"),
    ("runs rm novel", "No such command 'rm'; did you mean remove?"),
    ("runs mv novel poem", "did you mean rename?"),
    ("novel.txt", "to train on it: charrnn train novel.txt"),
    ("paint", "No such command 'paint'; see charrnn --help"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_an_unknown_name_gets_a_suggestion(
    command: Command, tmp_path: Path, words: str, message: str
) -> None:
    (tmp_path / "novel.txt").write_text(TEXT)
    done = command(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith(message)


def test_a_misspelt_run_gets_a_suggestion(
    command: Command, trained: charrnn.TrainingResult
) -> None:
    done = command("sample", "rivr", "--checkpoint-dir", trained.folder.parent)
    assert (done.returncode, done.stderr) == (
        1, "error: no run, checkpoint or model file 'rivr'; did you mean river?\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lr", "lr is not a setting; did you mean learning-rate?"),
        ("hiden_size", "hiden-size is not a setting; did you mean hidden-size?"),
        ("colour", "colour is not a setting; see charrnn train --help"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(
    command: Command, tmp_path: Path, key: str, message: str
) -> None:
    (tmp_path / "c.toml").write_text(f"{key} = 3\n")
    done = command("train", "--config", "c.toml")
    assert (done.returncode, done.stderr) == (2, f"error: --config c.toml: {message}\n")
