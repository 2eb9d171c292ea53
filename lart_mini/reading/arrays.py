"""Numpy's files, .npy and .npz: for each array its header first, and the data only if they are wanted.

No array of Python objects is ever read. A shape is given with None where any length will do.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput
from lart_mini.reading.budget import MIB, Budget, TooMuch

LARGEST_ARRAYS = 1024 * MIB  # bytes that the arrays of one file may have beyond the file's own size
LARGEST_HEADER = 10_000  # characters
MOST_MEMBERS = 100_000  # of an .npz; the motion library's largest has some hundred
PIECE = 16 * MIB  # read at once, so that no more is held than the file has
NUMBERS = "biuf"

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Layout:
    """What an array's header says."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return prod(self.shape) * self.dtype.itemsize

    def check(self, file: object, field: str, shape: Shape | None, kinds: str) -> None:
        """Raise BadInput where the array is not of that shape (None: any) and one of these kinds of dtype."""
        fits = shape is None or (
            len(shape) == len(self.shape)
            and all(wanted in (None, n) for wanted, n in zip(shape, self.shape, strict=True))
        )
        if self.dtype.kind not in kinds or not fits:
            wanted = "text" if kinds == "U" else "numbers"
            if shape is not None:
                wanted += f" of shape {tuple('any' if n is None else n for n in shape)}".replace("'", "")
            found = "Python objects" if self.dtype.hasobject else self.dtype.name
            raise BadInput(file, field, wanted, f"{found} of shape {self.shape}")


def header(stream: IO[bytes]) -> Layout:
    """Read an .npy header; raises ValueError and others where there is none."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        told = np.lib.format.read_array_header_1_0(stream, LARGEST_HEADER)
    elif version in ((2, 0), (3, 0)):  # the third differs in names of columns, which nothing here has
        told = np.lib.format.read_array_header_2_0(stream, LARGEST_HEADER)
    else:
        raise ValueError(f"version {version} of .npy")
    shape: Any
    shape, fortran, dtype = told
    if not all(type(n) is int and 0 <= n < 2**62 for n in shape) or (dtype.itemsize == 0 and prod(shape)):
        raise ValueError(f"shape {shape}")
    return Layout(shape, dtype, fortran)


def _data(stream: IO[bytes], layout: Layout) -> NDArray[Any]:
    """The array after its header, writable; raises EOFError where the stream ends too early or goes on."""
    content = bytearray()
    while len(content) < layout.size:
        piece = stream.read(min(PIECE, layout.size - len(content)))
        if not piece:
            raise EOFError("the data end too early")
        content += piece
    if stream.read(1):
        raise EOFError("more data than the header says")
    flat = np.frombuffer(content, layout.dtype) if content else np.empty(prod(layout.shape), layout.dtype)
    return flat.reshape(layout.shape, order="F" if layout.fortran else "C")


@dataclass(frozen=True)
class Archive:
    """An open .npz."""

    path: Path
    members: dict[str, zipfile.ZipInfo]  # by the arrays' names
    archive: zipfile.ZipFile
    budget: Budget

    def layout(self, name: str) -> Layout:
        """Shape and dtype of an array, of which nothing more is read. Raises BadInput."""
        if name not in self.members:
            raise BadInput(self.path, name, "to be there", "no such array")
        try:
            with self.archive.open(self.members[name]) as member:
                return header(member)
        except Exception as error:
            raise BadInput(self.path, name, "a plain array", _said(error)) from None

    def read(self, name: str, shape: Shape | None = None, kinds: str = NUMBERS) -> NDArray[Any]:
        """An array of that shape (None: any) and kind of dtype. Raises BadInput, before it reads the data."""
        layout = self.layout(name)
        layout.check(self.path, name, shape, kinds)
        try:
            self.budget.take(layout.size)
            if layout.size > self.members[name].file_size:
                raise EOFError("the data end too early")
            with self.archive.open(self.members[name]) as member:
                header(member)
                return _data(member, layout)
        except Exception as error:
            raise BadInput(self.path, name, "a plain array", _said(error)) from None


@contextmanager
def open_npz(path: str | Path, expected: str = "an .npz of plain arrays") -> Iterator[Archive]:
    """An .npz to read arrays from. `expected` says in errors what file was looked for.

    Raises BadInput for anything else, and for what cannot be read; FileNotFoundError for a missing file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            path.stat()  # FileNotFoundError
            raise BadInput(path, "file", expected, "no plain file")
        archive = zipfile.ZipFile(path)
    except (FileNotFoundError, BadInput):
        raise
    except Exception as error:  # zipfile fails in many ways
        raise BadInput(path, "file", expected, _said(error)) from None
    with archive:
        entries = archive.infolist()
        if len(entries) > MOST_MEMBERS:
            raise BadInput(path, "file", expected, f"more than {MOST_MEMBERS:,} members")
        budget = Budget(LARGEST_ARRAYS + path.stat().st_size, MOST_MEMBERS)
        yield Archive(path, {one.filename.removesuffix(".npy"): one for one in entries}, archive, budget)


def read_npy(
    path: str | Path,
    shapes: Collection[tuple[int, ...]],
    kinds: str = NUMBERS,
    field: str = "array",
    wanted: str = "numbers",
) -> NDArray[Any]:
    """The array of an .npy file, of one of these shapes and kinds of dtype; `field`, `wanted`: for errors.

    Raises BadInput for anything else, before the data are read; FileNotFoundError for a missing file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            path.stat()
            raise BadInput(path, "file", "a .npy array", "no plain file")
        with path.open("rb") as file:
            layout = header(file)
            if layout.dtype.hasobject:
                raise BadInput(path, "file", "a .npy array of plain values", "Python objects")
            if layout.shape not in shapes or layout.dtype.kind not in kinds:
                expected = f"{wanted} of shape {' or '.join(map(str, shapes))}"
                raise BadInput(path, field, expected, f"{layout.dtype.name} of shape {layout.shape}")
            return _data(file, layout)
    except (FileNotFoundError, BadInput):
        raise
    except Exception as error:  # a damaged header fails in as many ways as Python's parser
        raise BadInput(path, "file", "a .npy array", _said(error)) from None


def parse_npy(content: bytes, kinds: str, budget: Budget) -> NDArray[Any]:
    """The array of an .npy file's bytes. Raises TooMuch, or what a damaged file leads to."""
    stream = io.BytesIO(content)
    layout = header(stream)
    if layout.dtype.kind not in kinds:
        raise TypeError(f"dtype {layout.dtype.str!r}")
    budget.take(layout.size)
    return _data(stream, layout)


def _said(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split())[:80]
    return said if isinstance(error, TooMuch) or not said else f"{type(error).__name__} ({said})"
