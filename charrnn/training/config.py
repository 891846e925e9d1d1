"""Settings of training. Holds no torch, so that help pages answer at once."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

DEFAULT_STEPS = 8_000


class TrainingConfig(BaseModel, frozen=True, extra="forbid"):
    """How a model learns: lanes, optimizer, schedule, limits, and when to look up from it."""

    batch_size: int = Field(
        32, ge=1, le=1_000_000, description="Lanes: stretches of the corpus read side by side."
    )
    seq_length: int = Field(
        64, ge=1, le=1_000_000, description="Time steps of one chunk of truncated BPTT."
    )
    optimizer: Literal["adamw", "adam", "rmsprop", "sgd"] = Field(
        "adamw", description="Optimizer; sgd is with Nesterov momentum where --momentum is not 0."
    )
    learning_rate: float = Field(0.004, gt=0, le=1e6, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant", "plateau"] = Field(
        "cosine",
        description="Learning rate after the warm-up: falling to 0 at the end of the run (cosine, "
        "linear), constant, or halved after 2 evaluations without a better loss (plateau).",
    )
    warmup: int = Field(50, ge=0, description="Steps over which the learning rate rises from 0.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Adam's decay of the gradient's mean.")
    beta2: float = Field(
        0.99, ge=0, lt=1, description="Decay of the gradient's mean square (adam, adamw, rmsprop)."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Decay of the weight matrices (L2), decoupled from the gradient; "
        "default 0.01 for adamw, else 0.",
    )
    l1: float = Field(0.0, ge=0, description="Weight of an L1 penalty on the weight matrices.")
    grad_clip: float = Field(
        1.0, ge=0, description="Clip the gradient to this global L2 norm; 0 for off."
    )
    grad_clip_value: float = Field(
        0.0, ge=0, description="Clip each gradient element to [-x, x], before the norm; 0 for off."
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="Stop after this many optimizer steps; default "
        f"{DEFAULT_STEPS:,} where neither --epochs nor --minutes is given.",
    )
    epochs: float | None = Field(
        None, gt=0, description="Stop after this many passes over the training part."
    )
    minutes: float | None = Field(
        None, gt=0, description="Stop after this long, evaluations and saving not counted."
    )
    patience: int = Field(
        0, ge=0, description="Stop after this many evaluations without a better loss; 0 for never."
    )
    eval_every: int = Field(
        500, ge=0, description="Steps between validations; 0 for one at the end alone."
    )
    sample_every: int | None = Field(
        None, ge=0, description="Steps between samples shown; default: at each validation; 0: never."
    )
    save_every: int = Field(
        500,
        ge=0,
        description="Steps between checkpoints, besides each better validation and the end; "
        "0 for those alone.",
    )
    keep: int = Field(3, ge=1, description="Latest checkpoints to keep, besides the best.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of weights, dropout and data order.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.schedule == "plateau" and self.eval_every == 0:
            raise ValueError("--schedule plateau needs --eval-every above 0")
        return self

    @property
    def step_limit(self) -> int | None:
        """The limit in steps: as given, or the default where no limit is given at all."""
        if self.steps is None and self.epochs is None and self.minutes is None:
            return DEFAULT_STEPS
        return self.steps

    @property
    def decay(self) -> float:
        """The decoupled weight decay that applies."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.01 if self.optimizer == "adamw" else 0.0
