"""`charrnn sample --interactive`: a conversation, in pipes and on a terminal."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.processes import in_terminal, start


def test_beams_in_a_conversation_are_numbered(command: Command, where: tuple[object, ...]) -> None:
    """The best of several is the one that continues."""
    flags = ("-i", "--num-beams", 4, "--num-return-sequences", 2, "-n", 6, *where)
    shown = command("sample", *flags, stdin="The\n\n").stdout
    assert re.findall("^--- (.) of 2", shown, re.MULTILINE) == ["1", "2", "1", "2"]
    first, _, again, _ = re.split(r"--- .* ---\n", shown)[1:]
    assert again.startswith(first.rstrip("\n"))


CONVERSATION = """\
/seed 5
/length 20
The
/retry

/temperature 0
The
/beams 3
The
/save saved.txt
/nonsense 3
/length many
/settings
Thé
/quit
The
"""


def test_a_conversation_works_through_pipes(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    """Texts go to stdout with a line end after each; mistakes are reported and change nothing."""
    done = command("sample", "--interactive", *where, stdin=CONVERSATION)
    assert done.returncode == 0

    def alone(*arguments: object) -> str:
        return command("sample", "-n", 20, *arguments, *where).stdout + "\n"

    first = alone("-p", "The", "--seed", 5)
    second = alone("-p", "The", "--seed", 6)
    third = alone("-p", second[:-1], "--seed", 5)
    best = alone("-p", "The", "--num-beams", 3)
    expected = first + second + third + alone("-p", "The", "-t", 0) + best
    assert done.stdout == expected
    assert (tmp_path / "saved.txt").read_text() == f"{best}\n"
    assert done.stderr.splitlines() == [
        "temperature is back at its default, because of num-beams",
        "saved in saved.txt",
        "error: /nonsense: no such command or setting; see /help",
        "error: --length many: must be a whole number",
        "length 20",
        "seed 5",
        "num-beams 3",
        "error: the model does not know 'é' (U+00E9), character 3 of the text; leave it out, or "
        "pass --unknown skip or --unknown replace",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_ends_a_text_and_not_the_conversation(
    where: tuple[object, ...], tmp_path: Path
) -> None:
    shown = in_terminal(
        ("sample", "-i", "--seed", 1, *where),
        tmp_path,
        80,
        typed=[
            ("2004h", b"/length 100000000\r"),
            ("2004h", b"The\r"),
            ("2004lThe", b"\x03"),
            ("2004h", b"/length 7\r"),
            ("2004h", b"/settings\r"),
            ("2004h", b"\x04"),
        ],
        TERM="xterm",
        PROMPT_TOOLKIT_NO_CPR="1",
    )
    assert "\nlength 7\r\n" in shown.replace("2004l", "\n")
    assert "Traceback" not in shown


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_ignored_ctrl_c_does_not_end_a_text(where: tuple[object, ...], tmp_path: Path) -> None:
    """As under nohup, or in the background of a script."""
    flags = ("-i", "--seed", 1, "--length", 10**8, *where)
    process = start("sample", *flags, cwd=tmp_path, ignoring=[signal.SIGINT], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"The\n")
    process.stdin.close()
    assert process.stdout is not None
    process.stdout.read(100)
    process.send_signal(signal.SIGINT)
    assert len(process.stdout.read(20_000)) == 20_000
    assert process.poll() is None


def test_a_conversation_begins_with_the_given_prompt(
    command: Command, where: tuple[object, ...], tmp_path: Path
) -> None:
    """Even if it looks like a command; a typed prompt may begin with a doubled /."""
    (tmp_path / "p.txt").write_text("/quit the\n")
    flags = ("-n", 5, "--seed", 1, "--unknown", "skip", *where)
    shown = command("sample", "-i", "--prompt-file", "p.txt", *flags, stdin="//The\n\xff").stdout
    assert shown.startswith("/quit the\n")
    assert "\n/The" in shown


@pytest.mark.parametrize(("setting", "stop"), [("/seed 1", "\n"), ("/beams 3", "s")])
def test_an_empty_line_continues_a_text_after_its_stop(
    command: Command, where: tuple[object, ...], setting: str, stop: str
) -> None:
    """The stop text, which the text leaves out, becomes part of what is continued."""
    typed = f"{setting}\n/length 80\n/stop {stop!r}\nThe\n\n\n".replace("'", "")
    shown = command("sample", "-i", *where, stdin=typed).stdout
    first, second, third = re.split("\n(?=The)", shown.removesuffix("\n"))
    assert second.startswith(first + stop)
    assert len(second) > len(first + stop)
    assert third.startswith(second + stop)
    assert stop not in first.removeprefix("The")
