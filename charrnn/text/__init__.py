"""From text files to ids and back. No torch, no terminal, no names of corpora."""
