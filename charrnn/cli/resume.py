"""`charrnn resume`."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.cli.groups import Computing, Folders, Verbosity, with_groups
from charrnn.cli.memory import check_room_for_torch
from charrnn.cli.processes import ProcessOptions, shared

EXAMPLES = """\
Continue the newest run from its latest checkpoint:
  charrnn resume

Train a finished run for longer, 8,000 steps in total:
  charrnn resume novel --steps 8000

Go on with a lower learning rate and more dropout:
  charrnn resume novel --learning-rate 0.001 --dropout 0.4
"""
_RUN = "Run"  # a section of the help page
_SETTINGS = (charrnn.ModelConfig, charrnn.TrainingConfig)
_KEPT = {field.name for kind in _SETTINGS for field in fields(kind)} - {*charrnn.CHANGEABLE}


@dataclass(frozen=True)
class Continuation:
    """Where to continue, and with which text."""

    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="latest|best|STEP",
            help="Which checkpoint to continue from; later ones are deleted. [default: latest]",
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Where the corpus is now, if it has moved; repeat for several files.",
            autocompletion=options.complete_corpus,
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    val_text: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the validation text is now, if it has moved.",
            autocompletion=options.complete_path,
            show_default=False,
            rich_help_panel=_RUN,
        ),
    ] = None
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Continue even if the corpus has changed, reading it from its beginning.",
            rich_help_panel=_RUN,
        ),
    ] = False


@with_groups(
    place=Continuation,
    asked=ProcessOptions,
    folders=Folders,
    computing=Computing,
    talk=Verbosity,
)
@options.with_settings(*_SETTINGS, only=charrnn.CHANGEABLE, default="the run's own")
@options.with_settings(
    *_SETTINGS, only=_KEPT, hidden=True
)  # charrnn.resume says what to do instead
def resume(
    model: options.ModelArgument = None,
    *,
    place: Continuation,
    asked: ProcessOptions,
    folders: Folders,
    computing: Computing,
    talk: Verbosity,
    given: dict[str, Any],
) -> None:
    """Continue a run exactly where it stopped.

    --steps, --epochs and --minutes count from the start of the run and replace its limits. Other
    settings replace the run's own from here on; the result is then no longer that of a run that
    never stopped, and a notice says so.

    The checkpoint restores weights, optimizer, schedule, random generators, carried state and
    position in the corpus. On the CPU, with the same number of threads, the result is identical,
    bit for bit, to that of a run that never stopped.
    """
    changes = {name: value for name, value in given.items() if name not in _KEPT}
    for kind in _SETTINGS:
        options.resolve(kind, changes, {})  # report a value out of bounds early
    check_room_for_torch()
    with shared(asked, talk, folders.checkpoint_dir, computing) as sharing:
        charrnn.resume(
            model,
            checkpoint=place.checkpoint,
            corpus=place.corpus or (),
            val_text=place.val_text,
            force=place.force,
            changes=given,
            **vars(folders),
            **sharing,
        )


app = single(resume, EXAMPLES)
