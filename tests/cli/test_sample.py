"""`charrnn sample`."""

import io
import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import charrnn
from charrnn.cli.writing import Job, Showing, write
from charrnn.generation.sampling import derived_seed
from charrnn.generation.stepper import Stepper, fastest_threads
from charrnn.model.config import ModelConfig, parameter_shapes
from tests.conftest import ROOT, TEXT, Command
from tests.processes import in_terminal, start

SHORT = ("-n", 40, "--seed", 1)


def test_each_of_several_texts_can_be_written_alone(
    command: Command, where: tuple[object, ...]
) -> None:
    done = command("sample", *SHORT, "-p", "The ", "--num-samples", 3, *where)
    assert (done.returncode, done.stderr) == (0, "")
    heads = re.findall(r"^--- (\d) of 3, seed (\d+) ---$", done.stdout, re.MULTILINE)
    assert [number for number, _ in heads] == ["1", "2", "3"]
    assert heads[0][1] == "1"
    third = re.split(r"--- .* ---\n", done.stdout)[3]
    alone = command("sample", "-n", 40, "--seed", heads[2][1], "-p", "The ", *where)
    assert alone.stdout + "\n" == third


def test_a_model_of_lines_writes_one_line_per_sample(
    command: Command, names: tuple[object, ...]
) -> None:
    done = command("sample", "--num-samples", 9, "--seed", 1, "-t", 0.5, *names)
    assert len(done.stdout.splitlines()) == 9
    assert set(done.stdout.splitlines()) <= {"anna", "bert"}
    assert done.stdout.endswith("\n")


def test_json_has_what_a_script_needs(command: Command, where: tuple[object, ...]) -> None:
    found = json.loads(
        command("sample", *SHORT, "--json", "--report", "--num-samples", 2, *where).stdout
    )
    assert found[0]["seed"] == 1
    for one in found:
        assert one["characters"] == len(one["text"]) == 40
        assert one["stop_reason"] == "length"
        assert one["settings"]["temperature"] == one["temperature"] == 0.8
        assert one["bits_per_char"] == pytest.approx(-one["log_probability"] / 40 / 0.6931471806)
        assert one["report"]["characters"] == 40
        assert one["report"]["copied"] in TEXT


def test_the_end_of_a_text_is_chosen_by_flags(command: Command, where: tuple[object, ...]) -> None:
    """--stop may be repeated, and understands \\n."""
    whole = command("sample", "-n", 300, "--seed", 1, *where).stdout
    first = whole[: whole.index("\n")]
    assert command("sample", "-n", 300, "--seed", 1, "--stop", "\\n", *where).stdout == first
    both = ("--stop", "hhhh", "--stop", "\n", "--include-stop")
    assert command("sample", "-n", 300, "--seed", 1, *both, *where).stdout == f"{first}\n"


def test_beam_search_returns_the_best_first(command: Command, where: tuple[object, ...]) -> None:
    beams = ("--num-beams", 6, "--num-return-sequences", 3, "-n", 12, "-p", "The ")
    found = json.loads(command("sample", *beams, "--json", *where).stdout)
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0]["score"] == pytest.approx(found[0]["log_probability"] / 12)
    assert len({one["text"] for one in found}) == 3
    greedy = json.loads(command("sample", "-t", 0, "-n", 12, "-p", "The ", "--json", *where).stdout)
    assert found[0]["log_probability"] >= greedy["log_probability"] - 1e-6
    shown = command("sample", *beams, *where).stdout
    first = f"score {scores[0]:.4f}, log-probability {found[0]['log_probability']:.2f}"
    assert shown.startswith(f"--- 1 of 3, {first} ---\n")
    assert found[2]["text"] in shown


