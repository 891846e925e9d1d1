"""Generate text with a trained model, one character at a time. Needs no torch on the CPU."""
