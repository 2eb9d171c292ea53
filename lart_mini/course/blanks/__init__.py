"""The blanks of each notebook, a module each: what its reader writes, and where that often goes wrong."""

__all__: list[str] = []
