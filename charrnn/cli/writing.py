"""Texts as `charrnn sample` shows them: streamed, beside each other, in a file, as JSON."""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

import charrnn
from charrnn.cli import flags
from charrnn.render.terminal import Heat, harmless, has_colours, json_text

if TYPE_CHECKING:
    Source = charrnn.Generation | charrnn.Beam

COLUMN = 24  # columns of a terminal that a text beside others needs
SHOWN = 60  # characters of what was copied
LONG_PROMPT = 100_000  # characters that take a while to read
EARLY = {
    "time": "notice: --max-seconds are over",
    "banned": "notice: every character was ruled out",
}

Hear = Callable[["Source", str], Any]  # told of each piece behind a prompt


@dataclass(frozen=True)
class Request:
    """What is asked of a model besides the prompt.

    temperatures: one for each text, or none. echo: whether the prompt is shown with a text.
    Raises SettingsError for settings that draw and a search that does not.
    """

    model: "charrnn.Model"
    config: "charrnn.SamplingConfig"
    beams: "charrnn.BeamConfig"
    number: int = 1
    temperatures: Sequence[float] = ()
    unknown: str = "error"
    echo: bool = True
    heat: bool = False
    report: bool = False
    quiet: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.searches and self.heat:
            raise charrnn.SettingsError("--num-beams and --heat: choose one")
        if self.searches and not self.beams.beam_sampling:
            drawing = list(self.config.filters())
            drawing += ["temperature_schedule"] if self.config.temperature_schedule else []
            if drawing:
                flag = flags.flag(drawing[0])
                raise charrnn.SettingsError(
                    f"--num-beams and {flag}: choose one, or draw beams with --beam-sampling"
                )

    @property
    def searches(self) -> bool:
        """Whether texts are searched for, not drawn."""
        return self.beams.num_beams > 1

    @property
    def total(self) -> int:
        """How many texts there will be, at most."""
        if self.searches:
            return self.beams.num_return_sequences
        return len(self.temperatures) or self.number

    @property
    def lanes(self) -> int:
        """How many texts grow in step."""
        return self.beams.num_beams if self.searches else self.total

    def texts(self, prompt: str) -> "Iterator[Source]":
        """Write texts after a prompt. Raises CharrnnError for what the model cannot read."""
        if self.searches:
            return iter(self._search(prompt))
        return self.model.samples(
            self.total,
            prompt,
            self.config,
            temperatures=self.temperatures,
            unknown=self.unknown,  # type: ignore[arg-type]
            on_progress=self._reading(len(prompt)),
        )

    def _reading(self, characters: int) -> Callable[[int, int], None]:
        """Return what shows how much of a long prompt was read."""
        if characters < LONG_PROMPT:
            return lambda _done, _total: None
        from charrnn.cli.console import Progress  # rich and tqdm take their time

        return Progress("reading the prompt", self.quiet)

    def _search(self, prompt: str) -> "list[charrnn.Beam]":
        from charrnn.cli.console import Progress

        progress = Progress("beam search", self.quiet)
        try:
            return self.model.beam_search(
                prompt,
                self.config,
                self.beams,
                unknown=self.unknown,  # type: ignore[arg-type]
                on_progress=progress,
            )
        finally:
            progress.close()


@dataclass(frozen=True)
class Written:
    """A text that is finished: what follows the prompt, and what wrote it."""

    text: str
    source: "Source"


def write(request: Request, prompt: str, output: Path | None, *, as_json: bool) -> None:
    """Write texts after a prompt to stdout, or to a file; - is stdout, too."""
    if output is not None and str(output) != "-":
        with _opened(output, "a"):  # what cannot be written is told before the work
            texts = request.texts(prompt)
        with _opened(output, "w") as file:
            _write_to(file, request, texts, as_json=as_json)
    elif as_json:
        _write_to(sys.stdout, request, request.texts(prompt), as_json=True)
    elif request.temperatures and _columns() >= COLUMN * request.total:
        written = _finished(request.texts(prompt))
        _print_side_by_side(request, written)
        _tell(request, written)
    else:
        _tell(request, stream(request, request.texts(prompt)))


def stream(
    request: Request, texts: "Iterable[Source]", hear: Hear = lambda _source, _piece: None
) -> list[Written]:
    """Write texts to stdout as they come."""
    terminal = sys.stdout.isatty()
    heat = Heat() if request.heat and terminal and has_colours() else None
    if heat is not None and not request.quiet:
        typer.echo(heat.legend, err=True)

    def show(text: str) -> None:
        sys.stdout.write(harmless(text) if terminal else text)
        sys.stdout.flush()

    try:
        return _write(request, texts, show, heat, hear)
    finally:
        if terminal and request.total == 1:
            sys.stdout.write("\n")


