"""The attention of model/attention.py in numpy, one symbol at a time; tests hold the two equal."""

import math

import numpy as np

from charrnn.generation.layers import Dense, Floats, Weights
from charrnn.text.vocabulary import Ids


class Attention:
    """See model.attention.Attention. Its products are of floats, for they are short."""

    def __init__(self, w: Weights) -> None:
        size = w["weight_out"].shape[1]
        matrix = w["weight_in"].copy()
        matrix[:size] /= math.sqrt(size)
        self.size, self.window = size, len(w["bias"])
        self.matrix_in, self.matrix_out = Dense(matrix), Dense(w["weight_out"])
        # From the farthest to the nearest step, twice, so that it can be read from any place on.
        self.biases = np.tile(w["bias"][::-1], 2)

    def bind(self, h: Floats) -> "Memory":
        """Return an empty memory of the outputs that h, (H, B), will hold."""
        return Memory(self, h)


class Memory:
    """Keys and values of the last W steps in B lanes, (B, W, A) each.

    They are rings: the next step overwrites `place`, which is the oldest one once all are filled.
    output: y, (H, B).
    """

    def __init__(self, attention: Attention, h: Floats) -> None:
        lanes, size, window = h.shape[1], attention.size, attention.window
        self._attention, self._h = attention, h
        self._keys = np.empty((lanes, window, size), h.dtype)
        self._values = np.empty_like(self._keys)
        self._place = self._filled = 0
        projected = np.empty((3 * size, lanes), h.dtype)
        self._query, self._key, self._value = (part.T for part in np.split(projected, 3))
        self._project = attention.matrix_in.into(h, projected)
        self._context = np.zeros((size, lanes), h.dtype)
        self.output = h.copy()
        self._add = attention.matrix_out.into(self._context, self.output)

    def step(self) -> None:
        """Compute the output from h and the steps before, and remember h."""
        filled, place, window = self._filled, self._place, self._attention.window
        with np.errstate(over="ignore", invalid="ignore"):  # reported when a symbol is drawn
            self._project()
            if filled:
                biases = self._attention.biases[window - place :][:filled]
                self._context[...] = self._look_back(biases).T
            self._add()
            self.output += self._h
        self._keys[:, place], self._values[:, place] = self._key, self._value
        self._filled, self._place = min(filled + 1, window), (place + 1) % window

    def take(self, other: "Memory", lanes: Ids) -> None:
        """Become a copy of these lanes, (B,), of another memory or of this one."""
        filled = self._filled = other._filled
        self._place = other._place
        self.output[...] = other.output.take(lanes, axis=1)
        here = np.arange(len(lanes))
        moved = here[lanes != here] if other is self else here
        for mine, its in ((self._keys, other._keys), (self._values, other._values)):
            mine[moved, :filled] = its[lanes[moved], :filled]

    def _look_back(self, biases: Floats) -> Floats:
        """Return what the queries find in the N steps that are filled, (B, A); biases: (N,)."""
        keys, values = self._keys[:, : len(biases)], self._values[:, : len(biases)]
        scores = (keys @ self._query[:, :, None])[:, :, 0] + biases
        greatest = np.maximum(scores.max(axis=1, keepdims=True), 0)
        shares = np.exp(scores - greatest)
        shares /= shares.sum(axis=1, keepdims=True) + np.exp(-greatest)
        found: Floats = (shares[:, None] @ values)[:, 0]
        return found
