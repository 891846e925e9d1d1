"""Settings of dynamic evaluation. Imports no torch, so that help pages appear at once."""

from dataclasses import dataclass

from charrnn.settings import check, setting


@dataclass(frozen=True)
class DynamicConfig:
    """How the weights are adapted to a text while it is scored; see dynamic.py for the method."""

    dynamic_lr: float = setting(
        0.0002,
        ge=0,
        le=1e6,
        help="Learning rate, for gradients divided by their RMS.",
        panel="Dynamic evaluation",
    )
    dynamic_decay: float = setting(
        0.0005, ge=0, le=1, help="How far the weights return to the trained ones with each chunk."
    )
    dynamic_length: int = setting(
        20,
        ge=1,
        le=10_000,
        help="Characters per chunk, which are scored before the model learns from them.",
    )

    def __post_init__(self) -> None:
        check(self)
