"""All that is shown in a terminal. The only module that imports rich or tqdm.

Talk goes to stderr; what was asked for (tables, JSON) goes to stdout.
"""

import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from charrnn import CHECKPOINT_DIR, counted, events
from charrnn.cli.flags import flag, with_flags
from charrnn.render.numbers import bits, duration, size
from charrnn.render.terminal import harmless, json_text, silence

REFRESH_SECONDS = 0.1
_UNFOLDED = 100_000  # columns, where no terminal folds the lines
WIDE, MIN_BAR = 100, 4  # columns
NAME = 8  # columns of a terminal that a name keeps beside figures
WORTH_A_BAR = 10_000_000  # bytes of a corpus that take a while to read
SMOOTHING = 0.05  # weight of the newest step in the loss that the bar shows


class _Console(Console):
    """A console that raises BrokenPipeError, in place of ending the program with code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def print_whole(self, table: Table) -> None:
        """Print a table: on a terminal folded to its width, else each row in one line."""
        if self.is_terminal:
            self.print(table)
            return
        self.width = _UNFOLDED
        with self.capture() as captured:
            self.print(table)
        lines = captured.get().splitlines()
        self.file.write("".join(f"{line.rstrip()}\n" for line in lines))


def talk() -> _Console:
    """Return a console on stderr."""
    return _Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Write a line of talk to stderr, if anyone can see it."""
    with suppress(OSError):
        talk().print(escape(harmless(with_flags(message))))


def notices(quiet: bool) -> Callable[[str], None]:
    """Return a function that says what the user should know, or nothing."""

    def notice(message: str) -> None:
        if not quiet:
            say(f"notice: {message}")

    return notice


def print_json(data: Any) -> None:
    """Write JSON to stdout."""
    sys.stdout.write(json_text(data, indent=2))


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout as they are."""
    for line in lines:
        sys.stdout.write(f"{harmless(line)}\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Write a table to stdout; the columns in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    _add_rows(table, rows)
    _Console(highlight=False).print_whole(table)


def _add_rows(table: Table, rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))


def print_rows(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Write a wide table to stdout, which on a terminal gives way before its figures are folded.

    First the columns move together, then the names in the first one are folded, then each row
    becomes lines below each other.
    """
    console = _Console(highlight=False)
    if not console.is_terminal:
        print_table(columns, rows, right)
        return
    heads = [column.replace(" ", "\n") for column in columns]
    lines = [[*head.split("\n"), *cells] for head, *cells in zip(heads, *rows, strict=True)]
    names, *others = [max(map(cell_len, column)) for column in lines]
    for least, gap in ((names, 2), (min(names, NAME), 1)):
        if least + sum(others) + gap * len(others) <= console.width:
            table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
            for number, head in enumerate(heads):
                justify: Any = "right" if columns[number] in right else "left"
                table.add_column(head, justify=justify, no_wrap=number > 0, overflow="fold")
            _add_rows(table, rows)
            console.print(table)
            return
    for number, row in enumerate(rows):
        if number:
            console.print()
        print_facts(dict(zip(columns, row, strict=True)), console)


def print_facts(facts: Mapping[str, str], console: _Console | None = None) -> None:
    """Write names and values below each other, to stdout unless told otherwise."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(harmless(value)))
    (console or _Console(highlight=False)).print_whole(table)


class Progress:
    """A bar on stderr, where that is a terminal, for work whose size is known."""

    def __init__(self, label: str, quiet: bool, unit: str = "") -> None:
        self._bar: Any = None
        self._label = label
        self._unit = unit
        self._shown = not quiet and sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=total or None,
                desc=self._label,
                unit=self._unit,
                unit_scale=True,
                leave=False,
                dynamic_ncols=True,
                ascii=not _unicode(sys.stderr),
            )
        self._bar.update(done - self._bar.n)
        if 0 < total <= done:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def bars(quiet: bool, unit: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Show bars, one after the other, for works that the function that this yields is told of."""
    shown: dict[str, Progress] = {}

    def show(label: str, done: int, total: int) -> None:
        shown.setdefault(label, Progress(harmless(label), quiet, unit))(done, total)

    try:
        yield show
    finally:
        for bar in shown.values():
            bar.close()


