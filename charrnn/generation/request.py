"""What is asked of a model: a prompt, and the settings of sampling and beam search.

rules.py has the rules between these settings. Neither imports numpy, so that help pages appear at
once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from charrnn.errors import SettingsError, shortened
from charrnn.generation.rules import FILTERS, SAMPLED, ContradictionError, changed, check_together
from charrnn.settings import check, make, number_pair, setting

MAX_LANES = 64  # texts written side by side; more gain nothing


@dataclass(frozen=True)
class SamplingConfig:
    """How text is sampled, and where it ends.

    Filters apply in the order of the fields from `ban` on. Temperature comes after the bans and
    before the other filters, as in transformers.
    """

    length: int = setting(
        500,
        ge=0,
        help="Maximum number of characters to write after the prompt.",
        short="-n",
        panel="Sampling",
    )
    temperature: float = setting(
        0.8,
        ge=0,
        help="Below 1 the text is more predictable, above 1 more varied; 0 is greedy: always the "
        "most probable character.",
        short="-t",
    )
    temperature_schedule: str | None = setting(
        None, help="START:END: change the temperature evenly from START to END over the length."
    )
    ban: str = setting(
        "",
        help="Never write these characters: the characters themselves, a class in brackets such "
        "as [a-z], or names separated by commas: digits, letters, lower, upper, punctuation, "
        "space.",
        panel="Filters",
    )
    only: str = setting("", help="Write only these characters; same syntax as `ban`.")
    no_repeat_ngram_size: int = setting(
        0,
        ge=0,
        help="Never write the same sequence of this many characters twice; 12 to 20 is useful, "
        "0 turns it off.",
    )
    top_k: int | None = setting(None, ge=1, help="Sample from the K most probable characters.")
    top_p: float | None = setting(
        None,
        gt=0,
        le=1,
        help="Nucleus sampling: sample from the most probable characters that together reach this "
        "probability.",
    )
    min_p: float | None = setting(
        None,
        ge=0,
        le=1,
        help="Leave out characters whose probability is below this fraction of the highest one.",
    )
    typical_p: float | None = setting(
        None,
        gt=0,
        le=1,
        help="Locally typical sampling: sample from the characters whose surprise is closest to "
        "the expected surprise and that together reach this probability.",
    )
    epsilon_cutoff: float | None = setting(
        None, ge=0, lt=1, help="Leave out characters whose probability is below this."
    )
    stop: tuple[str, ...] = setting(
        (),
        help=r"Stop before this text; can be repeated. \n, \t and \\ are understood.",
        panel="End of a text",
    )
    include_stop: bool = setting(False, help="Include the `stop` text in the output.")
    stop_at_end: bool = setting(
        True, help="Stop at the end of a document or line, if the model was trained on them."
    )
    min_length: int = setting(
        0, ge=0, help="Write at least this many characters before a stop text or an end."
    )
    max_seconds: float | None = setting(
        None,
        gt=0,
        help="Stop after this many seconds; of several samples, those not yet begun are left out.",
    )
    seed: int | None = setting(
        None,
        ge=0,
        lt=2**63,
        help="The same seed gives the same text; default: a new seed.",
        panel="Sampling",
    )

    def __post_init__(self) -> None:
        check(self)
        if "" in self.stop:
            raise SettingsError("`stop`: an empty text would stop everything at once")
        self.temperatures()
        check_together(vars(self), changed(self))

    def filters(self) -> dict[str, float]:
        """Return the filters that are set, with the parameter names of filters.filtered."""
        values = {name: getattr(self, name) for name in FILTERS}
        return {name: value for name, value in values.items() if value is not None}

    def for_search(self) -> "SamplingConfig":
        """Return the settings without those that a plain beam search has no use for."""
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in SAMPLED}
        return replace(self, **defaults)

    def temperature_at(self, position: int) -> float:
        """Return the temperature for a character, given its position after the prompt, from 0."""
        if self.temperature_schedule is None:
            return self.temperature
        first, last = self.temperatures()
        return first + (last - first) * min(position / max(self.length - 1, 1), 1)

    def temperatures(self) -> tuple[float, float]:
        """Return the temperatures of the first and the last character."""
        if self.temperature_schedule is None:
            return self.temperature, self.temperature
        return number_pair("temperature_schedule", self.temperature_schedule)


@dataclass(frozen=True)
class BeamConfig:
    """How to search for the most probable texts."""

    num_beams: int = setting(
        1,
        ge=1,
        le=65_536,
        help="Search for the most probable text with this many beams; 1 samples instead.",
        panel="Beam search",
    )
    length_penalty: float = setting(
        1.0,
        ge=-10,
        le=10,
        help="Rank finished texts by log-probability / length^P; 0 favours short texts.",
    )
    early_stopping: bool = setting(
        False, help="Stop once `num_beams` texts are finished, even if a better one could follow."
    )
    num_beam_groups: int = setting(
        1,
        ge=1,
        help="Diverse beam search: split the beams into groups that avoid each other's characters.",
    )
    diversity_penalty: float = setting(
        0.0, ge=0, le=1e6, help="Penalty for a character that another group chose in the same step."
    )
    beam_sampling: bool = setting(
        False,
        help="Stochastic beam search: draw `num_beams` different texts at the temperature.",
    )
    num_return_sequences: int = setting(1, ge=1, help="Number of beam search texts to print.")

    def __post_init__(self) -> None:
        check(self)
        check_together(vars(self), changed(self))


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt, and how many texts to write after it, and how.

    temperatures: one for each text, if temperature_range (FROM:TO:N) cannot express them.
    given: the names of settings that the user set. When settings are checked against each other,
    those count even if they equal their defaults; settings that differ always count.
    Raises SettingsError for settings that are out of bounds or contradict each other.
    """

    prompt: str = setting("", help="Text to continue.", short="-p")
    num_samples: int = setting(
        1,
        ge=1,
        help="Number of texts to write, each with its own seed; the first uses `seed` itself.",
        panel="Sampling",
    )
    temperature_range: str | None = setting(
        None,
        help="FROM:TO:N: write N texts at temperatures from FROM to TO, all with the same seed; "
        "side by side if the terminal is wide enough.",
    )
    unknown: Literal["error", "skip", "replace"] = setting(
        "error",
        help="What to do if the prompt has characters that the model does not know: stop with an "
        "error, skip them, or replace them.",
        panel="Prompt",
    )
    temperatures: tuple[float, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    beams: BeamConfig = field(default_factory=BeamConfig)
    given: frozenset[str] = frozenset()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "GenerationRequest":
        """Make a request from names and values, such as those of a command line or a JSON object.

        Names are those of the settings of all three classes. All count as given, unless they are
        None. Lists become tuples. Raises SettingsError, also for an unknown name.
        """
        given = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if value is not None
        }
        own = {name: value for name, value in given.items() if name not in _PARTS_OF}
        parts: dict[str, dict[str, Any]] = {"sampling": {}, "beams": {}}
        for name in given.keys() & _PARTS_OF.keys():
            parts[_PARTS_OF[name]][name] = given[name]
        if unknown := own.keys() & _NOT_SETTINGS:
            raise SettingsError(f"`{min(unknown)}` is not a setting")
        sampling, beams = make(SamplingConfig, parts["sampling"]), make(BeamConfig, parts["beams"])
        return make(cls, own | {"sampling": sampling, "beams": beams, "given": frozenset(given)})

    def __post_init__(self) -> None:
        check(self)
        for temperature in self.text_temperatures():
            replace(self.sampling, temperature=temperature, temperature_schedule=None)
        check_together(self._values(), self._given())

    @property
    def searches(self) -> bool:
        """Whether this is a beam search."""
        return self.beams.num_beams > 1

    @property
    def total(self) -> int:
        """The number of texts, at most."""
        if self.searches:
            return self.beams.num_return_sequences
        return len(self.text_temperatures()) or self.num_samples

    @property
    def lanes(self) -> int:
        """The number of texts that grow side by side."""
        return self.beams.num_beams if self.searches else min(self.total, MAX_LANES)

    def text_temperatures(self) -> tuple[float, ...]:
        """Return a temperature for each text; empty if all texts have the one of `sampling`."""
        return self.temperatures or _range(self.temperature_range)

    def with_setting(self, name: str, value: Any) -> "tuple[GenerationRequest, list[str]]":
        """Return the request with a setting changed, and the names of the settings that gave way.

        The new setting wins: earlier ones that it excludes, or that need what it turns off, return
        to their defaults. value: None for the default.
        Raises SettingsError if the setting is unknown, out of bounds or too large for another.
        """
        values = self._values()
        kept = {n: values[n] for n in values if n in self._given() and n != name} | {name: value}
        gave_way: list[str] = []
        while True:
            try:
                return GenerationRequest.from_values(kept), gave_way
            except ContradictionError as error:
                losers = [n for n in error.names if n in kept and n != name]
                if not losers:
                    raise
                del kept[losers[-1]]
                gave_way.append(losers[-1])

    def _values(self) -> dict[str, Any]:
        """Return all settings by name."""
        own = {name: value for name, value in vars(self).items() if name not in _NOT_SETTINGS}
        return own | vars(self.sampling) | vars(self.beams)

    def _given(self) -> set[str]:
        """Return the names of settings that were given, or that differ from their defaults."""
        return {*self.given, *changed(self), *changed(self.sampling), *changed(self.beams)}


# Fields of a request that are no settings themselves.
_NOT_SETTINGS = {"sampling", "beams", "given"}
# Where a request keeps each setting that it does not have itself.
_PARTS_OF = dict.fromkeys((f.name for f in fields(SamplingConfig)), "sampling")
_PARTS_OF |= dict.fromkeys((f.name for f in fields(BeamConfig)), "beams")


def _range(text: str | None) -> tuple[float, ...]:
    """Read FROM:TO:N. Raises SettingsError."""
    if text is None:
        return ()
    wrong = (
        f"`temperature_range={shortened(text)}`: must be FROM:TO:N, two temperatures and 2 to 100 "
        "texts, such as 0.3:1.2:4"
    )
    pair, _, number = text.rpartition(":")
    if len(text) > 1_000 or not number.isdecimal() or not 2 <= int(number) <= 100:
        raise SettingsError(wrong)
    try:
        first, last = number_pair("temperature_range", pair)
    except SettingsError as error:
        raise SettingsError(wrong) from error
    step = (last - first) / (int(number) - 1)
    return tuple(round(first + k * step, 6) for k in range(int(number)))
