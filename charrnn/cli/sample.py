"""`charrnn sample`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.terminal import harmless, json_text


@options.with_settings(charrnn.SamplingConfig)
def sample(
    model: options.ModelArgument = None,
    prompt: Annotated[
        str, typer.Option("-p", "--prompt", help="Text to go on from; - reads it from stdin.")
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
        str, typer.Option(metavar="NAME", help="How the prompt file is encoded.")
    ] = "utf-8",
    unknown: options.UnknownOption = "error",
    echo: Annotated[bool, typer.Option("--echo/--no-echo", help="Print the prompt first.")] = True,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write to a file.", show_default=False),
    ] = None,
    as_json: options.JsonOption = False,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu", help="Where to compute; sampling runs on the CPU.")
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
    options.check_choice("--device", device, ("auto", "cpu"))
    options.check_choice("--unknown", unknown, options.UNKNOWN)
    config = options.resolve(charrnn.SamplingConfig, given, {})
    text = _read_prompt(prompt, prompt_file, encoding)
    loaded = options.load(model, checkpoint, checkpoint_dir, quiet)
    with charrnn.blas_threads(threads):
        generation = loaded.sample(text, config, unknown=unknown)  # type: ignore[arg-type]
        if verbose and not quiet:
            typer.echo(f"{loaded.path}, seed {generation.seed}", err=True)
        if as_json or output:
            _write_whole(generation, generation.prompt if echo else "", output, as_json)
        else:
            _stream(generation, generation.prompt if echo else "")


def _read_prompt(prompt: str, file: Path | None, encoding: str) -> str:
    text = charrnn.CorpusConfig(encoding=encoding, keep_newlines=True)
    if file is not None and prompt:
        raise charrnn.SettingsError("give --prompt or --prompt-file, not both")
    if file is not None:
        return charrnn.read_text(file, text)
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise charrnn.SettingsError(f"--prompt -: not UTF-8 at byte {error.start:,}") from error


def _stream(generation: "charrnn.Generation", prompt: str) -> None:
    terminal = sys.stdout.isatty()
    show = harmless if terminal else str
    sys.stdout.write(show(prompt))
    for piece in generation:
        sys.stdout.write(show(piece))
        sys.stdout.flush()
    if terminal:
        sys.stdout.write("\n")


def _write_whole(
    generation: "charrnn.Generation", prompt: str, output: Path | None, as_json: bool
) -> None:
    text = prompt + "".join(generation)
    if as_json:
        text = json_text(_result(generation, text))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    except OSError as error:
        raise charrnn.CharrnnError(f"-o {output}: {error.strerror or error}") from error


def _result(generation: "charrnn.Generation", text: str) -> dict[str, Any]:
    return {
        "text": text,
        "log_probability": generation.log_probability,
        "characters": generation.characters,
        "seed": generation.seed,
        "temperature": generation.config.temperature,
        "stop_reason": generation.stop_reason,
    }
