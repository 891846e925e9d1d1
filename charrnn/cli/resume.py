"""`charrnn resume`."""

from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.watch import watched


@options.with_settings(
    charrnn.TrainingConfig, only=("steps", "epochs", "minutes", "patience"), default="the run's own"
)
def resume(
    model: options.ModelArgument = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the corpus is now, if it was moved; repeat for several files.",
            autocompletion=options.complete_corpus,
            show_default=False,
        ),
    ] = None,
    val_text: Annotated[
        str | None,
        typer.Option(
            help="Where the validation text is now, if it was moved.",
            autocompletion=options.complete_path,
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="latest|best|STEP",
            help="Which checkpoint to go on from; later ones are dropped. [default: latest]",
            show_default=False,
        ),
    ] = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    cache_dir: options.CacheDirOption = None,
    corpora_dir: options.CorporaDirOption = options.CORPORA_DIR,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on although the corpus has changed, from its beginning."),
    ] = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    *,
    given: dict[str, Any],
) -> None:
    """Go on exactly where a run stopped.

    --steps, --epochs and --minutes count from the run's beginning and take the place of its limits.

    Weights, optimizer, schedule, random generators, carried state and place in the corpus are
    those of the checkpoint: on the CPU, with as many threads, the result is bit for bit that of a
    run that never stopped.
    """
    options.resolve(charrnn.TrainingConfig, given, {})  # a limit out of bounds is told first
    with watched(quiet=quiet, verbose=verbose, checkpoint_dir=checkpoint_dir) as watching:
        charrnn.resume(
            model,
            checkpoint=checkpoint,
            checkpoint_dir=checkpoint_dir,
            corpus=corpus or (),
            val_text=val_text,
            cache_dir=cache_dir,
            corpora_dir=corpora_dir,
            device=device,
            threads=threads,
            force=force,
            **given,
            **watching,
        )
