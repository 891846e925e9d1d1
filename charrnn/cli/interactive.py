"""`charrnn sample --interactive`: one prompt after the other, and settings changed on the way."""

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
from charrnn.cli.writing import Request, stream
from charrnn.render.terminal import harmless

HELP = """\
Type a prompt and press Enter; \\n in it is a line end. An empty line goes on with the last text.
  /temperature 0.5  a setting that shapes the text, named like its flag
  /beams 4          --num-beams; 1 draws again
  /top-p none       a setting as it is by default
  /seed 7           the same seed for each text; none: a new one each time
  /retry            write the last text anew, with the next seed
  /save FILE        append the last text to a file
  /settings         show what differs from the defaults
  /help, /quit      this help; leave, as Ctrl-D does
Ctrl-C ends a text, not the program."""

SHORT = {"beams": "num_beams"}


def converse(request: Request, prompt: str) -> None:
    """Ask for prompts until the input ends; `prompt`, where there is one, is the first."""
    conversation = Conversation(request)
    if sys.stdin.isatty() and not request.quiet:
        typer.echo(f"{request.model.path.parent}; /help tells what can be typed", err=True)
    if prompt:
        with _told():
            conversation.write(prompt)
    for line in _lines():
        name, _, value = line[1:].partition(" ")
        command = line.startswith("/") and not line.startswith("//")
        if command and name in ("quit", "exit"):
            return
        with _told():
            if command:
                conversation.change(name, value.strip())
            else:
                conversation.go_on(options.unescaped(line[line.startswith("//") :]))


class Conversation:
    """What was written last, and the settings as they are now."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._prompt = ""
        self._pieces: list[str] = []
        self._seed = 0
        self._going_on: charrnn.Generation | charrnn.Beam | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "retry": self._retry,
            "save": self._save,
            "settings": self._show_settings,
            "help": lambda _: typer.echo(HELP, err=True),
        }

    def change(self, name: str, value: str) -> None:
        """Do what a command says, or change a setting. Raises CharrnnError."""
        if name in self._commands:
            self._commands[name](value)
        else:
            self._set(name, value)

    def go_on(self, line: str) -> None:
        """Write a text after a line, or after the last text where the line is empty."""
        self.write(line or self._prompt + "".join(self._pieces))

    def write(self, prompt: str, seed: int | None = None) -> None:
        """Write texts after a prompt. Raises CharrnnError."""
        request = self._request
        if seed is not None:
            config = dataclasses.replace(request.config, seed=seed)
            request = dataclasses.replace(request, config=config)
        self._pieces, self._going_on = [], None
        with _interruptible():
            stream(request, request.texts(prompt), self._hear)
        if not sys.stdout.isatty() and request.total == 1:  # one text and then another
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _hear(self, source: "charrnn.Generation | charrnn.Beam", piece: str) -> None:
        if not piece:  # the beginning of a text; the first of several is the one to go on with
            self._going_on = source if self._going_on is None else self._going_on
        if source is self._going_on:
            self._prompt, self._seed = source.prompt, source.seed
            self._pieces.append(piece)

    def _retry(self, _value: str) -> None:
        wanted = self._request.config.seed
        self.write(self._prompt, self._seed + 1 if wanted in (None, self._seed) else wanted)

    def _save(self, value: str) -> None:
        if not value:
            raise charrnn.SettingsError("/save needs the name of a file")
        try:
            with (
                Path(value)
                .expanduser()
                .open("a", encoding="utf-8", errors="backslashreplace") as file
            ):
                file.write(f"{self._prompt}{''.join(self._pieces)}\n\n")
        except OSError as error:
            raise charrnn.CharrnnError(f"/save {value}: {error.strerror or error}") from error
        typer.echo(f"saved in {value}", err=True)

    def _show_settings(self, _value: str) -> None:
        for kind in (self._request.config, self._request.beams):
            for field in dataclasses.fields(kind):
                value = getattr(kind, field.name)
                if value != field.default:
                    typer.echo(f"{flags.flag(field.name)[2:]} {value}", err=True)

    def _set(self, name: str, text: str) -> None:
        field_name = SHORT.get(name, name.replace("-", "_"))
        for part in ("config", "beams"):
            kind = getattr(self._request, part)
            for field in dataclasses.fields(kind):
                if field.name == field_name:
                    changed = {field.name: _value(field, text)}
                    if field.name == "temperature":
                        changed["temperature_schedule"] = None
                    changed_kind = dataclasses.replace(kind, **changed)
                    self._request = dataclasses.replace(self._request, **{part: changed_kind})
                    return
        raise charrnn.SettingsError(f"/{name}: no such command or setting; see /help")


def _value(field: "dataclasses.Field[Any]", text: str) -> Any:
    """Read a setting's value; none is its default. What is no value is left for it to refuse."""
    kind, _ = settings.value_type(field)
    if text == "none":
        return field.default
    if kind is bool:
        return {"": True, "on": True, "yes": True, "off": False, "no": False}.get(text, text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return options.as_typed(field.name, text if kind is str else [text])


@contextmanager
def _told() -> Iterator[None]:
    """Tell what goes wrong, and go on."""
    try:
        yield
    except charrnn.CharrnnError as error:
        typer.echo(f"error: {harmless(flags.with_flags(str(error)))}", err=True)


def _lines() -> Iterator[str]:
    """Yield what is typed, line by line; a pipe's lines as they come."""
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
            yield session.prompt("> ")
        except KeyboardInterrupt:  # the line is given up
            continue
        except EOFError:
            return


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end what is done within, and nothing else."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("", err=True)
    finally:
        signal.signal(signal.SIGINT, before)
