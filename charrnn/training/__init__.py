"""Truncated backpropagation through time: lanes, optimizer, loop, events."""

from charrnn.training import events as events
