"""The rules between the settings of a generation: what excludes what, and what needs what."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

from charrnn.errors import SettingsError
from charrnn.settings import number_pair

# A setting at its value here is off: it contradicts nothing.
OFF: dict[str, Any] = {
    "num_samples": 1,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "beam_sampling": False,
    "early_stopping": False,
}
# The first has no effect unless the second, a number, is 2 or more.
NEEDS = (
    ("length_penalty", "num_beams"),
    ("early_stopping", "num_beams"),
    ("num_beam_groups", "num_beams"),
    ("diversity_penalty", "num_beams"),
    ("beam_sampling", "num_beams"),
    ("num_return_sequences", "num_beams"),
    ("diversity_penalty", "num_beam_groups"),
)
# Only one of the two can be meant.
EXCLUSIVE = (
    ("temperature_range", "temperatures"),
    ("temperature_range", "num_samples"),
    ("temperature_range", "temperature"),
    ("temperature_range", "temperature_schedule"),
    ("temperatures", "num_samples"),
    ("temperatures", "temperature"),
    ("temperatures", "temperature_schedule"),
    ("temperature_schedule", "temperature"),
    ("num_beams", "num_samples"),
    ("num_beams", "temperature_range"),
    ("num_beams", "temperatures"),
    ("beam_sampling", "num_beam_groups"),
)
FILTERS = ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff")
# A beam search has no use for these, unless its beams are sampled.
SAMPLED = ("temperature", "temperature_schedule", *FILTERS)
# The first must not be larger than the second.
AT_MOST = (("min_length", "length"), ("num_return_sequences", "num_beams"))


class ContradictionError(SettingsError):
    """Settings that do not go together.

    names: those of which one has to be left out, the less important last.
    """

    def __init__(self, message: str, *names: str) -> None:
        self.names = names
        super().__init__(message)


def check_together(values: Mapping[str, Any], given: Collection[str]) -> None:
    """Raise ContradictionError or SettingsError for the first rule that some settings break.

    values: settings by name; a rule applies if all its settings are among them. given: the names of
    those that the user set or that differ from their defaults.
    """
    on = {name for name in given if values.get(name) not in (None, (), OFF.get(name))}
    _check_meant(on)
    _check_numbers(values)
    if "beam_sampling" in on and 0 in _temperatures(values):
        raise SettingsError(
            "`beam_sampling` needs a temperature above 0, since at 0 there is only one text to "
            "draw; pass `temperature=1`, or leave `beam_sampling` out"
        )


def _check_meant(on: Collection[str]) -> None:
    for name, needed in NEEDS:
        if name in on and needed not in on:
            raise ContradictionError(f"`{name}` needs `{needed}` of 2 or more", name)
    for one, other in EXCLUSIVE:
        if one in on and other in on:
            raise ContradictionError(f"`{one}` and `{other}`: choose one", one, other)
    for name in SAMPLED:
        if name in on and "num_beams" in on and "beam_sampling" not in on:
            raise ContradictionError(
                f"`num_beams` and `{name}`: choose one, or draw beams with `beam_sampling`",
                "num_beams",
                name,
            )


def _check_numbers(values: Mapping[str, Any]) -> None:
    for name, limit in AT_MOST:
        if name in values and limit in values and values[name] > values[limit]:
            raise SettingsError(f"`{name}={values[name]:,}`: more than `{limit}={values[limit]:,}`")
    beams, groups = values.get("num_beams", 1), values.get("num_beam_groups", 1)
    if beams % groups:
        raise SettingsError(f"`num_beam_groups={groups:,}`: must divide `num_beams={beams:,}`")


def changed(settings: Any) -> set[str]:
    """Return the names of settings that differ from their defaults."""
    return {
        field.name
        for field in fields(settings)
        if field.default is not MISSING and getattr(settings, field.name) != field.default
    }


def _temperatures(values: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the temperatures of the first and the last character, if they are among values."""
    if schedule := values.get("temperature_schedule"):
        return number_pair("temperature_schedule", schedule)
    return (values["temperature"],) if "temperature" in values else ()
