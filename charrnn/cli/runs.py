"""`charrnn runs`."""

from dataclasses import asdict
from typing import Annotated

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.cli.messages import notices, say
from charrnn.render.terminal import print_json, print_lines

EXAMPLES = """\
List all runs, with their folders and checkpoints:
  charrnn runs -v

List the names of the runs in another folder, one per line:
  charrnn runs -q --checkpoint-dir experiments
"""


def runs(
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    as_json: options.JsonOption = False,
    quiet: options.NamesOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also show folders and all checkpoints.")
    ] = False,
) -> None:
    """List the runs in the checkpoint folder, the newest first."""
    found = charrnn.list_runs(checkpoint_dir, notice=notices(quiet))
    if as_json:
        print_json([_facts(run) for run in found])
    elif quiet:
        print_lines(run.name for run in found)
    elif not found:
        say(f"no runs in {checkpoint_dir}; start one with: charrnn train")
    else:
        columns: tuple[str, ...] = ("run", "step", "best", "at step", "corpus", "model", "saved")
        rows = [_row(run) for run in found]
        if verbose:
            columns += ("folder", "checkpoints")
            rows = [row + _more(run) for row, run in zip(rows, found, strict=True)]
        from charrnn.render.tables import print_rows

        print_rows(columns, rows, right=("step", "best", "at step"))


app = single(runs, EXAMPLES)


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
    }
