"""`charrnn sample --interactive`: one prompt after another, with settings that can change."""

import dataclasses
import io
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

import charrnn
from charrnn import settings
from charrnn.cli import flags, options
from charrnn.cli.messages import say
from charrnn.cli.writing import Job, stream

HELP = """\
Type a prompt and press Enter; \\n stands for a line end. An empty line continues the last text.
  /temperature 0.5  change a setting, named like its flag
  /beams 4          short for --num-beams; 1 samples again
  /top-p none       return a setting to its default
  /seed 7           use the same seed for each text; none: a new one each time
  /retry            write the last text again with the next seed
  /save FILE        append the last text to a file
  /settings         show the settings that differ from their defaults
  /help, /quit      show this help; leave, like Ctrl-D
Ctrl-C stops a text, not the program."""

SHORT = {"beams": "num_beams"}


def converse(job: Job) -> None:
    """Ask for prompts until the input ends. If the job has a prompt, it is the first."""
    conversation = Conversation(job)
    if sys.stdin.isatty() and not job.showing.quiet:
        say(f"{job.model.path.parent}; type /help for help")
    if job.request.prompt:
        with _errors_shown():
            conversation.write(job.request.prompt)
    for line in _lines():
        name, _, value = line[1:].partition(" ")
        command = line.startswith("/") and not line.startswith("//")
        if command and name in ("quit", "exit"):
            return
        with _errors_shown():
            if command:
                conversation.command(name, value.strip())
            else:
                conversation.answer(options.unescaped(line[line.startswith("//") :]))


class Conversation:
    """The last text, and the current settings."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._prompt = ""
        self._pieces: list[str] = []
        self._seed = 0
        self._last: charrnn.Generation | charrnn.Beam | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "retry": self._retry,
            "save": self._save,
            "settings": self._show_settings,
            "help": lambda _: typer.echo(HELP, err=True),
        }

    def command(self, name: str, value: str) -> None:
        """Carry out a command, or change a setting. Raises CharrnnError."""
        if name in self._commands:
            self._commands[name](value)
        else:
            self._set(name, value)

    def answer(self, line: str) -> None:
        """Write a text after a line; if it is empty, continue the last text.

        A text that ended is continued after its ending, which would otherwise come again at once.
        """
        ending = self._last.ending if self._last is not None else ""
        self.write(line or self._prompt + "".join(self._pieces) + ending)

    def write(self, prompt: str, seed: int | None = None) -> None:
        """Write texts after a prompt. Raises CharrnnError."""
        request = dataclasses.replace(self._job.request, prompt=prompt)
        if seed is not None:
            sampling = dataclasses.replace(request.sampling, seed=seed)
            request = dataclasses.replace(request, sampling=sampling)
        job = dataclasses.replace(self._job, request=request)
        self._pieces, self._last = [], None
        with _interruptible():
            stream(job, self._hear)
        if not sys.stdout.isatty() and request.total == 1:  # to separate it from the next text
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _hear(self, source: "charrnn.Generation | charrnn.Beam", piece: str) -> None:
        if not piece and self._last is None:  # of several texts, the first is the one to continue
            self._last = source
        if source is self._last:
            self._prompt, self._seed = source.prompt, source.seed
            self._pieces.append(piece)

    def _retry(self, _value: str) -> None:
        wanted = self._job.request.sampling.seed
        self.write(self._prompt, self._seed + 1 if wanted in (None, self._seed) else wanted)

    def _save(self, value: str) -> None:
        if not value:
            raise charrnn.SettingsError("/save needs the name of a file")
        text = f"{self._prompt}{''.join(self._pieces)}\n\n"
        path = Path(value).expanduser()
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise charrnn.CharrnnError(f"/save {value}: {error.strerror or error}") from error
        say(f"saved in {value}")

    def _show_settings(self, _value: str) -> None:
        for part in (self._job.request.sampling, self._job.request.beams):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                if value != field.default:
                    say(f"{_typed(field.name)} {value}")

    def _set(self, name: str, text: str) -> None:
        fields = (
            *dataclasses.fields(charrnn.SamplingConfig),
            *dataclasses.fields(charrnn.BeamConfig),
        )
        wanted = SHORT.get(name, name.replace("-", "_"))
        field = next((field for field in fields if field.name == wanted), None)
        if field is None:
            raise charrnn.SettingsError(f"/{name}: no such command or setting; see /help")
        request, gave_way = self._job.request.with_setting(field.name, _value(field, text))
        self._job = dataclasses.replace(self._job, request=request)
        for other in map(_typed, gave_way):
            say(f"{other} is back at its default, because of {_typed(field.name)}")


def _typed(name: str) -> str:
    """Return the name of a setting as it is typed after the slash."""
    return flags.flag(name)[2:]


def _value(field: "dataclasses.Field[Any]", text: str) -> Any:
    """Read the value of a setting; None for its default. The setting refuses invalid values."""
    kind, _ = settings.value_type(field)
    if text == "none":
        return None
    if kind is bool:
        return {"": True, "on": True, "yes": True, "off": False, "no": False}.get(text, text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return options.as_typed(field.name, text if kind is str else [text])


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show an error and carry on."""
    try:
        yield
    except charrnn.CharrnnError as error:
        say(f"error: {error}")


def _lines() -> Iterator[str]:
    """Yield the lines that are typed, or those of a pipe as they arrive."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.output import create_output

    session: PromptSession[str] = PromptSession(output=create_output(sys.stderr))
    while True:
        try:
            yield session.prompt("> ", handle_sigint=not _ignores_ctrl_c())
        except KeyboardInterrupt:  # discards the line
            continue
        except EOFError:
            return


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the block and nothing else, unless it is ignored, as under nohup."""
    if _ignores_ctrl_c():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("", err=True)
    finally:
        signal.signal(signal.SIGINT, before)


def _ignores_ctrl_c() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN
