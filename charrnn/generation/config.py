"""Settings of sampling. Holds no numpy, so that help pages answer at once."""

from dataclasses import dataclass

from charrnn.settings import check, setting


@dataclass(frozen=True)
class SamplingConfig:
    """How text is drawn from a model."""

    length: int = setting(
        500,
        ge=0,
        help="Characters to write after the prompt.",
        short="-n",
    )
    temperature: float = setting(
        0.8,
        ge=0,
        help="Below 1 more probable and tamer, above 1 wilder; 0 is greedy: always the most "
        "probable character.",
        short="-t",
    )
    seed: int | None = setting(
        None, ge=0, lt=2**63, help="Same seed, same text; default: a new one each time."
    )

    def __post_init__(self) -> None:
        check(self)
