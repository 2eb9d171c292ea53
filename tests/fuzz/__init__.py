"""A seeded fuzz of everything that reads: see `__main__.py` for the command, `runner.py` for what counts."""
