"""What reading a file may cost: bytes, values and depth, counted before anything is made."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lart_mini.files import BadInput

MIB = 1 << 20
SMALL_FILE, BYTES_A_BYTE = 64 * MIB, 64  # zlib makes numbers a third as large, lists of zeros a hundredth


class TooMuch(Exception):
    """A file asks for more than it may. Its text is what was found: `more than 1,000 values`."""


@dataclass
class Budget:
    """What one file may still make. Every reader takes from it first and makes afterwards."""

    size: int  # bytes of arrays, text and numbers
    objects: int  # values and containers

    def __post_init__(self) -> None:
        self.whole = (self.size, self.objects)

    def take(self, size: int = 0, objects: int = 0) -> None:
        """Take bytes and objects. Raises TooMuch where fewer are left."""
        self.size -= size
        self.objects -= objects
        if self.size < 0:
            raise TooMuch(f"more than {self.whole[0] // MIB:,} MiB")
        if self.objects < 0:
            raise TooMuch(f"more than {self.whole[1]:,} values")


def allowance(size: int, most: int) -> int:
    """Bytes that a file of `size` bytes may cost: small files may not cost as much as large ones."""
    return min(most, SMALL_FILE + BYTES_A_BYTE * size)


def count_values(value: Any, most: int, depth: int = 32) -> int:
    """How many values nested lists, tuples, dicts and sets hold, if they were written out in full.

    What stands in several places counts in each, so that a few lists that hold each other over and over are
    not taken for few values; containers count as one value more, an array as one. Raises TooMuch beyond
    `most` values or `depth` levels, and has looked at no more than that.
    """
    total = 0
    levels = [iter((value,))]
    while levels:
        for one in levels[-1]:
            total += 1
            if total > most:
                raise TooMuch(f"more than {most:,} values")
            if isinstance(one, dict):
                total += len(one)  # the keys are flat
                levels.append(iter(one.values()))
            elif isinstance(one, (list, tuple, set, frozenset)):
                levels.append(iter(one))
            else:
                continue
            if len(levels) > depth + 1:
                raise TooMuch(f"values nested deeper than {depth}")
            break
        else:
            levels.pop()
    return total


@contextmanager
def open_plain(path: str | Path, most: int) -> Iterator[IO[bytes]]:
    """A plain file of at most `most` bytes, open to be read.

    Raises FileNotFoundError for a missing file, BadInput for one that is larger, no plain file (a pipe would
    be waited for), or that the system does not give, with the system's reason.
    """
    path = Path(path)
    try:
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):
            raise BadInput(path, "file", "a plain file", "a folder" if path.is_dir() else "none")
        if told.st_size > most:
            raise BadInput(path, "file", f"at most {most / MIB:g} MiB", "more")
        file = path.open("rb")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a ValueError: a name with a zero byte in it
        if isinstance(error, BadInput):
            raise
        found = getattr(error, "strerror", None) or error
        raise BadInput(path, "file", "a file that can be read", found) from None
    with file:
        yield file


def read_bytes(path: str | Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes. Raises as `open_plain`."""
    with open_plain(path, most) as file:
        try:
            content = file.read(min(Path(path).stat().st_size, most) + 1)  # makes room at once for as many
        except OSError as error:
            raise BadInput(path, "file", "a file that can be read", error.strerror) from None
    if len(content) > most:
        raise BadInput(path, "file", f"at most {most / MIB:g} MiB", "more")
    return content
