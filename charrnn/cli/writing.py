"""Texts as `charrnn sample` shows them: streamed, side by side, in a file, as JSON."""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.messages import say
from charrnn.cli.reports import report_facts
from charrnn.render.terminal import Heat, harmless, has_colours, json_text

if TYPE_CHECKING:
    Source = charrnn.Generation | charrnn.Beam

COLUMN = 24  # columns of a terminal that a text needs beside others
LONG_PROMPT = 100_000  # characters that take a while to read
EARLY = {
    "time": "notice: the time limit (--max-seconds) was reached",
    "banned": "notice: every character that could follow was ruled out",
}

Listener = Callable[["Source", str], Any]  # called with each piece of a text, "" at its beginning


_OUTPUT = "Output"  # a section of the help page


@dataclass(frozen=True)
class Showing:
    """How texts are shown, and what is printed about them."""

    echo: Annotated[
        bool,
        typer.Option("--echo/--no-echo", help="Print the prompt first.", rich_help_panel=_OUTPUT),
    ] = True
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write to a file.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)
    ] = False
    heat: Annotated[
        bool,
        typer.Option(
            "--heat",
            help="Colour each character on a terminal by how much it surprised the model, in bits.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Report on stderr how much a text repeats itself or copies from the training "
            "corpus.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="With --report: compare with this corpus instead of the one of the run; can be "
            "repeated.",
            autocompletion=options.complete_corpus,
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    cache_dir: options.CacheDirOption = None
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR
    quiet: options.QuietOption = False
    verbose: options.VerboseOption = False

    def __post_init__(self) -> None:
        if self.corpus and not self.report:
            raise charrnn.SettingsError("--corpus needs --report")


@dataclass(frozen=True)
class Job:
    """A request, the model that answers it, and how the texts are shown."""

    model: "charrnn.Model"
    request: "charrnn.GenerationRequest"
    showing: Showing

    def texts(self) -> "Iterator[Source]":
        """Write the texts. Raises CharrnnError for what the model cannot read."""
        if self.request.searches:
            from charrnn.render.bars import Progress

            progress = Progress("beam search", self.showing.quiet)
            try:
                return self.model.generate(self.request, on_progress=progress)
            finally:
                progress.close()
        if len(self.request.prompt) < LONG_PROMPT:
            return self.model.generate(self.request)
        from charrnn.render.bars import Progress

        reading = Progress("reading the prompt", self.showing.quiet)
        return self.model.generate(self.request, on_progress=reading)

    def report_on(
        self, text: str, bits_per_char: float | None = None, *, ended: bool = False
    ) -> "charrnn.Report":
        """Measure repetition and copying; see charrnn.Model.report."""
        return self.model.report(
            text,
            bits_per_char,
            ended=ended,
            corpus=self.showing.corpus or (),
            cache_dir=self.showing.cache_dir,
            corpora_dir=self.showing.corpora_dir,
        )


@dataclass(frozen=True)
class Written:
    """A finished text: what follows the prompt, and what wrote it."""

    text: str
    source: "Source"


def write(job: Job) -> None:
    """Write texts to stdout, or to a file if there is one; - is stdout too."""
    output, as_json = job.showing.output, job.showing.as_json
    if output is not None and str(output) != "-":
        with _opened(output, "a"):  # if it cannot be written, say so before the work
            texts = job.texts()
        with _opened(output, "w") as file:
            _write_to(file, job, texts)
    elif as_json:
        _write_to(sys.stdout, job, job.texts())
    elif job.request.text_temperatures() and _columns() >= COLUMN * job.request.total:
        written = _finished(job.texts())
        _print_side_by_side(job, written)
        _print_remarks(job, written)
    else:
        _print_remarks(job, stream(job))


def stream(job: Job, listener: Listener = lambda _source, _piece: None) -> list[Written]:
    """Write texts to stdout piece by piece."""
    terminal = sys.stdout.isatty()
    heat = Heat() if job.showing.heat and terminal and has_colours() else None
    if heat is not None and not job.showing.quiet:
        typer.echo(heat.legend, err=True)

    def show(text: str) -> None:
        sys.stdout.write(harmless(text) if terminal else text)
        sys.stdout.flush()

    try:
        return _write(job, job.texts(), show, heat, listener)
    finally:
        if terminal and job.request.total == 1:
            sys.stdout.write("\n")


def _write_to(file: IO[str], job: Job, texts: "Iterable[Source]") -> None:
    if job.showing.as_json:
        written = _finished(texts)
        objects = [_object(job, one) for one in written]
        file.write(json_text(objects[0] if job.request.total == 1 else objects))
    else:
        _print_remarks(job, _write(job, texts, file.write))


def _finished(texts: "Iterable[Source]") -> list[Written]:
    return [Written("".join(source), source) for source in texts]


def _write(
    job: Job,
    texts: "Iterable[Source]",
    show: Callable[[str], Any],
    heat: Heat | None = None,
    listener: Listener = lambda _source, _piece: None,
) -> list[Written]:
    written = []
    several = job.request.total > 1
    for number, source in enumerate(texts, start=1):
        if job.showing.verbose and not job.showing.quiet:
            say(f"seed {source.seed}")
        show(_header(job, number, source))
        show(source.prompt if job.showing.echo else "")
        text = ""
        listener(source, "")
        for piece in source:
            if heat is not None and isinstance(source, charrnn.Generation):
                sys.stdout.write(heat.coloured(piece, source.surprises(len(text))))
                sys.stdout.flush()
            else:
                show(piece)
            text += piece
            listener(source, piece)
        show("\n" if several else "")
        written.append(Written(text, source))
    return written


def _print_remarks(job: Job, written: Sequence[Written]) -> None:
    """Print on stderr what else there is to know about finished texts."""
    request, quiet = job.request, job.showing.quiet
    for reason in dict.fromkeys(one.source.stop_reason for one in written):
        if reason in EARLY and not quiet:
            say(f"\n{EARLY[reason]}")
    if len(written) < request.total and not request.searches and not quiet:
        say(f"notice: there was time for {len(written):,} of {request.total:,} texts")
    sampled = not request.searches or request.beams.beam_sampling
    new_seed = written and sampled and request.sampling.seed is None
    if new_seed and sys.stderr.isatty() and not quiet:
        say(f"seed {written[0].source.seed}")
    if not job.showing.report:
        return
    from charrnn.render.tables import print_facts, standard_error

    for number, one in enumerate(written, start=1):
        head = {"text": f"{number} of {len(written)}"} if len(written) > 1 else {}
        typer.echo("", err=True)
        print_facts(head | report_facts(_report(job, one)), standard_error())


def _header(job: Job, number: int, source: "Source") -> str:
    """Return the line before a text; nothing for a single text, or if each text is a line.

    Texts that are paragraphs are separated by a blank line instead, as in the corpus.
    """
    request = job.request
    temperatures = request.text_temperatures()
    end = job.model.corpus_config.document_end
    speaks_for_itself = end.strip("\n") == "" != end and request.sampling.stop_at_end
    if request.total == 1:
        return ""
    if speaks_for_itself and not temperatures:
        return "" if number == 1 else end[1:]
    facts = f"seed {source.seed}"
    if temperatures and isinstance(source, charrnn.Generation):
        facts = f"temperature {source.temperature:g}"
    if isinstance(source, charrnn.Beam):
        facts = f"score {source.score:.4f}, log-probability {source.log_probability:.2f}"
    return f"--- {number} of {request.total}, {facts} ---\n"


def _object(job: Job, one: Written) -> dict[str, Any]:
    source = one.source
    used: dict[str, Any] = vars(job.request.sampling) | {"seed": source.seed}
    found = {
        "text": (source.prompt if job.showing.echo else "") + one.text,
        "prompt": source.prompt,
        "log_probability": source.log_probability,
        "bits_per_char": source.bits_per_char,
        "characters": source.characters,
        "seed": source.seed,
    }
    if isinstance(source, charrnn.Beam):
        used |= vars(job.request.beams)
        found["score"] = source.score
    else:
        used["temperature"] = found["temperature"] = source.temperature
    found |= {"stop_reason": source.stop_reason, "model": str(job.model.path), "settings": used}
    if job.showing.report:
        found["report"] = dataclasses.asdict(_report(job, one))
    return found


def _report(job: Job, one: Written) -> "charrnn.Report":
    ended = one.source.stop_reason in ("end", "stop")
    return job.report_on(one.text, one.source.bits_per_char, ended=ended)


def _print_side_by_side(job: Job, written: Sequence[Written]) -> None:
    from charrnn.render.tables import print_table

    texts = [(one.source.prompt if job.showing.echo else "") + one.text for one in written]
    print_table([f"temperature {t:g}" for t in job.request.text_temperatures()], [texts])


@contextmanager
def _opened(output: Path, mode: str) -> Iterator[IO[str]]:
    try:
        with output.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
    except OSError as error:
        raise charrnn.CharrnnError(f"-o {output}: {error.strerror or error}") from error


def _columns() -> int:
    """Return the width of the terminal, or 0 if stdout is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
