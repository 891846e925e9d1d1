"""Data to terminal, files and pages. No computation."""
