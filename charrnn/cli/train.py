"""`charrnn train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.cli.config import read_config
from charrnn.cli.groups import Computing, Folders, Verbosity, with_groups
from charrnn.cli.memory import check_room_for_torch
from charrnn.cli.watch import watched

EXAMPLES = """\
Train on your own text for ten minutes:
  charrnn train novel.txt --minutes 10

Train on names, one per line:
  charrnn train names.txt --lines
"""
_RUN = "Run"  # a section of the help page
_SETTINGS = (charrnn.ModelConfig, charrnn.TrainingConfig, charrnn.CorpusConfig)


@dataclass(frozen=True)
class NewRun:
    """The name of a run, and where its settings and weights come from."""

    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the run. [default: the name of the corpus]",
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(charrnn.PRESETS),
            help="Choose size, dropout and steps for about one, five or fifty minutes on two fast "
            "CPU cores. [default: to fit --minutes if given, else balanced]",
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from the weights of this model (fine-tune it); new characters are added "
            "to its vocabulary.",
            autocompletion=options.complete_model,
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Read settings from this file; flags override it.",
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None


@options.with_settings(*_SETTINGS)
@with_groups(new=NewRun, folders=Folders, computing=Computing, talk=Verbosity)
def train(
    corpus: options.CorpusArgument = None,
    *,
    new: NewRun,
    folders: Folders,
    computing: Computing,
    talk: Verbosity,
    given: dict[str, Any],
) -> None:
    """Train a new model.

    Ctrl-C saves the run and stops it; charrnn resume continues exactly from there.
    """
    file = read_config(new.config, *_SETTINGS)
    if new.preset is not None:
        file.pop("minutes", None)  # flags override the file
    check_room_for_torch()
    with watched(talk, folders.checkpoint_dir) as watching:
        charrnn.train(
            corpus or (),
            corpus_config=options.named(charrnn.CorpusConfig, given, file),
            model=options.named(charrnn.ModelConfig, given, file),
            training=options.named(charrnn.TrainingConfig, given, file),
            preset=new.preset,
            run=new.run,
            init_from=new.init_from,
            **vars(folders),
            **vars(computing),
            **watching,
        )


app = single(train, EXAMPLES)
