"""`charrnn sample`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn import settings
from charrnn.cli import flags, options
from charrnn.cli.writing import Request, write
from charrnn.errors import DISTRIBUTION

EXAMPLES = """\
Continue a prompt with the newest run, always in the same way:
  charrnn sample --prompt "Once upon a time" --seed 1

Write three shorter, tamer texts with a run of that name:
  charrnn sample novel --num-samples 3 --length 200 --temperature 0.5
"""
# What only texts that are drawn have, and not a beam search.
DRAWN = ("--num-samples", "--temperature-range")
# What a conversation cannot do.
ALONE = ("--json", "--output", "--num-samples", "--temperature-range", "--report")


@options.with_settings(charrnn.SamplingConfig, charrnn.BeamConfig)
def sample(
    model: options.ModelArgument = None,
    prompt: Annotated[
        str,
        typer.Option(
            "-p",
            "--prompt",
            help="Text to go on from; - reads it from stdin. Most shells write a line end $'\\n'.",
        ),
    ] = "",
    prompt_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the text to go on from, its last line end included.",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option(metavar="NAME", help="How the prompt is encoded, if it is read.")
    ] = "utf-8",
    errors: Annotated[
        str,
        typer.Option(
            metavar="strict|replace|ignore", help="What becomes of bytes that are not so encoded."
        ),
    ] = "strict",
    unknown: options.UnknownOption = "error",
    num_samples: Annotated[
        int,
        typer.Option(
            min=1,
            help="Texts to write, each with a seed of its own; the first has --seed itself.",
        ),
    ] = 1,
    temperature_range: Annotated[
        str | None,
        typer.Option(
            metavar="FROM:TO:N",
            help="Write N texts at temperatures from one to the other, with the same seed; beside "
            "each other on a wide terminal.",
            show_default=False,
        ),
    ] = None,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", "-i", help="Ask for one prompt after the other."),
    ] = False,
    heat: Annotated[
        bool,
        typer.Option(
            "--heat",
            help="Colour each character by the bits it surprised the model with, on a terminal.",
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Tell on stderr whether a text repeats itself, or what the model learned.",
        ),
    ] = False,
    echo: Annotated[bool, typer.Option("--echo/--no-echo", help="Print the prompt first.")] = True,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write to a file.", show_default=False),
    ] = None,
    as_json: options.JsonOption = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="|".join(options.WEIGHTS),
            help="int8 writes a text faster, a little less exactly; it needs "
            f"{DISTRIBUTION}[fast].",
        ),
    ] = "float32",
    cache_dir: options.CacheDirOption = None,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute; auto is the CPU."),
    ] = "auto",
    threads: options.ThreadsOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    *,
    given: dict[str, Any],
) -> None:
    """Write text with a trained model, on stdout and nothing else there.

    The same model, prompt, settings and seed write the same text on the same machine with as many
    threads.
    """
    options.check_choice("--unknown", unknown, options.UNKNOWN)
    options.check_choice("--weights", weights, options.WEIGHTS)
    options.check_choice("--device", device, ("auto", "cpu", "cuda", "mps"))
    config = options.resolve(charrnn.SamplingConfig, given, {})
    beams = options.resolve(charrnn.BeamConfig, given, {})
    temperatures = _temperatures(temperature_range)
    asked = {
        "--num-samples": num_samples > 1,
        "--temperature-range": bool(temperatures),
        "--interactive": interactive,
        "--heat": heat,
        "--json": as_json,
        "--output": output is not None,
        "--report": report,
    } | {flags.flag(name): True for name in given}
    _check_together({flag for flag, is_asked in asked.items() if is_asked}, beams)
    text = _read_prompt(prompt, prompt_file, encoding, errors)
    loaded = options.load(model, checkpoint, checkpoint_dir, quiet)
    loaded.prepare(device, weights)
    if report:  # where the corpus is gone, that is told before the work
        loaded.learned(cache_dir, corpora_dir)
    request = Request(
        loaded,
        config,
        beams,
        num_samples,
        temperatures,
        unknown,
        echo=echo,
        heat=heat,
        report=report,
        quiet=quiet,
        verbose=verbose,
    )
    with charrnn.blas_threads(threads or loaded.fastest_threads(request.lanes)):
        if interactive:
            from charrnn.cli.interactive import converse

            converse(request, text)
        else:
            write(request, text, output, as_json=as_json)


def _temperatures(text: str | None) -> list[float]:
    """Read FROM:TO:N."""
    if text is None:
        return []
    wrong = (
        f"--temperature-range {text}: must be FROM:TO:N, two temperatures and 2 to 100 texts, "
        "such as 0.3:1.2:4"
    )
    pair, _, number = text.rpartition(":")
    if not number.isdecimal() or not 2 <= int(number) <= 100:
        raise charrnn.SettingsError(wrong)
    try:
        first, last = settings.number_pair("temperature_range", pair)
    except charrnn.SettingsError as error:
        raise charrnn.SettingsError(wrong) from error
    step = (last - first) / (int(number) - 1)
    return [round(first + k * step, 6) for k in range(int(number))]


def _check_together(asked: set[str], beams: "charrnn.BeamConfig") -> None:
    """Raise SettingsError for flags that cannot both be meant."""
    searches = beams.num_beams > 1
    for field in dataclasses.fields(charrnn.BeamConfig):
        flag = flags.flag(field.name)
        if flag in asked and not searches and field.name != "num_beams":
            raise charrnn.SettingsError(f"{flag} needs --num-beams of 2 or more")
    pairs = [
        ("--temperature-range", "--num-samples"),
        ("--temperature-range", "--temperature"),
        ("--temperature-range", "--temperature-schedule"),
        ("--temperature-schedule", "--temperature"),
        *(("--interactive", flag) for flag in ALONE),
        ("--heat", "--json"),
        ("--heat", "--output"),
        ("--heat", "--temperature-range"),
    ]
    if searches:
        pairs += [("--num-beams", flag) for flag in DRAWN]
    for one, other in pairs:
        if {one, other} <= asked:
            raise charrnn.SettingsError(f"{one} and {other}: choose one")


def _read_prompt(prompt: str, file: Path | None, encoding: str, errors: str) -> str:
    text = charrnn.CorpusConfig(encoding=encoding, errors=errors, keep_newlines=True)  # type: ignore[arg-type]
    if file is not None and prompt:
        raise charrnn.SettingsError("give --prompt or --prompt-file, not both")
    if file is not None and (file.is_dir() or not file.exists()):
        problem = "a folder" if file.is_dir() else "no such file"
        raise charrnn.CharrnnError(f"--prompt-file {file}: {problem}")
    if prompt == "-" or file is not None:
        return charrnn.read_text(file or "-", text)
    return prompt
