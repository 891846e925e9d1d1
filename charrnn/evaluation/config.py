"""Settings of dynamic evaluation. Holds no torch, so that help pages answer at once."""

from dataclasses import dataclass

from charrnn.settings import check, setting


@dataclass(frozen=True)
class DynamicConfig:
    """How the weights learn from a text while it is scored; for the letters see learner.py."""

    dynamic_lr: float = setting(
        0.0002, ge=0, le=1e6, help="Learning rate of `dynamic`, for gradients divided by their RMS."
    )
    dynamic_decay: float = setting(
        0.0005, ge=0, le=1, help="How far the weights of `dynamic` fall back with each chunk."
    )
    dynamic_length: int = setting(
        20, ge=1, le=10_000, help="Characters that `dynamic` scores before it learns from them."
    )

    def __post_init__(self) -> None:
        check(self)
