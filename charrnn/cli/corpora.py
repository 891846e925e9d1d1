"""`charrnn corpora`."""

from typing import Annotated

import typer

import charrnn
from charrnn.cli import options


def corpora(
    as_json: options.JsonOption = False,
    quiet: options.NamesOption = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also count their characters.")
    ] = False,
) -> None:
    """List the corpora that have a name, which charrnn train accepts."""
    from charrnn.cli import console

    named = charrnn.CORPORA.values()
    facts = [{"name": c.name, "description": c.description} for c in named]
    if verbose:
        for fact, corpus in zip(facts, named, strict=True):
            fact["characters"] = f"{sum(map(len, corpus.blocks())):,}"
    if as_json:
        console.print_json(facts)
    elif quiet:
        console.print_lines(fact["name"] for fact in facts)
    else:
        console.print_table(tuple(facts[0]), [list(fact.values()) for fact in facts])
