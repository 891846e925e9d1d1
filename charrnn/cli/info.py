"""`charrnn info`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options


def info(
    model: options.ModelArgument = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Check every file of the run; exit code 1 if one is damaged."
        ),
    ] = False,
    as_json: options.JsonOption = False,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
) -> None:
    """Show what a checkpoint holds."""
    from charrnn.cli import console

    if verify:
        findings = charrnn.verify(model, checkpoint_dir=checkpoint_dir)
        if as_json:
            console.print_json([{"file": str(p), "finding": f} for p, f in findings.items()])
        else:
            rows = [[str(path), finding or "sound"] for path, finding in findings.items()]
            console.print_table(("checkpoint", "finding"), rows)
        raise typer.Exit(1 if any(findings.values()) else 0)
    loaded = charrnn.load(model, checkpoint=checkpoint, checkpoint_dir=checkpoint_dir)
    facts = _facts(loaded)
    if as_json:
        console.print_json(facts)
    else:
        console.print_facts({name: _shown(value) for name, value in facts.items()})


def _facts(model: "charrnn.Model") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "file": str(model.path),
        "step": model.step,
        "parameters": model.parameters,
        "unit": model.vocabulary.unit,
        "vocabulary_size": len(model.vocabulary),
        "vocabulary": "".join(model.vocabulary.symbols)
        if model.vocabulary.unit == "char"
        else "bytes",
        "model": asdict(model.config),
        "text": asdict(model.text),
    }
    if manifest := model.manifest:
        facts |= {
            "saved_at": manifest.saved_at,
            "val_loss": manifest.val_loss,
            "train_loss": manifest.train_loss,
            "corpus": asdict(manifest.corpus),
            "training": manifest.training,
            "environment": manifest.environment,
        }
    return facts


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k.replace('_', ' ')} {_shown(v)}" for k, v in value.items() if v is not None
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)
