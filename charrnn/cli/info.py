"""`charrnn info`."""

from collections.abc import Mapping
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

_CHARACTERS = 64  # of a vocabulary, and
_SOURCES = 3  # of a corpus, that are shown without -v


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
    if as_json:
        print_json(_facts(loaded))
    elif not quiet:
        from charrnn.render.tables import print_facts

        print_facts(_in_words(loaded, whole=verbose))


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


def _in_words(model: "charrnn.Model", *, whole: bool) -> dict[str, str]:
    """Return what a terminal shows. whole: also what is long: all characters, all settings."""
    vocabulary, manifest = model.vocabulary, model.manifest
    facts = {
        "file": str(model.path),
        "step": f"{model.step:,}",
        "parameters": f"{model.parameters:,}",
        "vocabulary": f"{len(vocabulary):,} bytes",
        "model": _listed(asdict(model.config)),
        "text": _listed(_unusual(asdict(model.corpus_config))) or "default settings",
    }
    if vocabulary.unit == "char":
        shown = "".join(vocabulary.symbols).replace("\n", "\N{SYMBOL FOR LINE FEED}")
        if len(shown) > _CHARACTERS and not whole:
            shown = f"{shown[:_CHARACTERS]}... (-v shows all)"
        facts["vocabulary"] = f"{len(vocabulary):,} characters: {shown}"
    if manifest is not None:
        corpus = asdict(manifest.corpus)
        if not whole:
            del corpus["sha256"]
        if not whole and len(corpus["sources"]) > _SOURCES:
            more = len(corpus["sources"]) - _SOURCES
            corpus["sources"] = [*corpus["sources"][:_SOURCES], f"{more:,} more"]
        facts |= {
            "saved at": manifest.saved_at[:16].replace("T", " ") + " UTC",
            "validation loss": _shown(manifest.val_loss),
            "training loss": _shown(manifest.train_loss),
            "corpus": _listed(corpus),
        }
        if whole:
            facts["training"] = _listed(manifest.training)
            facts["environment"] = _listed(manifest.environment)
    return facts


def _unusual(text: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    usual = asdict(charrnn.CorpusConfig())
    return {name: value for name, value in text.items() if value != usual[name]}


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_shown(value)}"
        for name, value in facts.items()
        if value is not None
    )


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)
