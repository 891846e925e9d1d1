"""`charrnn sample`."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.cli.groups import with_groups
from charrnn.cli.messages import say
from charrnn.cli.writing import Job, Showing, write
from charrnn.errors import DISTRIBUTION

EXAMPLES = """\
Continue a prompt with the newest run, always in the same way:
  charrnn sample --prompt "Once upon a time" --seed 1

Write three shorter, tamer texts with a run of that name:
  charrnn sample novel --num-samples 3 --length 200 --temperature 0.5
"""
# Pairs of flags of which only one can be given. charrnn.GenerationRequest has the rules for those
# that shape the text.
EXCLUSIVE = (
    ("--prompt", "--prompt-file"),
    ("--interactive", "--json"),
    ("--interactive", "--output"),
    ("--interactive", "--num-samples"),
    ("--interactive", "--temperature-range"),
    ("--interactive", "--report"),
    ("--heat", "--json"),
    ("--heat", "--output"),
    ("--heat", "--temperature-range"),
    ("--heat", "--num-beams"),
)


_PROMPT = "Prompt"  # a section of the help page


@dataclass(frozen=True)
class PromptOptions:
    """Where the prompt comes from."""

    prompt: Annotated[
        str,
        typer.Option(
            "-p",
            "--prompt",
            metavar="TEXT",
            help=r"Text to continue; \n, \t and \\ are understood. With - it is read from stdin, "
            "unchanged.",
            rich_help_panel=_PROMPT,
        ),
    ] = ""
    prompt_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the text to continue; read unchanged, with its last line end.",
            show_default=False,
            rich_help_panel=_PROMPT,
        ),
    ] = None
    encoding: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Encoding of a prompt from a file or stdin.",
            rich_help_panel=_PROMPT,
        ),
    ] = "utf-8"
    errors: Annotated[
        str,
        typer.Option(
            metavar="strict|replace|ignore",
            help="What to do with bytes of the prompt that cannot be decoded.",
            rich_help_panel=_PROMPT,
        ),
    ] = "strict"
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            "-i",
            help="Ask for one prompt after another.",
            rich_help_panel=_PROMPT,
        ),
    ] = False

    def read(self) -> str:
        """Return the prompt. Raises CharrnnError if it cannot be read."""
        config = charrnn.CorpusConfig(
            encoding=self.encoding,
            errors=self.errors,  # type: ignore[arg-type]
            keep_newlines=True,
        )
        file = self.prompt_file
        if file is not None and (file.is_dir() or not file.exists()):
            problem = "a folder" if file.is_dir() else "no such file"
            raise charrnn.CharrnnError(f"--prompt-file {file}: {problem}")
        if self.prompt == "-" or file is not None:
            return charrnn.read_text(file or "-", config)
        return options.unescaped(self.prompt)


@dataclass(frozen=True)
class ModelOptions:
    """Which checkpoint writes, and on what."""

    checkpoint: options.CheckpointOption = None
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR
    weights: Annotated[
        str,
        typer.Option(
            metavar="|".join(options.WEIGHTS),
            help=f"int8 writes faster and slightly less exactly; it needs {DISTRIBUTION}[fast].",
        ),
    ] = "float32"
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda|mps", help="Device to compute on; auto is the CPU."),
    ] = "auto"
    threads: options.ThreadsOption = None


# The innermost options come first on the help page.
@with_groups(showing=Showing, computing=ModelOptions)
@options.with_settings(charrnn.SamplingConfig, charrnn.BeamConfig)
@options.with_settings(
    charrnn.GenerationRequest, only=("unknown", "num_samples", "temperature_range")
)
@with_groups(source=PromptOptions)
def sample(
    model: options.ModelArgument = None,
    *,
    source: PromptOptions,
    showing: Showing,
    computing: ModelOptions,
    given: dict[str, Any],
) -> None:
    """Write text with a trained model.

    Only the text goes to stdout. The same model, prompt, settings and seed give the same text on
    the same machine with the same number of threads.
    """
    options.check_choice("--weights", computing.weights, options.WEIGHTS)
    options.check_choice("--device", computing.device, ("auto", "cpu", "cuda", "mps"))
    request = charrnn.GenerationRequest.from_values(given)
    _check_together(_asked(request, source, showing))
    request = dataclasses.replace(request, prompt=source.read())
    loaded = options.load(model, computing.checkpoint, computing.checkpoint_dir, showing.quiet)
    loaded.prepare(computing.device, computing.weights)
    if showing.verbose and not showing.quiet:
        say(str(loaded.path))
    job = Job(loaded, request, showing)
    if showing.report:
        job.report_on("")  # if the corpus is gone, say so before the work
    with charrnn.blas_threads(computing.threads or loaded.fastest_threads(request.lanes)):
        if source.interactive:
            from charrnn.cli.interactive import converse

            converse(job)
        else:
            write(job)


app = single(sample, EXAMPLES)


def _asked(
    request: "charrnn.GenerationRequest", source: PromptOptions, showing: Showing
) -> set[str]:
    """Return the flags that were given, of those in EXCLUSIVE."""
    asked = {
        "--prompt": bool(source.prompt),
        "--prompt-file": source.prompt_file is not None,
        "--interactive": source.interactive,
        "--heat": showing.heat,
        "--json": showing.as_json,
        "--output": showing.output is not None,
        "--report": showing.report,
        "--num-samples": request.num_samples > 1,
        "--temperature-range": request.temperature_range is not None,
        "--num-beams": request.searches,
    }
    return {flag for flag, is_asked in asked.items() if is_asked}


def _check_together(asked: Collection[str]) -> None:
    """Raise SettingsError for flags that exclude each other."""
    for one, other in EXCLUSIVE:
        if one in asked and other in asked:
            raise charrnn.SettingsError(f"{one} and {other}: choose one")
