"""A language model on a GPU, one symbol at a time: its forward pass, captured as a CUDA graph."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charrnn.generation.layers import Floats
from charrnn.model.language_model import LanguageModel
from charrnn.text.vocabulary import Ids

WARM_UPS = 3  # steps before a capture, as torch's notes on CUDA graphs recommend
READ_STEPS = 1024  # symbols of a text in one forward pass
WORTH_A_GRAPH = 32  # steps after which many more are likely


class TorchStepper:
    """A language model on a device; see lane_model.LaneModel.

    It is as exact as the device's kernels: cuDNN may multiply in TF32, with fewer digits.
    """

    def __init__(self, model: LanguageModel) -> None:
        """Use a model that is already on its device."""
        self.model = model.eval()

    @property
    def vocabulary_size(self) -> int:
        """The number of symbols, V."""
        return self.model.vocabulary_size

    def start(self, lanes: int) -> "TorchStates":
        """Return the states before any symbol: zeros in each of B lanes."""
        return TorchStates(self.model, self.model.start(lanes))

    def step(self, ids: Ids, states: "TorchStates") -> Floats:
        """Read one symbol in each lane, ids (B,), and return the next logits, (B, V)."""
        return states.step(torch.from_numpy(np.asarray(ids, dtype=np.int64)))

    def read(self, ids: Ids, states: "TorchStates") -> Floats:
        """Read ids (T, B), T at least 1, and return the last logits, (B, V)."""
        assert len(ids)
        for logits in self._passes(ids, states):
            last = logits[-1]
        found: Floats = last.cpu().numpy()
        return found

    def read_all(self, ids: Ids, states: "TorchStates") -> Floats:
        """Read ids (T, B) and return the logits after each symbol, (T, B, V); see Stepper."""
        logits = torch.empty((*ids.shape, self.vocabulary_size), dtype=self.model.output.bias.dtype)
        done = 0
        for part in self._passes(ids, states):
            logits[done : done + len(part)] = part
            done += len(part)
        found: Floats = logits.numpy()
        return found

    def _passes(self, ids: Ids, states: "TorchStates") -> Iterator[Tensor]:
        """Yield the logits (T, B, V) of READ_STEPS symbols at a time, to bound the memory."""
        for start in range(0, len(ids), READ_STEPS):
            part = np.asarray(ids[start : start + READ_STEPS], dtype=np.int64)
            with torch.inference_mode():
                text = torch.from_numpy(part).to(states.parts[0].device)
                logits, after = self.model(text, states.parts)
                states.replace(after)
            yield logits


class TorchStates:
    """A model's states in B lanes: tensors (L, B, H) that each step overwrites."""

    def __init__(self, model: LanguageModel, parts: tuple[Tensor, ...]) -> None:
        self.parts = parts
        self._model = model
        self._ids = torch.zeros((1, parts[0].shape[1]), dtype=torch.long, device=parts[0].device)
        self._logits = torch.empty(0)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps = 0

    def take(self, lanes: Ids) -> "TorchStates":
        """See lane_model.LaneStates."""
        index = torch.from_numpy(np.asarray(lanes, dtype=np.int64)).to(self.parts[0].device)
        taken = self._model.take(self.parts, index)
        if len(lanes) != self._ids.shape[1]:
            return TorchStates(self._model, taken)
        self.replace(taken)
        return self

    def replace(self, parts: tuple[Tensor, ...]) -> None:
        """Overwrite the states in place, because a graph refers to their memory."""
        for mine, other in zip(self.parts, parts, strict=True):
            mine.copy_(other)

    def step(self, ids: Tensor) -> Floats:
        """Read ids, (B,), and return the logits of the next symbols, (B, V)."""
        self._ids.copy_(ids[None])
        self._steps += 1
        with torch.inference_mode():
            if self._ids.is_cuda and self._steps == WORTH_A_GRAPH:
                with torch.cuda.device(self._ids.device):
                    self._graph = self._captured()
            if self._graph is None:
                self._forward()
            else:
                self._graph.replay()
        logits: Floats = self._logits.cpu().numpy()
        return logits

    def _forward(self) -> None:
        logits, after = self._model(self._ids, self.parts)
        self._logits = logits[0]
        self.replace(after)

    def _captured(self) -> "torch.cuda.CUDAGraph":
        """Record the kernels of a step, because launching them one by one takes too long."""
        before = [part.clone() for part in self.parts]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._forward()
        self.replace(tuple(before))
        return graph
