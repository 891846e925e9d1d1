"""What is saved, how it is committed, verified, found again and retired. Reads without torch."""
