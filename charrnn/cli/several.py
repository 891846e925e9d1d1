"""Training several runs one after another, as `charrnn train --cell rnn,gru,lstm` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import charrnn
from charrnn.cli.commands import command_with
from charrnn.cli.compare import print_table
from charrnn.cli.flags import flag
from charrnn.cli.groups import Verbosity
from charrnn.cli.messages import notices, say
from charrnn.cli.watch import watched
from charrnn.errors import MemoryShortageError, TrainingError

# What ends one run and says nothing about the others.
_OF_ONE_RUN = (TrainingError, MemoryShortageError)


def names_several(*settings: Mapping[str, Any]) -> bool:
    """Return whether a setting has several values."""
    return any(isinstance(value, list | tuple) for given in settings for value in given.values())


def train_each(talk: Verbosity, checkpoint_dir: Path, **settings: Any) -> None:
    """Train a run for each combination of settings, and print a table of them all.

    settings: the arguments of charrnn.variants. A run that diverges or does not fit into memory is
    reported, and the others are trained all the same; the command then ends with an error.
    """
    with watched(talk, checkpoint_dir) as watching:
        variants = charrnn.variants(
            checkpoint_dir=checkpoint_dir, observers=watching["observers"], **settings
        )
    talkative = not talk.quiet and len(variants) > 1
    if talkative:
        say(_announcement(variants))
    failed: list[str] = []
    try:
        for number, variant in enumerate(variants, 1):
            if talkative:
                say(f"\nrun {number} of {len(variants)}: {_flags(variant.settings)}")
            try:
                with watched(talk, checkpoint_dir) as watching:
                    variant.train(**watching)
            except _OF_ONE_RUN as error:
                failed.append(variant.name)
                say(f"error: run {variant.name}: {error}")
    except BaseException:
        if not talk.quiet:
            _say_what_is_left(variants, {*failed, *charrnn.run_names(checkpoint_dir)})
        raise
    _print_results([v.name for v in variants if v.name not in failed], talk, checkpoint_dir)
    if failed:
        raise TrainingError(
            f"{len(failed)} of {charrnn.counted(len(variants), 'run')} failed, for the reasons "
            f"above: {', '.join(failed)}"
        )


def _announcement(variants: "Sequence[charrnn.Variant]") -> str:
    """Say how many runs there are, and how long they take if that is known."""
    text = f"{charrnn.counted(len(variants), 'run')}, one after another"
    minutes = [variant.request.training.minutes for variant in variants]
    times = [60 * number for number in minutes if number is not None]
    if len(times) == len(variants):
        from charrnn.render.numbers import duration

        each = f"{duration(times[0])} each, " if len(set(times)) == 1 else ""
        text += f": {each}{duration(sum(times))} of training in all"
    return text


def _flags(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{flag(name)} {value}" for name, value in settings.items())


def _print_results(names: Sequence[str], talk: Verbosity, checkpoint_dir: Path) -> None:
    if not names:
        return
    if not talk.quiet:
        say("")
    rows = charrnn.compare(
        names, checkpoint_dir=checkpoint_dir, evaluate=False, notice=notices(talk.quiet)
    )
    print_table(names, rows, 0, logged=True)


def _say_what_is_left(variants: "Sequence[charrnn.Variant]", begun: set[str]) -> None:
    """Give the commands that train the runs which have not begun."""
    left = [variant for variant in variants if variant.name not in begun]
    if left:
        say(f"{charrnn.counted(len(left), 'run')} of {len(variants)} not begun; to train the rest:")
    while left:
        block = _block(left)
        say(f"  {_command(block)}")
        left = [variant for variant in left if variant not in block]


def _block(left: "Sequence[charrnn.Variant]") -> "list[charrnn.Variant]":
    """Return the first runs that one command trains: all combinations of some values."""
    first = left[0].settings
    for fixed in range(len(first) + 1):
        alike = list(first.items())[:fixed]
        block = [v for v in left if list(v.settings.items())[:fixed] == alike]
        size = 1
        for name in first:
            size *= len({v.settings[name] for v in block})
        if len(block) == size:
            break
    return block


def _command(block: "Sequence[charrnn.Variant]") -> str:
    """Return the command that trains some runs under the names that they have here."""
    first = block[0]
    values = {
        name: ",".join(dict.fromkeys(str(variant.settings[name]) for variant in block))
        for name in first.settings
    }
    # A setting of one value is not part of the names that the command gives.
    shared = [
        label for label, text in zip(first.labels, values.values(), strict=True) if "," not in text
    ]
    return command_with({"run": "-".join((first.stem, *shared)), **values})
