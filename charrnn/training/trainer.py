"""The training loop. It emits events and never prints; what it needs is passed in."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from charrnn.errors import CharrnnError, CheckpointError, GenerationError, TrainingError
from charrnn.model.cells import State
from charrnn.model.language_model import LanguageModel
from charrnn.training.config import TrainingConfig
from charrnn.training.context import ExecutionContext
from charrnn.training.events import (
    CheckpointEvent,
    EndEvent,
    EvaluationEvent,
    Observer,
    SampleEvent,
    StepEvent,
    WarningEvent,
)
from charrnn.training.group import pairwise_sum
from charrnn.training.hooks import Hooks
from charrnn.training.lanes import Chunk, ChunkReader
from charrnn.training.limits import fraction_done, limit_reached
from charrnn.training.optimization import Optimizer, chunk_loss, learning_rate
from charrnn.training.pace import Pace, slow_steps
from charrnn.training.progress import TrainerProgress
from charrnn.training.saving import restore
from charrnn.training.timing import Timing
from charrnn.training.validation import Validation

# Steps in a row without a finite gradient before a run goes back to its last good checkpoint, and
# how often it does so before it gives up.
MAX_BAD_STEPS = 20
MAX_RETURNS = 5
RETURN_FACTOR = 0.5  # of the learning rate, at each return
# Nats per symbol above which a step is as bad as one without a finite loss: guessing among all
# characters of Unicode costs 14.
MAX_LOSS = 1e9
# A loss so many times that of guessing, log V, means that what was learned is lost.
LOST = 2.0


class Trainer:
    """Trains a model by truncated BPTT until a limit of its configuration is reached."""

    def __init__(
        self,
        model: LanguageModel,
        lanes: ChunkReader,
        config: TrainingConfig,
        context: ExecutionContext,
        hooks: Hooks,
        generators: Sequence[torch.Generator],
        precision: torch.dtype = torch.float32,
    ) -> None:
        """Take a model and lanes at their beginning.

        generators: on the model's device; one for each shard of this process draws its dropout.
        precision: see chunk_loss.
        """
        self.model = model
        self.lanes = lanes
        self.config = config
        self.context = context
        self.hooks = hooks
        self.observers: Sequence[Observer] = ()
        self.optimizer = Optimizer(model, config)
        self.generators = generators
        self.precision = precision
        self.share = context.group.share(config.shard_count)
        self.states = self.fresh_states()
        self.progress = TrainerProgress()
        self.val_loss: float | None = None
        self.saved_at = -1
        self.save_failed = False
        self.timing = Timing(context.clock)
        self.pace = Pace()

    @property
    def step(self) -> int:
        """The number of optimizer steps taken."""
        return self.progress.step

    def run(self, observers: Sequence[Observer] = ()) -> EndEvent:
        """Train until a limit or a stop; evaluates and saves on the way and at the end.

        observers: called with each event.
        Raises TrainingError if the loss is no longer a number, CheckpointError if the run cannot be
        saved at its end.
        """
        self.observers = observers
        self.timing.restart()
        self._evaluate_sample_save_if_due()  # an interruption may have prevented it at this step
        while (reason := self._reason_to_end()) is None:
            self._take_step()
            self._evaluate_sample_save_if_due()
        return self._finish(reason)

    def save_first(self) -> None:
        """Save the run before its first step, without an event.

        Raises CheckpointError: a run that cannot be saved should not start.
        """
        self.hooks.save(self)
        self.saved_at = self.step

    # One step, phase by phase

    def _take_step(self) -> None:
        rate = self._learning_rate()
        chunk = self.lanes.next(self.share)
        loss, states = self._learn(chunk)
        norm = self.optimizer.clip()
        good = self._update(loss, norm, rate, states)
        self._report_step(chunk, loss, norm, rate, good)

    def _learning_rate(self) -> float:
        progress = self.progress
        rate = learning_rate(
            self.config, progress.step, self.fraction_done(), progress.record.factor
        )
        return rate * progress.rate_scale

    def _learn(self, chunk: Chunk) -> tuple[float, list[State]]:
        """Compute the gradient of a chunk, shard by shard; returns its loss and the states.

        Shards are added up in an order that does not depend on the number of processes.
        """
        before = self.fresh_states() if chunk.fresh else self.states
        if self.share.of == 1:
            loss, state = self._forward(chunk, before[0], self.generators[0])
            self.optimizer.backward(loss)
            return loss.item(), [state]
        states: list[State] = []

        def gradients() -> Iterator[Tensor]:
            shards = zip(self._parts(chunk), before, self.generators, strict=True)
            for part, state, generator in shards:
                if not part.inputs.numel():  # fewer documents than shards
                    states.append(state)
                    yield self.optimizer.no_gradient()
                    continue
                loss, after = self._forward(part, state, generator)
                states.append(after)
                yield self.optimizer.shard_gradient(loss)

        total = pairwise_sum(gradients())
        self.context.group.add_up(total)
        return self.optimizer.use_gradient(total), states

    def _parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """Return the lanes of each shard of this process."""
        end = 0
        for size in self._lanes_of_shards(self.lanes.carried):
            yield chunk.part(slice(end, end + size))
            end += size

    def _lanes_of_shards(self, lanes: int) -> list[int]:
        """Return how many of so many lanes each shard of this process has."""
        each = [own.lanes(lanes) for own in self.share.each()]
        return [own.stop - own.start for own in each]

    def fresh_states(self) -> list[State]:
        """Return the states of this process's shards before any symbol."""
        return [self.model.start(size) for size in self._lanes_of_shards(self.lanes.carried)]

    def _forward(
        self, part: Chunk, state: State, generator: torch.Generator
    ) -> tuple[Tensor, State]:
        inputs, targets = (ids.to(self.context.device) for ids in (part.inputs, part.targets))
        resets = self._resets(part, generator)
        return chunk_loss(
            self.model,
            inputs,
            targets,
            state,
            generator,
            resets,
            self.precision,
            part.symbols,
        )

    def _resets(self, part: Chunk, generator: torch.Generator) -> Tensor | None:
        """Reset some lanes at random before a chunk.

        So the model also learns to start from a fresh state, which it would otherwise meet once an
        epoch.
        """
        if not self.config.state_reset or part.fresh:
            return part.resets
        draw = torch.empty(part.inputs.shape[1], 1, device=self.context.device)
        carried = draw.bernoulli_(1 - self.config.state_reset, generator=generator)
        fresh = carried.squeeze(1).cpu() == 0
        if not fresh.any():
            return part.resets
        resets = torch.zeros(part.inputs.shape, dtype=torch.bool)
        if part.resets is not None:
            resets |= part.resets
        resets[0] |= fresh
        return resets

    def _update(self, loss: float, norm: float, rate: float, states: list[State]) -> bool:
        """Move the weights and the states on, unless the step is bad; returns whether it was good.

        After a bad step the states start afresh: what overflowed must not be carried on.
        """
        good = math.isfinite(norm) and abs(loss) <= MAX_LOSS  # NaN is not
        if good:
            self.optimizer.update(rate)
        self.states = states if good else self.fresh_states()
        return good

    def _report_step(self, chunk: Chunk, loss: float, norm: float, rate: float, good: bool) -> None:
        progress = self.progress
        progress.step += 1
        if good and loss < LOST * math.log(self.model.vocabulary_size + 1):
            progress.last_good = progress.step
        if good:
            progress.count(loss)
        took = self.timing.lap()
        progress.seconds += took
        self._emit(
            StepEvent(
                step=progress.step,
                epoch=self.lanes.epochs_done,
                loss=loss,
                grad_norm=norm,
                learning_rate=rate,
                symbols_per_second=chunk.symbols / max(took, 1e-9),
                seconds=progress.seconds,
                progress=self.fraction_done(),
            )
        )
        slower = self.pace.slower(chunk.inputs.shape, chunk.symbols, took)
        if slower is not None:
            self._emit(WarningEvent(progress.step, slow_steps(slower, self.context)))
        if not good:
            self._count_bad_step()

    def _count_bad_step(self) -> None:
        self.progress.bad_steps += 1
        if self.progress.bad_steps == 1:
            message = "the loss or its gradient is not finite or far too large; step skipped"
            self._emit(WarningEvent(self.step, message))
        if self.progress.bad_steps == MAX_BAD_STEPS:
            self._go_back()

    def _go_back(self) -> None:
        """Continue from the last good checkpoint with a smaller learning rate."""
        before = self.progress
        failure = f"step {before.step:,}: no usable gradient in {MAX_BAD_STEPS} steps"
        advice = "train again with a smaller `learning_rate` or with `grad_clip=1`"
        if before.returns == MAX_RETURNS:
            raise TrainingError(f"{failure}, after {before.returns} returns; {advice}")
        earlier = self.hooks.go_back(before.last_good)
        if earlier is None:
            raise TrainingError(f"{failure}, and no good checkpoint to go back to; {advice}")
        progress = before.after_return_to(earlier.progress, RETURN_FACTOR)
        restore(self, replace(earlier, progress=progress))
        self.hooks.drop_after(self.step)
        message = (
            f"{failure}; back at step {self.step:,} with {progress.rate_scale:g} of the learning "
            "rate"
        )
        self._emit(WarningEvent(before.step, message))

    # Evaluating, sampling, saving

    def _evaluate_sample_save_if_due(self) -> None:
        if self._due(self.config.eval_every):
            self._evaluate()
            if self.lacks_evaluation():
                return  # interrupted; the rest follows when the run is resumed
        if self._sample_due():
            self._write_sample()
        # The last step's checkpoint waits for the last evaluation, which belongs in it. A model
        # that may be lost already is not saved: there has to be something to go back to.
        due = self._due(self.config.save_every) and not self.limit_reached()
        if self._is_best() or (due and self.progress.last_good == self.step):
            self._try_to_save()

    def _evaluate(self) -> bool:
        """Validate, unless that was done at this step; returns whether it was done now."""
        progress = self.progress
        if self.hooks.validate is None or progress.evaluated_at == self.step:
            return False
        found = self.hooks.validate()
        if found is None:
            return False
        progress.seconds += self.timing.evaluated(found.symbols)
        self.val_loss = found.loss
        progress.evaluated_at = self.step
        self.saved_at = -1  # a checkpoint of this step lacks the evaluation
        best = progress.record.update(found.loss, self.step)
        self._emit(
            EvaluationEvent(
                step=self.step,
                epoch=self.lanes.epochs_done,
                seconds=progress.seconds,
                val_loss=found.loss,
                train_loss=progress.take_mean_loss(),
                best=best,
                symbols=found.symbols,
            )
        )
        return True

    def _write_sample(self) -> None:
        self.progress.sampled_at = self.step
        event: SampleEvent | WarningEvent
        try:
            event = SampleEvent(self.step, self.hooks.write_sample(self.step))
        except GenerationError as error:
            event = WarningEvent(self.step, f"no sample: {error}")
        self.progress.seconds += self.timing.lap("sample")
        self._emit(event)

    def _try_to_save(self) -> None:
        """Save; if that fails, warn once, continue, and try again the next time."""
        message = None
        try:
            self._save()
        except CheckpointError as error:
            if not self.save_failed:
                message = f"{error}; training continues and tries again later"
            self.save_failed = True
        else:
            message = "saving works again" if self.save_failed else None
            self.save_failed = False
        if message is not None:
            self._emit(WarningEvent(self.step, message))

    def _save(self) -> None:
        if self.saved_at == self.step:
            return
        path = self.hooks.save(self)
        self.saved_at = self.step
        self.progress.seconds += self.timing.lap("save")
        self._emit(CheckpointEvent(self.step, path))

    def _finish(self, reason: str) -> EndEvent:
        if reason != "interrupted":
            if self._evaluate() and self.config.sample_every is None:
                self._write_sample()
            if self.lacks_evaluation():
                reason = "interrupted"
        progress = self.progress
        progress.scheduled = reason != "interrupted"
        unused = self._use_up_minutes() if reason == "minutes" else 0.0
        self._save()
        full = None if reason == "interrupted" else self._validate_best()
        end = EndEvent(
            step=self.step,
            reason=reason,
            seconds=progress.seconds - unused,
            train_loss=progress.train_loss,
            best_step=progress.record.best_step,
            best_loss=progress.record.best_loss,
            full_loss=None if full is None else full.loss,
            full_symbols=None if full is None else full.symbols,
            verdict=None if reason == "interrupted" else self.hooks.judge(self, reason),
        )
        self._emit(end)
        return end

    def _use_up_minutes(self) -> float:
        """Count what is left of the minutes as used; returns the seconds.

        The end of a run may take less than was kept for it. That must not make the run unfinished.
        """
        assert self.config.minutes is not None
        unused = max(0.0, 60 * self.config.minutes - self.progress.seconds)
        self.progress.seconds += unused
        self.saved_at = -1  # a checkpoint of this step may be there already
        return unused

    def _validate_best(self) -> Validation | None:
        """Evaluate the best checkpoint on all that there is time for, if that is still to be done.

        It is not saved: the losses of checkpoints are of the same symbols.
        """
        if self.hooks.validate_best is None or self.progress.record.best_step is None:
            return None
        symbols = self.timing.last_evaluation(self.config.minutes)
        try:
            found = self.hooks.validate_best(symbols)
        except CharrnnError as error:  # the best checkpoint may have been deleted or damaged
            self._emit(WarningEvent(self.step, f"no evaluation on the whole text: {error}"))
            return None
        self.progress.seconds += self.timing.lap()
        return found

    # When to do what

    def fraction_done(self) -> float:
        """Return how much of the run is done, 0 to 1, see `limits.fraction_done`."""
        done = self.lanes.epochs_done
        return fraction_done(self.config, self.progress, done, self._reserve())

    def limit_reached(self) -> str | None:
        """Return the limit that the run has reached, see `limits.limit_reached`."""
        done = self.lanes.epochs_done
        return limit_reached(self.config, self.progress, done, self._reserve())

    def _reserve(self) -> float:
        evaluates_best = self.hooks.validate_best is not None
        return self.timing.reserve(self.config.minutes, evaluates_best=evaluates_best)

    def lacks_evaluation(self) -> bool:
        """Return whether this step has not been evaluated, though it can be."""
        return self.hooks.validate is not None and self.progress.evaluated_at != self.step

    def _reason_to_end(self) -> str | None:
        return self.limit_reached() or ("interrupted" if self.context.stop() else None)

    def _due(self, every: int) -> bool:
        return every > 0 and self.step > 0 and self.step % every == 0

    def _sample_due(self) -> bool:
        if self.progress.sampled_at == self.step:
            return False
        if self.config.sample_every is None:
            return self.progress.evaluated_at == self.step
        return self._due(self.config.sample_every)

    def _is_best(self) -> bool:
        return self.progress.record.best_step == self.step

    def _emit(self, event: Any) -> None:
        for observer in self.observers:
            observer(event)
