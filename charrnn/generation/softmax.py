"""The softmaxes of model/softmax.py in plain numpy; tests hold the two equal."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from charrnn.generation.filters import log_softmax
from charrnn.generation.layers import Floats, Matrix, MatrixKind, Weights
from charrnn.model.config import Cluster, ModelConfig, clusters


class Softmax(Protocol):
    """From the outputs of the last layer to logits."""

    size: int  # the number of symbols, V

    def bind(self, h: Floats) -> Callable[[], Floats]:
        """Return a function that computes the logits, (B, V), in a buffer, from h, (H, B)."""

    def read(self, outputs: Floats, out: Floats) -> None:
        """Write the logits of many outputs, (N, H), to out, (N, V)."""


class FullSoftmax:
    """A row for each symbol."""

    def __init__(self, matrix: Floats, bias: Floats, kind: MatrixKind) -> None:
        self.matrix, self.bias, self.product = matrix, bias, kind(matrix)
        self.size = len(bias)

    def bind(self, h: Floats) -> Callable[[], Floats]:
        """See Softmax."""
        bias = self.bias[None]  # as a row, the sum is three times as fast for one lane
        products = np.empty((self.size, h.shape[1]), bias.dtype)
        product = self.product.into(h, products)
        transposed, logits = products.T, np.empty((h.shape[1], self.size), bias.dtype)

        def predict() -> Floats:
            product()
            np.add(transposed, bias, logits)
            return logits

        return predict

    def read(self, outputs: Floats, out: Floats) -> None:
        """See Softmax."""
        np.add(np.matmul(outputs, self.matrix.T, out), self.bias, out)


class AdaptiveSoftmax:
    """The logits of an adaptive softmax are ln p."""

    def __init__(self, w: Weights, found: list[Cluster], kind: MatrixKind) -> None:
        self.head = FullSoftmax(w["output.weight"], w["output.bias"], kind)
        self.clusters = found
        self.size = found[-1].stop
        prefixes = [f"output.clusters.{i}." for i in range(len(found))]
        self.downs = [w[f"{prefix}down"] for prefix in prefixes]
        self.down_products = [kind(down) for down in self.downs]
        self.within = [FullSoftmax(w[f"{p}weight"], w[f"{p}bias"], kind) for p in prefixes]

    def bind(self, h: Floats) -> Callable[[], Floats]:
        """See Softmax."""
        logits = np.empty((h.shape[1], self.size), h.dtype)
        head, within = self.head.bind(h), self.bind_clusters(h)

        def predict() -> Floats:
            self._join(head(), [logits_within() for logits_within in within], logits)
            return logits

        return predict

    def bind_clusters(self, h: Floats) -> list[Callable[[], Floats]]:
        """Return a function for each cluster that computes its own logits, (B, N), as `bind`."""
        return [
            _bind_cluster(down, softmax, h)
            for down, softmax in zip(self.down_products, self.within, strict=True)
        ]

    def read(self, outputs: Floats, out: Floats) -> None:
        """See Softmax."""
        head = np.empty((len(outputs), self.head.size), out.dtype)
        self.head.read(outputs, head)
        within = []
        for down, softmax in zip(self.downs, self.within, strict=True):
            part = np.empty((len(outputs), softmax.size), out.dtype)
            softmax.read(outputs @ down.T, part)
            within.append(part)
        self._join(head, within, out)

    def _join(self, head: Floats, within: list[Floats], out: Floats) -> None:
        log_p = log_softmax(head)
        first = self.clusters[0].start
        out[:, :first] = log_p[:, :first]
        for i, (cluster, logits) in enumerate(zip(self.clusters, within, strict=True)):
            out[:, cluster.start : cluster.stop] = log_softmax(logits)
            out[:, cluster.start : cluster.stop] += log_p[:, first + i, None]


def _bind_cluster(down: Matrix, softmax: FullSoftmax, h: Floats) -> Callable[[], Floats]:
    narrow = np.empty((softmax.matrix.shape[1], h.shape[1]), h.dtype)
    project, within = down.into(h, narrow), softmax.bind(narrow)

    def predict() -> Floats:
        project()
        return within()

    return predict


def make_softmax(w: Weights, config: ModelConfig, kind: MatrixKind) -> Softmax:
    """Make the softmax of a model. kind: makes the matrices that a single step multiplies by."""
    matrix = w["embedding.weight" if config.tie_embeddings else "output.weight"]
    if "output.clusters.0.down" not in w:
        return FullSoftmax(matrix, w["output.bias"], kind)
    symbols = config.adaptive_softmax + sum(
        len(array) for name, array in w.items() if name.endswith(".bias") and "clusters" in name
    )
    return AdaptiveSoftmax(w, clusters(config, symbols), kind)
