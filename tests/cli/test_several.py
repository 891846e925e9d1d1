"""`charrnn train` with several values of a setting, as a user runs it."""

import json
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import charrnn
from charrnn.errors import TrainingError
from tests.cli.test_startup import completions
from tests.conftest import Command
from tests.processes import in_terminal, start, wait_until

TINY = (
    "--hidden-size", 8, "--embedding-size", 4, "--batch-size", 4, "--seq-length", 16,
    "--sample-every", 0,
)  # fmt: skip


def runs(corpus: Path) -> set[str]:
    return set(charrnn.run_names(corpus.parent / "checkpoints"))


def test_several_values_train_one_run_each(command: Command, corpus: Path) -> None:
    """The number of runs is said at the start, and the table of compare is the product."""
    done = command("train", corpus, *TINY, "--steps", 3, "--cell", "rnn,gru", "--seed=0,1")
    assert done.returncode == 0, done.stderr
    names = [f"river-{cell}-seed-{seed}" for cell in ("rnn", "gru") for seed in (0, 1)]
    assert done.stderr.startswith("4 runs, one after another\n")
    said = re.findall(r"^run (\d) of 4: --cell (\w+) --seed (\d)$", done.stderr, re.M)
    assert [f"river-{cell}-seed-{seed}" for _, cell, seed in said] == names
    heads, *rows = done.stdout.splitlines()
    assert "nats logged" in heads
    assert [row.split()[0] for row in rows] == names
    assert done.stdout == command("compare", *names, "--no-eval").stdout


def test_spaces_after_commas_do_not_matter(command: Command, corpus: Path) -> None:
    """For words as for numbers."""
    words = ("--steps", 1, "--cell", "rnn, gru", "--seed", "0, 1", "--quiet")
    assert command("train", corpus, *TINY, *words).returncode == 0
    assert runs(corpus) == {f"river-{cell}-seed-{seed}" for cell in ("rnn", "gru") for seed in "01"}


