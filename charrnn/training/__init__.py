"""Truncated backpropagation through time: lanes, optimizer, loop, events."""
