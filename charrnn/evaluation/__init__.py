"""How well a model predicts a text, and whether a text repeats itself or copies its corpus."""
