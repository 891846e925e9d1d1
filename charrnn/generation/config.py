"""Settings of sampling. Holds no numpy, so that help pages answer at once."""

from pydantic import BaseModel, Field


class SamplingConfig(BaseModel, frozen=True, extra="forbid"):
    """How text is drawn from a model."""

    length: int = Field(
        500,
        ge=0,
        description="Characters to write after the prompt.",
        json_schema_extra={"short": "-n"},
    )
    temperature: float = Field(
        0.8,
        ge=0,
        allow_inf_nan=False,
        description="Below 1 more probable and tamer, above 1 wilder; 0 is greedy: always the most "
        "probable character.",
        json_schema_extra={"short": "-t"},
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Same seed, same text; default: a new one each time."
    )
