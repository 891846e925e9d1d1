"""A run from its start to its end: choice of settings, execution, resuming, curves, comparison."""
