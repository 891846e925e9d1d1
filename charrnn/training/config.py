"""Settings of training. Imports no torch, so that help pages appear at once."""

from dataclasses import dataclass, replace
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.settings import CHOSEN, check, setting

DEFAULT_STEPS = 5_500
# Symbols of an evaluation: as a fraction of those trained on since the one before, the fewest, and
# of the one at the end of a run.
EVALUATED = 0.15
SHORTEST_EVALUATION, FULL_EVALUATION = 20_000, 1_000_000

SHARDS = 8  # of a run of several processes

# Settings that a run keeps from its first step. The shape of its chunks, its random numbers and the
# state of its optimizer depend on them, and validation losses must stay comparable.
KEPT = ("batch_size", "seq_length", "shards", "optimizer", "eval_length", "precision", "seed")
# Settings that say how long a run lasts.
LIMITS = ("steps", "epochs", "minutes")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained: lanes, optimizer, schedule, limits, evaluations, checkpoints."""

    batch_size: int = setting(
        32,
        ge=1,
        le=1_000_000,
        help="Lanes: parts of the corpus that are read in parallel.",
        panel="Training",
        shown="32, 16 for a short text",
    )
    seq_length: int = setting(
        64,
        ge=1,
        le=1_000_000,
        help="Length of a chunk: characters per lane that gradients flow through (truncated BPTT).",
    )
    shards: int | None = setting(
        None,
        ge=1,
        le=1024,
        help="Parts of the lanes whose gradients are computed alone and added in a fixed order: a "
        "power of 2. As many processes can share a run, with the same result for each number.",
        shown=f"1, {SHARDS} with several processes",
    )
    state_reset: float = setting(
        0.2,
        ge=0,
        le=1,
        help="Probability per chunk of resetting a lane's state; otherwise it is carried.",
    )
    optimizer: Literal["adamw", "adam", "rmsprop", "sgd"] = setting(
        "adamw",
        help="Optimizer; sgd uses Nesterov momentum unless `momentum` is 0.",
        panel="Optimizer",
    )
    learning_rate: float | None = setting(
        None,
        gt=0,
        le=1e6,
        help="Peak learning rate.",
        shown="chosen for an LSTM with adamw; 0.007 otherwise, 0.003 for rmsprop and sgd",
    )
    schedule: Literal["cosine", "linear", "constant", "plateau"] = setting(
        "cosine",
        help="Learning rate after the warm-up: cosine and linear fall to 0 at the end of the run, "
        "constant stays, plateau halves it after 2 evaluations without a better loss.",
    )
    warmup: int = setting(50, ge=0, help="Steps over which the learning rate rises from 0.")
    beta1: float = setting(0.9, ge=0, lt=1, help="Decay of the mean gradient (adamw, adam).")
    beta2: float = setting(
        0.99, ge=0, lt=1, help="Decay of the mean squared gradient (adamw, adam, rmsprop)."
    )
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum (sgd).")
    weight_decay: float | None = setting(
        None,
        ge=0,
        le=1e6,
        help="Decoupled L2 weight decay of the weight matrices.",
        shown="0.1 for adamw, else 0",
    )
    l1: float = setting(0.0, ge=0, le=1e6, help="Weight of an L1 penalty on the weight matrices.")
    grad_clip: float = setting(
        1.0, ge=0, le=1e30, help="Clip the gradient to this global L2 norm; 0 turns clipping off."
    )
    grad_clip_value: float = setting(
        0.0,
        ge=0,
        le=1e30,
        help="Before that, clip each gradient element to [-X, X]; 0 turns this off.",
    )
    steps: int | None = setting(
        None,
        ge=1,
        help="Stop after this many optimizer steps.",
        panel="Run",
        shown=f"{CHOSEN}, unless `epochs` or `minutes` is given",
    )
    epochs: float | None = setting(
        None, gt=0, help="Stop after this many passes over the training text."
    )
    minutes: float | None = setting(
        None, gt=0, help="Stop after this much time, evaluation, samples and saving included."
    )
    patience: int = setting(
        0, ge=0, help="Stop early after this many evaluations without a better loss; 0 never does."
    )
    eval_every: int = setting(
        500,
        ge=0,
        help="Steps between evaluations on the validation text; 0 evaluates only at the end.",
        panel="Evaluation and checkpoints",
        shown="500, fewer for a short corpus",
    )
    eval_length: int | None = setting(
        None,
        ge=1,
        help="Evaluate on at most this many characters; charrnn eval always uses all.",
        shown="a seventh of what is trained on in between, and a million once at the end",
    )
    sample_every: int | None = setting(
        None, ge=0, help="Steps between printed samples; 0 prints none.", shown="at each evaluation"
    )
    save_every: int = setting(
        500,
        ge=0,
        help="Steps between checkpoints. One is also saved after each better evaluation and at "
        "the end; 0 saves only those.",
    )
    keep: int = setting(3, ge=1, help="Latest checkpoints to keep, in addition to the best.")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        help="Number format of matrix products; weights, loss and checkpoints are float32. auto: "
        "bfloat16 if the hardware is fast at it and layers have 64 units or more.",
        panel="Training",
    )
    seed: int = setting(0, ge=0, lt=2**63, help="Seed of initial weights, dropout and data order.")

    def __post_init__(self) -> None:
        check(self)
        if self.schedule == "plateau" and self.eval_every == 0:
            raise SettingsError("`schedule=plateau` needs `eval_every` above 0")
        if self.shards is not None and self.shards.bit_count() != 1:
            raise SettingsError(f"`shards={self.shards}`: must be a power of 2: 1, 2, 4, 8, ...")

    @property
    def step_limit(self) -> int | None:
        """The limit in steps; the default if no limit of any kind is given."""
        if self.steps is None and self.epochs is None and self.minutes is None:
            return DEFAULT_STEPS
        return self.steps

    @property
    def shard_count(self) -> int:
        """The number of shards."""
        return self.shards or 1

    @property
    def peak_rate(self) -> float:
        """The peak learning rate; its default depends on the optimizer."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.007 if self.optimizer in ("adamw", "adam") else 0.003

    def evaluated(self, chunk: int) -> int:
        """Return the symbols of each evaluation in training, for steps that read a chunk each.

        Predicting takes a third of the time of learning. So this is a twentieth of the run.
        """
        if self.eval_length is not None:
            return self.eval_length
        if not self.eval_every:
            return FULL_EVALUATION
        wanted = round(EVALUATED * self.eval_every * chunk)
        return min(max(wanted, SHORTEST_EVALUATION), FULL_EVALUATION)

    def resolved(self) -> "TrainingConfig":
        """Return the same settings with the defaults that depend on others filled in."""
        return replace(
            self, steps=self.step_limit, learning_rate=self.peak_rate, weight_decay=self.decay
        )

    @property
    def decay(self) -> float:
        """The decoupled weight decay; its default depends on the optimizer."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.1 if self.optimizer == "adamw" else 0.0


def fit(length: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """Return the lanes and the steps per chunk that fit a text of `length` symbols.

    If the text is short, lanes are reduced first, then steps, so that an epoch has a chunk.
    """
    targets = length - 1
    steps = min(seq_length, targets)
    return max(1, min(batch_size, targets // steps)), steps
