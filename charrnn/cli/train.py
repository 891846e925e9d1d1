"""`charrnn train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.watch import watched

_SETTINGS = (charrnn.ModelConfig, charrnn.TrainingConfig, charrnn.CorpusConfig)


@options.with_settings(*_SETTINGS)
def train(
    corpus: options.CorpusArgument = None,
    run: Annotated[
        str | None,
        typer.Option(help="The run's name; default: after the corpus.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(charrnn.PRESETS),
            help="How much work to choose size, dropout and steps for: about one, five and fifty "
            "minutes of two fast CPU cores. [default: as much as there are --minutes for, or "
            "balanced]",
            show_default=False,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from the weights of this model; characters new to it are added.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Settings to use where no flag is given.", show_default=False
        ),
    ] = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    cache_dir: options.CacheDirOption = None,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    *,
    given: dict[str, Any],
) -> None:
    """Train a new run.

    It can be stopped with Ctrl-C at any time; charrnn resume goes on exactly there.
    """
    file = options.read_config(config, *_SETTINGS)
    if preset is not None:
        file.pop("minutes", None)  # flags win over the file
    parent = charrnn.load(init_from, checkpoint_dir=checkpoint_dir) if init_from else None
    model = options.named(charrnn.ModelConfig, given, file)
    training = options.named(charrnn.TrainingConfig, given, file)
    charrnn.check_choice({} if parent else model, training, preset)
    text = options.resolve(
        charrnn.CorpusConfig, given, file, parent.text.inherited() if parent else None
    )
    with watched(quiet=quiet, verbose=verbose, checkpoint_dir=checkpoint_dir) as watching:
        charrnn.train(
            corpus or (),
            text=text,
            model=model,
            training=training,
            preset=preset,
            run=run,
            checkpoint_dir=checkpoint_dir,
            init_from=init_from,
            cache_dir=cache_dir,
            corpora_dir=corpora_dir,
            device=device,
            threads=threads,
            **watching,
        )