def report_facts(report: "charrnn.Report") -> dict[str, str]:
    """Put a report into words."""
    copied = "nothing"
    if report.copied_at is not None:
        copied = (
            f"{charrnn.counted(report.copied_characters, 'character')} "
            f"({report.copied_share:.0%} of the text) from character {report.copied_at + 1:,} of "
            f"the corpus: {_shortened(report.copied)}"
        )
    return {
        "bits/char": _figure(report.bits_per_char, ".4f"),
        "distinct 4-grams": _figure(report.distinct_4, ".1%"),
        "distinct 8-grams": _figure(report.distinct_8, ".1%"),
        "distinct 16-grams": _figure(report.distinct_16, ".1%"),
        "longest copy": copied,
        "known words": "none to look up"
        if report.known_words is None
        else f"{report.known_words:.1%} of {report.words:,}",
    }


def _write_to(file: IO[str], request: Request, texts: "Iterable[Source]", *, as_json: bool) -> None:
    if as_json:
        written = _finished(texts)
        objects = [_object(request, one) for one in written]
        file.write(json_text(objects[0] if request.total == 1 else objects))
    else:
        _tell(request, _write(request, texts, file.write))


def _finished(texts: "Iterable[Source]") -> list[Written]:
    return [Written("".join(source), source) for source in texts]


def _write(
    request: Request,
    texts: "Iterable[Source]",
    show: Callable[[str], Any],
    heat: Heat | None = None,
    hear: Hear = lambda _source, _piece: None,
) -> list[Written]:
    written = []
    for number, source in enumerate(texts, start=1):
        if request.verbose and not request.quiet:
            typer.echo(f"{request.model.path}, seed {source.seed}", err=True)
        show(_header(request, number, source))
        show(source.prompt if request.echo else "")
        text = ""
        hear(source, "")
        for piece in source:
            if heat is not None and isinstance(source, charrnn.Generation):
                sys.stdout.write(heat.coloured(piece, source.surprises(len(text))))
                sys.stdout.flush()
            else:
                show(piece)
            text += piece
            hear(source, piece)
        show("\n" if request.total > 1 else "")
        written.append(Written(text, source))
    return written


def _tell(request: Request, written: Sequence[Written]) -> None:
    """Tell on stderr what there is to know of texts besides."""
    for reason in dict.fromkeys(one.source.stop_reason for one in written):
        if reason in EARLY and not request.quiet:
            typer.echo(f"\n{EARLY[reason]}", err=True)
    drawn = not request.searches or request.beams.beam_sampling
    new_seed = written and drawn and request.config.seed is None
    if new_seed and sys.stderr.isatty() and not request.quiet:
        typer.echo(f"seed {written[0].source.seed}", err=True)
    if not request.report:
        return
    from charrnn.cli import console

    for number, one in enumerate(written, start=1):
        head = {"text": f"{number} of {len(written)}"} if len(written) > 1 else {}
        typer.echo("", err=True)
        console.print_facts(head | report_facts(_report(request, one)), console.talk())


def _header(request: Request, number: int, source: "Source") -> str:
    """Return what parts texts: nothing for one, or where each is a line that ends."""
    lines = request.model.corpus_config.document_end == "\n" and request.config.stop_at_end
    if request.total == 1 or (lines and not request.temperatures):
        return ""
    facts = f"seed {source.seed}"
    if request.temperatures and isinstance(source, charrnn.Generation):
        facts = f"temperature {source.temperature:g}"
    if isinstance(source, charrnn.Beam):
        facts = f"score {source.score:.4f}, log-probability {source.log_probability:.2f}"
    return f"--- {number} of {request.total}, {facts} ---\n"


def _object(request: Request, one: Written) -> dict[str, Any]:
    source = one.source
    used: dict[str, Any] = dataclasses.asdict(request.config) | {"seed": source.seed}
    found = {
        "text": (source.prompt if request.echo else "") + one.text,
        "prompt": source.prompt,
        "log_probability": source.log_probability,
        "bits_per_char": source.bits_per_char,
        "characters": source.characters,
        "seed": source.seed,
    }
    if isinstance(source, charrnn.Beam):
        used |= dataclasses.asdict(request.beams)
        found["score"] = source.score
    else:
        used["temperature"] = found["temperature"] = source.temperature
    found |= {"stop_reason": source.stop_reason, "model": str(request.model.path), "settings": used}
    if request.report:
        found["report"] = dataclasses.asdict(_report(request, one))
    return found


def _report(request: Request, one: Written) -> "charrnn.Report":
    ended = one.source.stop_reason in ("end", "stop")
    return request.model.report(one.text, one.source.bits_per_char, ended=ended)


def _print_side_by_side(request: Request, written: Sequence[Written]) -> None:
    from charrnn.cli import console

    texts = [(one.source.prompt if request.echo else "") + one.text for one in written]
    console.print_table([f"temperature {t:g}" for t in request.temperatures], [texts])


@contextmanager
def _opened(output: Path, mode: str) -> Iterator[IO[str]]:
    try:
        with output.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
    except OSError as error:
        raise charrnn.CharrnnError(f"-o {output}: {error.strerror or error}") from error


def _columns() -> int:
    """Return how wide the terminal is, 0 where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _figure(value: float | None, form: str) -> str:
    return "the text is too short" if value is None else f"{value:{form}}"


def _shortened(text: str) -> str:
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return repr(shown)
