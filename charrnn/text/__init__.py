"""Characters to integers and back. No torch, no terminal."""
