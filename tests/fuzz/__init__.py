"""A seeded fuzz of everything that reads: `python tests/fuzz`, see `__main__.py`; `runner.py` says what counts."""
