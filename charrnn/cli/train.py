"""`charrnn train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options, several
from charrnn.cli.commands import single
from charrnn.cli.config import read_config
from charrnn.cli.groups import Computing, Folders, Verbosity, with_groups
from charrnn.cli.memory import check_room_for_torch
from charrnn.cli.processes import ProcessOptions, begun_before, place, shared
from charrnn.errors import SettingsError

EXAMPLES = """\
Train on your own text for ten minutes:
  charrnn train novel.txt --minutes 10

Train on names, one per line:
  charrnn train names.txt --lines

Train a run with each of three cells, and compare them:
  charrnn train novel.txt --cell rnn,gru,lstm --steps 2000
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


@options.with_settings(*_SETTINGS, several=(charrnn.ModelConfig, charrnn.TrainingConfig))
@with_groups(new=NewRun, asked=ProcessOptions, folders=Folders, computing=Computing, talk=Verbosity)
def train(
    corpus: options.CorpusArgument = None,
    *,
    new: NewRun,
    asked: ProcessOptions,
    folders: Folders,
    computing: Computing,
    talk: Verbosity,
    given: dict[str, Any],
) -> None:
    """Train a new model.

    Ctrl-C saves the run and stops it; charrnn resume continues exactly from there.

    Several values, separated by commas, train one run each: --cell rnn,gru,lstm. With several such
    lists, each combination is a run. This works for the numbers and words that set the model, the
    training and its limits. The runs are named after their values, and compared at the end.
    """
    file = read_config(new.config, *_SETTINGS)
    if new.preset is not None:
        file.pop("minutes", None)  # flags override the file
    model = options.named(charrnn.ModelConfig, given, file)
    training = options.named(charrnn.TrainingConfig, given, file)
    settings = {
        "corpus": corpus or (),
        "corpus_config": options.named(charrnn.CorpusConfig, given, file),
        "model": model,
        "training": training,
        "preset": new.preset,
        "run": new.run,
        "init_from": new.init_from,
        **vars(folders),
    }
    check_room_for_torch()
    if several.names_several(model, training):
        if asked.processes or place() is not None:
            raise SettingsError(
                "several processes train one run, not several; give each setting one value"
            )
        several.train_each(talk, **settings, **vars(computing))
        return
    with shared(asked, talk, folders.checkpoint_dir, computing) as sharing:
        group = sharing.get("group")
        begun = group and begun_before(folders.checkpoint_dir, new.run, group)
        if begun:
            charrnn.resume(begun, **vars(folders), **sharing)
        else:
            charrnn.train(**settings, **sharing)


app = single(train, EXAMPLES)
