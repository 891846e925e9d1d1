"""`charrnn runs` and its commands remove and rename."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import group
from charrnn.cli.messages import agrees, can_ask, notices, say
from charrnn.render.numbers import size
from charrnn.render.terminal import print_json, print_lines

EXAMPLES = """\
List all runs, with their folders and checkpoints:
  charrnn runs -v

List the names of the runs in another folder, one per line:
  charrnn runs -q --checkpoint-dir experiments
"""
REMOVE_EXAMPLES = """\
Delete a run, after a look at what will go:
  charrnn runs remove novel-2

Delete two runs in a script, which nobody can ask:
  charrnn runs remove novel-2 novel-3 --yes
"""
RENAME_EXAMPLES = """\
Give a run another name:
  charrnn runs rename novel-2 novel-gru

Rename a run in another folder:
  charrnn runs rename novel-2 novel-gru --checkpoint-dir experiments
"""
_SHOWN = 3  # names of files that are not part of a run


def runs(
    ctx: typer.Context,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    as_json: options.JsonOption = False,
    quiet: options.NamesOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show folders and all checkpoints.")
    ] = False,
) -> None:
    """List the runs in the checkpoint folder, the newest first."""
    if ctx.invoked_subcommand is not None:
        return
    found = charrnn.list_runs(checkpoint_dir, notice=notices(quiet))
    if as_json:
        print_json([_facts(run) for run in found])
    elif quiet:
        print_lines(run.name for run in found)
    elif not found:
        say(f"no runs in {checkpoint_dir}; start one with: charrnn train")
    else:
        columns: tuple[str, ...] = (
            "run",
            "step",
            "best",
            "at step",
            "corpus",
            "model",
            "saved",
            "state",
        )
        rows = [_row(run) for run in found]
        if verbose:
            columns += ("folder", "checkpoints")
            rows = [row + _more(run) for row, run in zip(rows, found, strict=True)]
        from charrnn.render.tables import print_rows

        print_rows(columns, rows, right=("step", "best", "at step"))


def remove(
    ctx: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Names or folders of runs.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    quiet: options.QuietOption = False,
) -> None:
    """Delete runs for good, with all their checkpoints.

    Without a terminal, --yes is needed. If one of several runs cannot be deleted, for instance
    because it is being trained, all stay. The encoded corpora in the cache stay, too.
    """
    if not yes and not can_ask():
        raise charrnn.SettingsError("there is no terminal to ask on; to delete runs, add --yes")

    def confirm(found: "Sequence[charrnn.Run]") -> bool:
        for run in () if quiet and yes else found:
            say(_what_goes(run))
        which = "this run" if len(found) == 1 else f"these {len(found)} runs"
        return yes or agrees(f"delete {which} for good?")

    removed = charrnn.remove_runs(
        runs, checkpoint_dir=_folder(ctx, checkpoint_dir), confirm=confirm
    )
    if not quiet:
        say(f"deleted {', '.join(run.name for run in removed)}" if removed else "nothing deleted")


def rename(
    ctx: typer.Context,
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD",
            help="The name or folder of a run.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(metavar="NEW", help="The new name of the run.", show_default=False),
    ],
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    quiet: options.QuietOption = False,
) -> None:
    """Give a run another name.

    Nothing in a run depends on its name, so it is resumed, sampled and evaluated as before.
    """
    run = charrnn.rename_run(old, new, checkpoint_dir=_folder(ctx, checkpoint_dir))
    if not quiet:
        say(f"the run is now called {run.name}, in {run.path}")


app = group(
    runs,
    EXAMPLES,
    {"remove": (remove, REMOVE_EXAMPLES), "rename": (rename, RENAME_EXAMPLES)},
)


def _folder(ctx: typer.Context, given: Path) -> Path:
    """Return the folder of runs, whose flag may also stand before the name of the command."""
    source = ctx.get_parameter_source("checkpoint_dir")
    if ctx.parent is None or (source is not None and source.name == "COMMANDLINE"):
        return given
    before: Any = ctx.parent.params["checkpoint_dir"]
    return Path(before)


def _what_goes(run: "charrnn.Run") -> str:
    """Describe what is deleted with a run, in a line."""
    count = charrnn.counted(len(run.folders), "checkpoint")
    line = f"{run.path}: {count}, {size(run.size, 'B')}"
    if others := run.other_files:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        line += f"; also {', '.join(others[:_SHOWN])}{more}, not written by charrnn"
    return line


def _state(run: "charrnn.Run") -> str:
    if run.is_training:
        return "training"
    return {True: "finished", False: "stopped", None: "-"}[charrnn.is_finished(run)]


def _row(run: "charrnn.Run") -> list[str]:
    latest, best = run.latest.manifest, run.best.manifest
    model = latest.model
    return [
        run.name,
        f"{latest.step:,}",
        "-" if best.val_loss is None else f"{best.val_loss:.4f}",
        f"{best.step:,}",
        latest.corpus.name,
        f"{model.num_layers} x {model.hidden_size} {model.cell}",
        latest.saved_at[:16].replace("T", " "),
        _state(run),
    ]


def _more(run: "charrnn.Run") -> list[str]:
    return [str(run.path), ", ".join(f"{c.step:,}" for c in run.checkpoints)]


def _facts(run: "charrnn.Run") -> dict[str, object]:
    latest, best = run.latest.manifest, run.best.manifest
    return {
        "run": run.name,
        "folder": str(run.path),
        "step": latest.step,
        "best_step": best.step,
        "best_val_loss": best.val_loss,
        "checkpoints": [c.step for c in run.checkpoints],
        "corpus": latest.corpus.name,
        "model": asdict(latest.model),
        "saved_at": latest.saved_at,
        "training": run.is_training,
        "finished": charrnn.is_finished(run),
    }
