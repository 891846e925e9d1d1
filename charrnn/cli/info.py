"""`charrnn info`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

import charrnn
from charrnn.cli import options
from charrnn.cli.commands import single
from charrnn.render.terminal import print_json

EXAMPLES = """\
Describe the best checkpoint of the newest run:
  charrnn info

Check every file of a run for damage:
  charrnn info novel --verify
"""


def info(
    model: options.ModelArgument = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check every file of the run for damage; the exit code is 1 if one is damaged.",
        ),
    ] = False,
    as_json: options.JsonOption = False,
    checkpoint: options.CheckpointOption = None,
    checkpoint_dir: options.CheckpointDirOption = options.CHECKPOINT_DIR,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print nothing; --verify then answers by its exit code."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also show all settings and the whole vocabulary."),
    ] = False,
) -> None:
    """Describe a checkpoint: its model, its corpus, its losses."""
    if verify and checkpoint is not None:
        raise charrnn.SettingsError(
            "--verify checks all checkpoints of a run; leave --checkpoint out"
        )
    if verify:
        findings = charrnn.verify(model, checkpoint_dir=checkpoint_dir)
        if quiet:
            pass
        elif as_json:
            print_json([{"file": str(p), "finding": f} for p, f in findings.items()])
        else:
            from charrnn.render.tables import print_table

            rows = [[str(path), finding or "sound"] for path, finding in findings.items()]
            print_table(("checkpoint", "finding"), rows)
        raise typer.Exit(1 if any(findings.values()) else 0)
    loaded = options.load(model, checkpoint, checkpoint_dir, quiet)
    facts = _facts(loaded)
    if as_json:
        print_json(facts)
    elif not quiet:
        from charrnn.render.tables import print_facts

        hidden = () if verbose else ("training", "environment")
        facts["text"] = _unusual(facts["text"]) or "read by default"
        facts["vocabulary"] = facts["vocabulary"].replace("\n", "\N{SYMBOL FOR LINE FEED}")
        print_facts({k: _shown(v) for k, v in facts.items() if k not in hidden})


app = single(info, EXAMPLES)


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
        "text": asdict(model.corpus_config),
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


def _unusual(text: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are not the default."""
    usual = asdict(charrnn.CorpusConfig())
    return {name: value for name, value in text.items() if value != usual[name]}


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
