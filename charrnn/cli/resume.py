"""`charrnn resume`."""

from typing import Annotated

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.signals import interruptible


def resume(
    model: options.ModelArgument = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps in all, in place of the run's limits.", show_default=False),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(help="Epochs in all, in place of the run's limits.", show_default=False),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Minutes of training in all, in place of the run's limits.", show_default=False
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Evaluations without a better loss, in place of the run's.",
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the corpus is now, if it was moved; repeat for several files.",
            autocompletion=options.complete_corpus,
            show_default=False,
        ),
    ] = None,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Go on exactly where a run stopped.

    Weights, optimizer, schedule, random generators, carried state and place in the corpus are
    those of the checkpoint: on the CPU, with as many threads, the result is bit for bit that of a
    run that never stopped.
    """
    from charrnn.cli.console import TrainingView

    view = TrainingView(quiet=quiet, verbose=verbose, checkpoint_dir=checkpoint_dir)
    with interruptible() as interrupt:
        try:
            charrnn.resume(
                model,
                checkpoint=checkpoint,
                checkpoint_dir=checkpoint_dir,
                steps=steps,
                epochs=epochs,
                minutes=minutes,
                patience=patience,
                corpus=corpus or (),
                device=device,
                threads=threads,
                observers=(interrupt.observe, view),
                stop=interrupt,
            )
        finally:
            view.close()
    if interrupt.exit_code is not None:
        raise typer.Exit(interrupt.exit_code)
