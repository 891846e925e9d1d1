"""From a saved model to text, one character at a time. No torch on the CPU."""