@contextmanager
def reading(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show the reading of a large corpus, of which the function that this yields is told."""
    with bars(quiet, "B") as bar:

        def show(what: str, done: int, total: int) -> None:
            if total >= WORTH_A_BAR:
                bar(f"{what} the corpus", done, total)

        yield show


class TrainingView:
    """Shows a run: a summary, a bar with a line above it at each evaluation, and the end.

    Where stderr is no terminal, the bar is left out. Quiet, nothing is shown at all.
    """

    def __init__(self, quiet: bool, verbose: bool, checkpoint_dir: Path) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._checkpoint_dir = checkpoint_dir
        self._console = talk()
        self._bar: Any = None
        self._loss: float | None = None
        self._speed: float | None = None
        self._shown_at = -math.inf
        self._eval_every = 0
        self._unit = "char"
        self._bars = ExitStack()
        self._reading = self._bars.enter_context(reading(quiet))

    def __call__(self, event: events.Event) -> None:
        """Show an event. Once nobody can see it any more, the run goes on unseen."""
        if self._quiet:
            return
        try:
            self._show(event)
        except OSError:  # the terminal is gone, or who read the pipe
            self._quiet = True
            with suppress(OSError):
                silence(sys.stderr)

    def _show(self, event: events.Event) -> None:
        match event:
            case events.ReadingEvent():
                self._reading(event.what, event.done, event.total)
            case events.StartEvent():
                self._start(event)
            case events.StepEvent():
                self._step(event)
            case events.EvaluationEvent():
                self._print(_evaluation_line(event))
            case events.SampleEvent():
                self._print(_sample_block(event.text, self._console))
            case events.CheckpointEvent() if self._verbose:
                self._print(Text(f"saved {harmless(event.path)}", style="dim"))
            case events.WarningEvent():
                self._print(Text(f"notice: {harmless(with_flags(event.message))}", style="yellow"))
            case events.EndEvent():
                self._end(event)

    def close(self) -> None:
        """Take the bars away, if the run ended without an end event."""
        self._bars.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(self, event: events.StartEvent) -> None:
        self._run = event.run
        self._unit = event.unit
        self._folder = event.folder
        self._eval_every = event.training["eval_every"]
        summary = _summary(event)
        print_facts(summary, self._console)
        if event.chosen:
            flags = " ".join(f"{flag(name)} {value}" for name, value in event.chosen.items())
            self._print_unbroken({"chosen": flags}, max(map(len, summary)))
        if self._verbose:
            settings = {
                k.replace("_", "-"): str(v)
                for k, v in (event.model | event.training).items()
                if v is not None
            }
            print_facts(settings, self._console)
        self._console.print()
        if self._console.is_terminal:
            self._bar = tqdm(
                total=1000,
                file=sys.stderr,
                bar_format="{percentage:3.0f}%|{bar}|{desc}",
                dynamic_ncols=True,
                leave=False,
                ascii=not _unicode(sys.stderr),
            )

    def _step(self, event: events.StepEvent) -> None:
        if self._bar is None or not math.isfinite(event.loss):
            return
        self._loss = _smooth(self._loss, event.loss)
        self._speed = _smooth(self._speed, event.symbols_per_second)
        evaluating = self._eval_every > 0 and event.step % self._eval_every == 0
        soon = 0 <= event.seconds - self._shown_at < REFRESH_SECONDS
        if soon and not evaluating and event.progress < 1:
            return
        self._shown_at = event.seconds
        self._bar.n = round(self._bar.total * event.progress)
        text = _step_text(
            event, self._loss, self._speed, self._console.width, evaluating=evaluating
        )
        self._bar.set_description_str(text)

    def _print(self, text: Text) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            self._console.print(text)

    def _end(self, event: events.EndEvent) -> None:
        self.close()
        name = self._name()
        facts = {}
        verb = "stopped" if event.reason == "interrupted" else "finished"
        facts[verb] = f"step {event.step:,} after {duration(event.seconds)} of training"
        if event.reason == "patience":
            facts["because"] = (
                "the validation loss has not become better for --patience evaluations"
            )
        if event.best_loss is not None:
            facts["best"] = (
                f"validation {_loss(event.best_loss, self._unit)} at step {event.best_step:,}"
            )
        facts["saved in"] = self._folder
        if event.reason == "interrupted":
            facts["go on"] = f"charrnn resume {name}"
        facts["try"] = f"charrnn sample {name} --temperature 0.8"
        self._console.print()
        self._print_unbroken(facts, max(map(len, facts)))

    def _print_unbroken(self, facts: Mapping[str, str], longest: int) -> None:
        """Print facts that hold commands and flags: broken in two these could not be copied."""
        for label, fact in facts.items():
            self._console.print(Text.assemble((label.ljust(longest + 2), "bold"), harmless(fact)))

    def _name(self) -> str:
        """Return the words by which another command finds the run."""
        if Path(self._folder) != self._checkpoint_dir / self._run:
            return shlex.quote(self._folder)
        if self._checkpoint_dir == Path(CHECKPOINT_DIR):
            return shlex.quote(self._run)
        where = shlex.quote(str(self._checkpoint_dir))
        return f"{shlex.quote(self._run)} --checkpoint-dir {where}"


def _summary(event: events.StartEvent) -> dict[str, str]:
    unit = "characters" if event.unit == "char" else "bytes"
    model = event.model
    shape = f"{model['num_layers']} x {model['hidden_size']} {model['cell']}"
    embedding = (
        f"embedding {model['embedding_size']}" if model["embedding_size"] else "one-hot input"
    )
    validation = f"{event.val_symbols:,} to validate on" if event.val_symbols else "no validation"
    chunks = (
        counted(event.batch_size, "lane"),
        f"{counted(event.seq_length, 'step')}, {counted(event.steps_per_epoch, 'step')} an epoch",
    )
    facts = {
        "run": f"{event.run} in {event.folder}",
        "corpus": f"{event.corpus}: {event.characters:,} characters"
        + (f" in {event.documents:,} documents" if event.documents > 1 else ""),
        "split": f"{event.train_symbols:,} {unit} to train on, {validation}",
        "vocabulary": f"{event.vocabulary_size:,} {unit}",
        "model": f"{shape}, {embedding}, dropout {model['dropout']:g}: "
        f"{event.parameters:,} parameters",
        "chunks": " x ".join(chunks),
        "device": f"{event.device}, {counted(event.threads, 'CPU thread')}, {event.precision}; "
        f"about {size(event.memory_bytes, 'B')} for weights and activations",
    }
    if event.step:
        facts["resumed"] = f"after step {event.step:,}"
    return facts


def _evaluation_line(event: events.EvaluationEvent) -> Text:
    train = "" if not math.isfinite(event.train_loss) else f"  train {event.train_loss:.4f}"
    line = (
        f"step {event.step:>6,}  epoch {event.epoch:5.2f}  {duration(event.seconds):>6}"
        f"{train}  val {event.val_loss:.4f} ({bits(event.val_loss):.3f} bits)"
    )
    return Text(line).append("  best" if event.best else "", style="green")


def _sample_block(text: str, console: Console) -> Text:
    """Set a sample off from the talk; long lines are folded."""
    margin = "  │ "
    lines = Text(harmless(text)).wrap(console, max(console.width - len(margin), 1), overflow="fold")
    return Text("\n".join(margin + line.plain for line in lines), style="dim")


def _step_text(
    event: events.StepEvent, loss: float, speed: float, width: int, *, evaluating: bool
) -> str:
    """Say how a step went, in as many parts as fit beside the bar.

    evaluating: whether an evaluation follows, which may take long, and the bar stands still.
    """
    left = event.seconds * (1 / event.progress - 1) if event.progress else math.nan
    remaining = f"{duration(left)} left" if math.isfinite(left) else ""
    parts = [
        f" {event.step:,}",
        f"loss {loss:.3f}",
        f"{bits(loss):.2f} bits",
        f"{size(speed)}/s",
        "evaluating" if evaluating else remaining,
        f"lr {event.learning_rate:.1e}".replace("e-0", "e-"),
        f"grad {event.grad_norm:.2f}",
    ]
    gap = " " if width < WIDE else "  "
    room = width - len("100%||") - MIN_BAR
    text = parts[0]
    for part in parts[1:]:
        if len(text + gap + part) <= room:
            text += gap + part
    return text


def _loss(nats: float, unit: str) -> str:
    return f"{nats:.4f} ({bits(nats):.3f} bits/{unit})"


def _smooth(before: float | None, now: float) -> float:
    return now if before is None else before + SMOOTHING * (now - before)


def _unicode(stream: Any) -> bool:
    return "utf" in (getattr(stream, "encoding", None) or "").lower()
