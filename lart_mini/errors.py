"""What bad input gets, and how files are written: one clear line, and nothing half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BadInput(ValueError):
    """Input that cannot be used. Its text is one line: file, field, what was expected, what was found."""

    def __init__(self, file: object, field: str, expected: object, found: object) -> None:
        self.file, self.field, self.expected, self.found = str(file), field, str(expected), str(found)
        super().__init__(f"{self.file}: {field}: expected {expected}, found {found}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` on success, remove it on failure.

    The temporary name keeps the suffix of `path`, since numpy and others add their own where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; readers of a finished file should not depend on who wrote it.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