def test_a_missing_prompt_file_is_reported(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    for name, problem in (("", "a folder"), (tmp_path, "a folder"), ("no.txt", "no such file")):
        done = command("sample", "--prompt-file", name, *where)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: --prompt-file ")
        assert done.stderr.endswith(f": {problem}\n")


def test_an_unwritable_file_is_reported_before_the_work(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    done = command("sample", "-n", 10**9, "-o", "no/such/folder.txt", *where)
    assert done.returncode == 1
    assert done.stderr.startswith("error: -o no/such/folder.txt: ")
    plain = command("sample", *SHORT, *where).stdout
    assert command("sample", *SHORT, "-o", "-", *where).stdout == plain
    assert not (tmp_path / "-").exists()


def test_a_long_prompt_is_read_within_the_time(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text(TEXT * 20_000)
    flags = ("--prompt-file", "long.txt", "--max-seconds", 0.2, "--json", "--no-echo")
    found = json.loads(command("sample", *flags, *where).stdout)
    assert (found["text"], found["stop_reason"]) == ("", "time")


def test_sampled_beams_differ_and_are_reproducible(
    command: Command, where: tuple[object, ...]
) -> None:
    flags = ("--num-beams", 5, "--beam-sampling", "--num-return-sequences", 5, *SHORT, "--json")
    first, second = (command("sample", *flags, *where).stdout for _ in range(2))
    assert first == second
    assert len({one["text"] for one in json.loads(first)}) == 5


WRONG = [
    (("--num-beams", 0), "--num-beams 0: must be at least 1"),
    (("--num-beams", 10**9), "--num-beams 1000000000: must be at most 65,536"),
    (("--length-penalty", 1), "--length-penalty needs --num-beams of 2 or more"),
    (("--num-beams", 4, "--top-k", 3), "--num-beams and --top-k: choose one"),
    (("--num-beams", 4, "--temperature-schedule", "1:0"), "--temperature-schedule: choose one"),
    (("--num-beams", 4, "--num-samples", 2), "--num-beams and --num-samples: choose one"),
    (("--num-beams", 4, "--num-return-sequences", 5), "more than --num-beams 4"),
    (("--num-beams", 4, "--num-beam-groups", 3), "must divide --num-beams 4"),
    (("--num-beams", 4, "--diversity-penalty", 1), "needs --num-beam-groups of 2 or more"),
    (("--num-beams", 4, "--beam-sampling", "-t", 0), "--beam-sampling needs a temperature above 0"),
    (("--num-samples", 0), "0"),
    (("--temperature-range", "0.3:1.2"), "must be FROM:TO:N"),
    (("--temperature-range", "a:b:3"), "--temperature-range a:b:3: must be FROM:TO:N"),
    (("--temperature-range", "1:2:1"), "2 to 100 texts"),
    (("--num-beams", 4, "--heat"), "--heat and --num-beams: choose one"),
    (("--heat", "--temperature-range", "1:2:3"), "--heat and --temperature-range: choose one"),
    (("--ban", "[a-z"), "--ban [a-z: not a character class such as [a-z]"),
    (("--only", "[]"), "--only []: not a character class such as [a-z]"),
    (("--temperature-range", "1:2:3", "-t", 1), "--temperature-range and --temperature: choose"),
    (("--interactive", "--json"), "--interactive and --json: choose one"),
    (("--heat", "--json"), "--heat and --json: choose one"),
    (("--max-seconds", 0), "--max-seconds 0.0: must be above 0"),
    (("--stop", ""), "--stop: an empty text"),
    (("--stop", "é"), "--stop 'é': the model cannot write 'é'"),
    (("--only", "[é]"), "leave no character to write"),
    (("--ban", "[z-a]"), "--ban [z-a]: not a valid character class"),
    (("--min-length", 900), "--min-length 900: more than --length 500"),
    (("--weights", "int4"), "--weights int4: choose one of float32, int8"),
    (("--weights", "int8", "--device", "cuda"), "int8 is for the CPU"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_contradictory_flags_are_refused_in_one_line(
    command: Command, where: tuple[object, ...], arguments: tuple[object, ...], message: str
) -> None:
    done = command("sample", *arguments, *where)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_heat_changes_colours_and_not_characters(where: tuple[object, ...], tmp_path: Path) -> None:
    """Heat colours text on a terminal and prints a legend; NO_COLOR turns it off."""
    arguments = ("sample", *SHORT, "--heat", *where)
    plain = in_terminal(arguments, tmp_path, 80)
    assert "\x1b" not in plain
    assert "surprise" not in plain
    coloured = in_terminal(arguments, tmp_path, 80, NO_COLOR="", TERM="xterm-256color")
    assert "surprise in bits" in coloured
    assert re.search(r"\x1b\[38;5;16;48;5;\d+m.\x1b\[0m", coloured)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).endswith(plain)


def test_heat_leaves_a_pipe_alone(command: Command, where: tuple[object, ...]) -> None:
    plain = command("sample", *SHORT, *where)
    hot = command("sample", *SHORT, "--heat", *where)
    assert (hot.stdout, hot.stderr) == (plain.stdout, "")


def test_temperatures_are_side_by_side_if_there_is_room(
    where: tuple[object, ...], tmp_path: Path, command: Command
) -> None:
    arguments = ("sample", *SHORT, "--temperature-range", "0.5:1.5:3", *where)
    wide = in_terminal(arguments, tmp_path, 120)
    assert re.search("temperature 0.5 +temperature 1 +temperature 1.5", wide)
    for shown in (in_terminal(arguments, tmp_path, 60), command(*arguments).stdout):
        assert re.findall("^--- . of 3, temperature (.*) ---", shown, re.MULTILINE) == [
            "0.5",
            "1",
            "1.5",
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_text_at_once(
    where: tuple[object, ...], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with start("sample", "-n", 10**8, *where, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.read(5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, b"")


def test_int8_needs_its_extra_and_says_so(
    spawn: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('hidden by a test')")
    arguments = ("sample", *SHORT, "-t", 0, "--weights", "int8", *where)
    hidden = spawn(*arguments)
    assert (hidden.returncode, hidden.stdout) == (2, "")
    assert f'pip install -e "{ROOT}[fast]"' in hidden.stderr


def test_a_text_comes_character_by_character(
    trained: charrnn.TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even into a pipe, which shows nothing before it is flushed."""

    class Pipe(io.StringIO):
        flushed: ClassVar[list[int]] = []

        def flush(self) -> None:
            self.flushed.append(len(self.getvalue()))

    monkeypatch.setattr("sys.stdout", Pipe())
    request = charrnn.GenerationRequest.from_values({"prompt": "The", "length": 30, "seed": 1})
    write(Job(charrnn.load(trained.folder), request, Showing()))
    assert sorted(set(Pipe.flushed)) == [0, *range(3, 34)]


def test_a_search_shows_its_progress(where: tuple[object, ...], tmp_path: Path) -> None:
    arguments = ("sample", "-n", 3_000, "--num-beams", 4, *where)
    assert re.search(r"beam search: +\d+%", in_terminal(arguments, tmp_path, 80))


def test_the_fastest_threads_are_one_or_all(trained: charrnn.TrainingResult) -> None:
    assert charrnn.load(trained.folder).fastest_threads(4) == 1, "a small model gains nothing"
    config = ModelConfig(hidden_size=512, num_layers=1)
    shapes = parameter_shapes(config, 10)
    large = Stepper({k: np.zeros(s, np.float32) for k, s in shapes.items()}, config)
    assert fastest_threads(large, 2) in (1, None)


def test_a_text_ends_when_the_time_is_up(command: Command, where: tuple[object, ...]) -> None:
    began = time.monotonic()
    arguments = ("sample", "-n", 10**8, "--max-seconds", 0.3, "--json", "--no-echo", *where)
    found = json.loads(command(*arguments).stdout)
    assert found["stop_reason"] == "time"
    assert time.monotonic() - began < 60


def test_many_texts_end_when_the_time_is_up(command: Command, where: tuple[object, ...]) -> None:
    began = time.monotonic()
    arguments = ("sample", "--num-samples", 10**8, "--max-seconds", 0.3, *where)
    assert 1 <= len(json.loads(command(*arguments, "--json").stdout)) < 10**6
    shown = command(*arguments)
    assert "notice: there was time for " in shown.stderr
    assert shown.stdout.startswith("--- 1 of 100000000, seed ")
    assert time.monotonic() - began < 60


def test_a_model_of_lines_writes_no_empty_lines(
    command: Command, names: tuple[object, ...]
) -> None:
    """At this temperature, some seeds end a line at once."""
    flags = ("--num-samples", 150, "--seed", 1, "-t", 4, *names)
    done = command("sample", *flags)
    assert done.stdout.count("\n") == 150
    assert "\n\n" not in f"\n{done.stdout}"
    found = json.loads(command("sample", *flags, "--json").stdout)
    assert [one["text"] for one in found] == done.stdout.splitlines()
    last = command("sample", "--seed", found[-1]["seed"], "-t", 4, *names).stdout
    assert last == found[-1]["text"]
    assert found[-1]["seed"] != derived_seed(1, 149), "no line was empty"


def test_a_prompt_reads_escapes_on_the_command_line_only(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    r"""--prompt reads \n, \t and \\ like --stop; a file and stdin are read unchanged."""
    flags = (*SHORT, "--unknown", "skip", "--json", *where)

    def prompt(*arguments: object, stdin: str = "") -> str:
        found = json.loads(command("sample", *flags, *arguments, stdin=stdin).stdout)
        return str(found["prompt"])

    assert prompt("-p", r"The\nriver\t\\n") == "The\nriver\t\\n"
    assert prompt("-p", "The\nriver") == "The\nriver"
    assert prompt("-p", "-", stdin=r"The\nriver") == r"The\nriver"
    (tmp_path / "p.txt").write_text(r"The\nriver")
    assert prompt("--prompt-file", "p.txt") == r"The\nriver"


def test_verbose_names_the_model_once(command: Command, where: tuple[object, ...]) -> None:
    done = command("sample", *SHORT, "--num-samples", 3, "-v", *where)
    path, *seeds = done.stderr.splitlines()
    assert path.endswith("model.safetensors")
    assert [line.split()[0] for line in seeds] == ["seed"] * 3
    assert seeds[0] == "seed 1"
    assert command("sample", *SHORT, "-v", "-q", *where).stderr == ""


def test_texts_side_by_side_wrap_between_words(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    arguments = ("sample", "-n", 300, "--seed", 1, "--temperature-range", "0.1:0.8:3", *where)
    texts = [one["text"] for one in json.loads(command(*arguments, "--json").stdout)]
    words = {word for text in texts for word in text.split()}
    whole = {word for word in words if len(word) < 80 // 3 - 2}
    assert len(whole) > 10, "longer words do not fit into a column"
    heading, *lines = in_terminal(arguments, tmp_path, 80).splitlines()
    assert heading.split() == ["temperature", "0.1", "temperature", "0.45", "temperature", "0.8"]
    assert {word for line in lines for word in line.split()} >= whole
