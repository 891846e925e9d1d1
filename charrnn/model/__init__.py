"""Ids and a state in, logits and a state out. Knows no text, file, optimizer or terminal."""
