"""Settings of training. Holds no torch, so that help pages answer at once."""

from dataclasses import dataclass, replace
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.settings import CHOSEN, check, setting

DEFAULT_STEPS = 5_500


@dataclass(frozen=True)
class TrainingConfig:
    """How a model learns: lanes, optimizer, schedule, limits, and when to look up from it."""

    batch_size: int = setting(
        32, ge=1, le=1_000_000, help="Lanes: stretches of the corpus read side by side."
    )
    seq_length: int = setting(
        64, ge=1, le=1_000_000, help="Time steps of one chunk of truncated BPTT."
    )
    state_reset: float = setting(
        0.2,
        ge=0,
        le=1,
        help="Share of chunks before which a lane's state begins anew; else it is carried on.",
    )
    optimizer: Literal["adamw", "adam", "rmsprop", "sgd"] = setting(
        "adamw", help="Optimizer; sgd is with Nesterov momentum where `momentum` is not 0."
    )
    learning_rate: float | None = setting(
        None, gt=0, le=1e6, help="Peak learning rate.", shown="0.007 for adamw and adam, else 0.003"
    )
    schedule: Literal["cosine", "linear", "constant", "plateau"] = setting(
        "cosine",
        help="Learning rate after the warm-up: falling to 0 at the end of the run (cosine, "
        "linear), constant, or halved after 2 evaluations without a better loss (plateau).",
    )
    warmup: int = setting(50, ge=0, help="Steps over which the learning rate rises from 0.")
    beta1: float = setting(0.9, ge=0, lt=1, help="Adam's decay of the gradient's mean.")
    beta2: float = setting(
        0.99, ge=0, lt=1, help="Decay of the gradient's mean square (adam, adamw, rmsprop)."
    )
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of sgd.")
    weight_decay: float | None = setting(
        None,
        ge=0,
        le=1e6,
        help="Decay of the weight matrices (L2), decoupled from the gradient.",
        shown="0.1 for adamw, else 0",
    )
    l1: float = setting(0.0, ge=0, le=1e6, help="Weight of an L1 penalty on the weight matrices.")
    grad_clip: float = setting(
        1.0, ge=0, le=1e30, help="Clip the gradient to this global L2 norm; 0 for off."
    )
    grad_clip_value: float = setting(
        0.0,
        ge=0,
        le=1e30,
        help="Clip each gradient element to [-x, x], before the norm; 0 for off.",
    )
    steps: int | None = setting(
        None,
        ge=1,
        help="Stop after this many optimizer steps.",
        shown=f"{CHOSEN}, where neither `epochs` nor `minutes` is given",
    )
    epochs: float | None = setting(
        None, gt=0, help="Stop after this many passes over the training part."
    )
    minutes: float | None = setting(
        None, gt=0, help="Stop after this long, evaluations and saving not counted."
    )
    patience: int = setting(
        0, ge=0, help="Stop after this many evaluations without a better loss; 0 for never."
    )
    eval_every: int = setting(
        500, ge=0, help="Steps between validations; 0 for one at the end alone."
    )
    eval_length: int = setting(
        1_000_000,
        ge=1,
        help="Characters of the validation part that each of these reads, at most; charrnn eval "
        "reads all.",
    )
    sample_every: int | None = setting(
        None, ge=0, help="Steps between samples shown; 0 for never.", shown="at each validation"
    )
    save_every: int = setting(
        500,
        ge=0,
        help="Steps between checkpoints, besides each better validation and the end; "
        "0 for those alone.",
    )
    keep: int = setting(3, ge=1, help="Latest checkpoints to keep, besides the best.")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        help="Number format of the products in training; weights, loss and what is saved stay "
        "float32. auto: bfloat16 where the hardware has it and layers have 64 units or more.",
    )
    seed: int = setting(0, ge=0, lt=2**63, help="Seed of weights, dropout and data order.")

    def __post_init__(self) -> None:
        check(self)
        if self.schedule == "plateau" and self.eval_every == 0:
            raise SettingsError("`schedule=plateau` needs `eval_every` above 0")

    @property
    def step_limit(self) -> int | None:
        """The limit in steps: as given, or the default where no limit is given at all."""
        if self.steps is None and self.epochs is None and self.minutes is None:
            return DEFAULT_STEPS
        return self.steps

    @property
    def peak_rate(self) -> float:
        """The peak learning rate that applies."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.007 if self.optimizer in ("adamw", "adam") else 0.003

    def resolved(self) -> "TrainingConfig":
        """Return the same settings with every default that depends on others spelt out."""
        return replace(
            self, steps=self.step_limit, learning_rate=self.peak_rate, weight_decay=self.decay
        )

    @property
    def decay(self) -> float:
        """The decoupled weight decay that applies."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.1 if self.optimizer == "adamw" else 0.0


def fit(length: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """Return the lanes and steps that a text of `length` symbols has room for.

    Lanes give way first, then steps, so that an epoch has at least one chunk.
    """
    targets = length - 1
    steps = min(seq_length, targets)
    return max(1, min(batch_size, targets // steps)), steps
