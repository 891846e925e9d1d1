"""The command line: reads options, calls the library, renders. No logic."""
