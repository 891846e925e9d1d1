"""Settings of sampling and beam search. Holds no numpy, so that help pages answer at once."""

from dataclasses import dataclass

from charrnn.errors import SettingsError
from charrnn.settings import check, number_pair, setting

MAX_LANES = 64  # texts that are drawn in step; more gain nothing


@dataclass(frozen=True)
class SamplingConfig:
    """How text is drawn from a model, and where it ends.

    What cuts symbols off is applied in the order of the fields from `ban` on; temperature after the
    bans and before the rest, as in transformers.
    """

    length: int = setting(
        500,
        ge=0,
        help="Characters to write after the prompt, at most.",
        short="-n",
    )
    temperature: float = setting(
        0.8,
        ge=0,
        help="Below 1 more probable and tamer, above 1 wilder; 0 is greedy: always the most "
        "probable character.",
        short="-t",
    )
    temperature_schedule: str | None = setting(
        None, help="START:END, a temperature that moves from one to the other over the length."
    )
    ban: str = setting(
        "",
        help="Never write these characters: the characters themselves, a class in brackets such "
        "as [a-z], or names with commas between: digits, letters, lower, upper, punctuation, "
        "space.",
    )
    only: str = setting("", help="Write these characters alone; given like `ban`.")
    no_repeat_ngram_size: int = setting(
        0,
        ge=0,
        help="Never write so many characters in a row twice; 12 to 20 is useful, 0 is off.",
    )
    top_k: int | None = setting(None, ge=1, help="Draw among the K most probable characters.")
    top_p: float | None = setting(
        None,
        gt=0,
        le=1,
        help="Draw among the most probable characters that have this probability together.",
    )
    min_p: float | None = setting(
        None,
        ge=0,
        le=1,
        help="Draw among the characters that have at least this part of the probability of the "
        "most probable.",
    )
    typical_p: float | None = setting(
        None,
        gt=0,
        le=1,
        help="Draw among the characters that are as surprising as expected, to this probability.",
    )
    epsilon_cutoff: float | None = setting(
        None, ge=0, lt=1, help="Draw among the characters of at least this probability."
    )
    stop: tuple[str, ...] = setting(
        (), help="End before this text; may be given several times. \\n is a line end."
    )
    include_stop: bool = setting(False, help="Write the `stop` text, too.")
    stop_at_end: bool = setting(
        True, help="End where a document or line of the model ends, if it learned any."
    )
    min_length: int = setting(
        0, ge=0, help="Characters to write before a stop text or an end may come."
    )
    max_seconds: float | None = setting(None, gt=0, help="End after so many seconds.")
    seed: int | None = setting(
        None, ge=0, lt=2**63, help="Same seed, same text; default: a new one each time."
    )

    def __post_init__(self) -> None:
        check(self)
        if self.min_length > self.length:
            raise SettingsError(
                f"`min_length={self.min_length:,}`: more than `length={self.length:,}`"
            )
        if "" in self.stop:
            raise SettingsError("`stop`: an empty text would end everything at once")
        self.temperatures()

    def filters(self) -> dict[str, float]:
        """Return the filters that are set, by the names of filters.filtered."""
        names = ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def temperature_at(self, position: int) -> float:
        """Return the temperature of the character at a position, from 0, behind the prompt."""
        if self.temperature_schedule is None:
            return self.temperature
        first, last = self.temperatures()
        return first + (last - first) * min(position / max(self.length - 1, 1), 1)

    def temperatures(self) -> tuple[float, float]:
        """Return the temperature of the first character and that of the last."""
        if self.temperature_schedule is None:
            return self.temperature, self.temperature
        return number_pair("temperature_schedule", self.temperature_schedule)


@dataclass(frozen=True)
class BeamConfig:
    """How the most probable texts are searched for."""

    num_beams: int = setting(
        1,
        ge=1,
        le=65_536,
        help="Beam search for the most probable text, with so many beams; 1 draws one instead.",
    )
    length_penalty: float = setting(
        1.0,
        ge=-10,
        le=10,
        help="Rank finished texts by log-probability / length^P; 0 favours short ones.",
    )
    early_stopping: bool = setting(
        False, help="End as soon as `num_beams` texts are finished, though better may come."
    )
    num_beam_groups: int = setting(
        1, ge=1, help="Diverse beam search: groups of beams that avoid each other's characters."
    )
    diversity_penalty: float = setting(
        0.0, ge=0, le=1e6, help="What a group pays for a character that another group chose."
    )
    beam_sampling: bool = setting(
        False,
        help="Stochastic beam search: `num_beams` different texts drawn at the temperature.",
    )
    num_return_sequences: int = setting(1, ge=1, help="Texts of the beam search to print.")

    def __post_init__(self) -> None:
        check(self)
        if self.num_return_sequences > self.num_beams:
            raise SettingsError(
                f"`num_return_sequences={self.num_return_sequences:,}`: more than `num_beams` "
                f"{self.num_beams:,}"
            )
        if self.num_beams % self.num_beam_groups:
            raise SettingsError(
                f"`num_beam_groups={self.num_beam_groups:,}`: must divide `num_beams` "
                f"{self.num_beams:,}"
            )
        if self.diversity_penalty and self.num_beam_groups == 1:
            raise SettingsError("`diversity_penalty` needs `num_beam_groups` of 2 or more")
        if self.beam_sampling and self.num_beam_groups > 1:
            raise SettingsError("`beam_sampling` and `num_beam_groups`: choose one")
