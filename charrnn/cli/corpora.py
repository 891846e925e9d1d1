"""`charrnn corpora`."""

import charrnn
from charrnn.cli import options


def corpora(as_json: options.JsonOption = False) -> None:
    """List the corpora that have a name, which charrnn train accepts."""
    from charrnn.cli import console

    named = charrnn.CORPORA.values()
    if as_json:
        console.print_json([{"name": c.name, "description": c.description} for c in named])
    else:
        console.print_table(("corpus", "what it is"), [[c.name, c.description] for c in named])