def test_quiet_leaves_only_the_table(command: Command, corpus: Path) -> None:
    done = command("train", corpus, *TINY, "--steps", "1,2", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3


def test_the_time_of_all_runs_is_announced(command: Command, corpus: Path) -> None:
    minutes = ("--minutes", 0.01)
    done = command("train", corpus, *TINY, *minutes, "--cell", "rnn,gru")
    assert "2 runs, one after another: 0:01 each, 0:01 of training in all\n" in done.stderr
    done = command("train", corpus, *TINY, "--minutes", "0.02,0.001")
    assert "2 runs, one after another: 0:01 of training in all\n" in done.stderr


def test_a_settings_file_may_have_lists(command: Command, corpus: Path) -> None:
    """A flag replaces the whole list; a list of one value is that value."""
    (corpus.parent / "c.toml").write_text('cell = ["rnn", "gru"]\nwarmup = [5]\nsteps = 1\n')
    done = command("train", corpus, *TINY, "--config", "c.toml")
    assert done.returncode == 0, done.stderr
    assert runs(corpus) == {"river-rnn", "river-gru"}
    done = command("train", corpus, *TINY, "--config", "c.toml", "--cell", "lstm", "--run", "one")
    assert (done.returncode, "one after another" in done.stderr) == (0, False), done.stderr
    assert runs(corpus) == {"river-rnn", "river-gru", "one"}


def test_piped_text_is_read_once_for_all_runs(command: Command, corpus: Path) -> None:
    done = command("train", "-", *TINY, "--steps", "1,2", stdin=corpus.read_bytes())
    assert done.returncode == 0, done.stderr
    assert runs(corpus) == {"stdin-steps-1", "stdin-steps-2"}


WRONG = [
    (("--cell", "rnn,"), 2, "'rnn,': a value is missing beside a comma"),
    (("--seed", ","), 2, "','"),
    (("--cell", "rnn,transformer"), 2, "--cell transformer: must be one of lstm, gru"),
    (("--hidden-size", "1,024"), 2, "'1,024': commas separate several values"),
    (("--learning-rate", "0,01"), 2, "'0,01': commas separate several values"),
    (("--steps", "1,x"), 2, "'x' is not a whole number"),
    (("--dropout", "0.1,high"), 2, "'high' is not a number"),
    (("--steps", "1," + "9" * 5000), 2, "is not a whole number"),
    (("--dropout", "0.1,nan"), 2, "--dropout nan: must be a finite number"),
    (("--seed", ",".join(map(str, range(51)))), 2, "--seed: 51 runs are too many"),
    (("--seed", "1,2", "--device", "tpu"), 1, "--device tpu: not available"),
    (("--seed", "1,2", "nowhere.txt"), 1, "no file or corpus is called 'nowhere.txt'"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_a_mistake_ends_the_command_before_any_run(
    command: Command, tmp_path: Path, arguments: Sequence[str], code: int, message: str
) -> None:
    done = command("train", *TINY, "--steps", 1, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_that_fails_does_not_end_the_others(
    command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported at once and at the end, and the exit code says so."""
    from charrnn.training.trainer import Trainer

    real = Trainer.run

    def diverge(self: Trainer, *arguments: object) -> object:
        if self.config.learning_rate == 9:
            raise TrainingError("step 2: no usable gradient")
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "run", diverge)
    done = command("train", corpus, *TINY, "--steps", 2, "--learning-rate", "9,0.1", "--quiet")
    assert done.returncode == 1
    assert done.stderr == (
        "error: run river-learning-rate-9: step 2: no usable gradient\n"
        "error: 1 of 2 runs failed, for the reasons above: river-learning-rate-9\n"
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "run",
        "river-learning-rate-0.1",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_tells_how_to_train_the_rest(
    command: Command, corpus: Path, number: int, code: int
) -> None:
    """The run in progress is saved, and the commands train the others under the same names."""
    lists = ("--cell", "gru,lstm", "--seed=0,1,2", "--warmup", "0,7")
    process = start(
        "train", "river.txt", *TINY, "--minutes", 2, *lists, "--run=r", cwd=corpus.parent
    )
    log = corpus.parent / "checkpoints" / "r-gru-warmup-0-seed-0" / "log.jsonl"
    wait_until(lambda: log.exists() and b'"step": 9,' in log.read_bytes(), process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, b""), stderr.decode()
    shown = stderr.decode()
    assert "continue  charrnn resume r-gru-warmup-0-seed-0\n" in shown
    assert "11 runs of 12 not begun; to train the rest:\n" in shown
    left = shown.partition("to train the rest:\n")[2].splitlines()
    assert len(left) == 3
    assert not re.search(r"--run=|--seed=|gru,lstm", " ".join(left))  # each is replaced
    for line in left:
        words = shlex.split(line)[1:]
        at = words.index("--minutes")
        done = command(*words[:at], *words[at + 2 :], "--steps", 1, "--quiet")
        assert done.returncode == 0, done.stderr
    assert runs(corpus) == {
        f"r-{cell}-warmup-{warmup}-seed-{seed}"
        for cell in ("gru", "lstm")
        for seed in range(3)
        for warmup in (0, 7)
    }


def test_completion_goes_on_behind_a_comma(command: Command) -> None:
    assert completions(command, "charrnn train --schedule co") == ["cosine", "constant"]
    assert completions(command, "charrnn train --cell rnn,l") == ["rnn,lstm", "rnn,layernorm-lstm"]
    assert completions(command, "charrnn train --schedule linear,lin") == []


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_several_runs_fit_a_narrow_terminal(corpus: Path) -> None:
    """Each run has its own bar and its own figures."""
    words = ("train", corpus, *TINY, "--steps", "5,10")
    shown = in_terminal(words, corpus.parent, 50)
    assert shown.count("finished") == 2
    assert "run 2 of 2: --steps 10" in shown
    assert "river-steps-10" in shown.rpartition("nats")[2]


def test_the_log_of_each_run_has_its_own_settings(command: Command, corpus: Path) -> None:
    done = command("train", corpus, *TINY, "--steps", 1, "--learning-rate", "0.5,1e-3", "-q")
    assert done.returncode == 0, done.stderr
    for rate in (0.5, 0.001):
        log = corpus.parent / "checkpoints" / f"river-learning-rate-{rate}" / "log.jsonl"
        assert json.loads(log.read_text().splitlines()[0])["training"]["learning_rate"] == rate
