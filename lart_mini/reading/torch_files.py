"""Torch's files, as zip archives or of the older kind, read by the safe unpickler and not by torch.

Nothing is made of what a file claims: a tensor's numbers are there before it is, and lie within them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lart_mini.files import BadInput
from lart_mini.reading.budget import MIB, Budget, TooMuch, allowance, count_values, read_bytes
from lart_mini.reading.pickles import BYTES_A_VALUE, DEEPEST, LARGEST_PICKLE, NUMPY, NumpyUnpickler
from lart_mini.reading.unpickler import Maker, Name, Refused, SafeUnpickler

LARGEST_OLD_FILE = 4096 * MIB  # bytes; an older kind's file is read as a whole
OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_AXES = 32
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}  # fmt: skip
DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


def _tensor(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Tensor:
    """torch._utils._rebuild_tensor_v2: storage, offset, shape, strides, and what is of no use here."""
    numbers, offset, shape, strides = arguments[:4]
    whole = (offset, *shape, *strides) if type(shape) is type(strides) is tuple else (None,)
    known = isinstance(numbers, Tensor) and numbers.ndim == 1 and len(whole) <= 2 * MOST_AXES
    if not known or not all(type(n) is int and 0 <= n < 1 << 48 for n in whole):
        raise Refused("a tensor of a shape that is none")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if prod(shape) > len(numbers) or (prod(shape) and last >= len(numbers)):
        raise Refused(f"a tensor of shape {shape} in {len(numbers)} numbers")
    return numbers.as_strided(shape, strides, offset) if prod(shape) else numbers.new_empty(shape)


def _parameter(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Tensor:
    if not arguments or not isinstance(arguments[0], Tensor):
        raise Refused("a parameter without a tensor")
    return arguments[0]


def _size(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return arguments[0] if arguments and type(arguments[0]) is tuple else ()


TORCH: dict[str, Maker | None] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "torch.device": lambda unpickler, arguments: "cpu",
    **dict.fromkeys((f"torch.{name}" for name in [*STORAGES, *DTYPES]), None),
}


class _TorchUnpickler(NumpyUnpickler):
    """Asks `self.source` for the numbers that stand outside the pickle."""

    source: _Numbers

    def persistent_load(self, pid: Any) -> Tensor:
        """One axis of numbers: ("storage", its class, key, device, length, …)."""
        if type(pid) is not tuple or len(pid) < 5 or pid[0] != "storage" or type(pid[1]) is not Name:
            raise Refused("an object outside the pickle that is no tensor")
        if len(pid) > 5 and pid[5] is not None:
            raise Refused("a view of a storage, as torch wrote up to 0.1")
        dtype, key, length = STORAGES.get(pid[1].full.removeprefix("torch.")), pid[2], pid[4]
        if dtype is None or type(key) is not str or type(length) is not int or length < 0:
            raise Refused(f"numbers of {pid[1].full}")
        return self.source.get(key, dtype, length)

    def build(self, target: Any, state: Any) -> Any:
        """A dict's attributes (the versions of a module's parts) are not kept."""
        return target if type(target) is dict else super().build(target, state)


class _Numbers:
    """The numbers of a file's tensors by key, each read once; in the older kind they come last."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.read = budget, dict[str, Tensor]()

    def get(self, key: str, dtype: torch.dtype, length: int) -> Tensor:
        """The numbers (length,) under a key; the file must have room for all of them."""
        if key not in self.read:
            self.budget.take(length * dtype.itemsize)
            self.read[key] = self.make(key, dtype, length)
        found = self.read[key]
        if found.dtype != dtype or len(found) != length:
            raise Refused("one tensor's numbers in two types")
        return found

    def make(self, key: str, dtype: torch.dtype, length: int) -> Tensor:
        """Room for them."""
        return torch.zeros(length, dtype=dtype)


class _ZippedNumbers(_Numbers):
    """Each in a member of the archive, as it stands in memory."""

    def __init__(self, budget: Budget, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(budget)
        self.archive, self.folder = archive, folder

    def make(self, key: str, dtype: torch.dtype, length: int) -> Tensor:
        """Read them."""
        content = bytearray(_member(self.archive, f"{self.folder}data/{key}"))
        if len(content) != length * dtype.itemsize:
            raise EOFError("numbers are missing")
        return torch.frombuffer(content, dtype=dtype) if length else torch.zeros(0, dtype=dtype)


def load_torch(
    path: str | Path, extra: Mapping[str, Maker | None] | None = None, expected: str = "a PyTorch checkpoint"
) -> Any:
    """What torch.save wrote: containers, plain values, and tensors on the CPU; nothing in the file runs.

    `extra`: further names, with what stands for a call of each. `expected` says in errors what file was
    looked for. Raises BadInput naming whatever else stands in the file, and where it is damaged or claims
    more than it has; FileNotFoundError for a missing file.
    """
    path = Path(path)
    names = {**(extra or {}), **NUMPY, **TORCH}
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        content = _from_archive(path, names) if zipped else _from_stream(path, names)
        most = allowance(path.stat().st_size, LARGEST_PICKLE)
        count_values(content, most // BYTES_A_VALUE, DEEPEST)
        return content
    except (BadInput, FileNotFoundError):
        raise
    except Refused as error:
        raise BadInput(path, "pickle", "weights and plain settings only", error) from None
    except TooMuch as error:
        raise BadInput(path, "file", expected, error) from None
    except Exception as error:  # a broken archive fails in many ways
        found = getattr(error, "strerror", None) or f"{type(error).__name__} on reading"
        raise BadInput(path, "file", expected, found) from None


def _unpickled(stream: io.BytesIO, names: Mapping[str, Maker | None], source: _Numbers) -> Any:
    most = allowance(len(stream.getbuffer()), LARGEST_PICKLE)
    unpickler = _TorchUnpickler(stream, Budget(most, 0), names)
    unpickler.source = source
    return unpickler.load()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:  # what is compressed may be any size
        raise ValueError("torch compresses nothing")
    return archive.read(member)


def _from_archive(path: Path, names: Mapping[str, Maker | None]) -> Any:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"])
        folder, size = pickled.removesuffix("data.pkl"), path.stat().st_size
        order = f"{folder}byteorder"
        if order in archive.namelist() and _member(archive, order) != b"little":
            raise Refused("numbers in another byte order")
        source = _ZippedNumbers(Budget(size, 0), archive, folder)
        return _unpickled(io.BytesIO(_member(archive, pickled)), names, source)


def _from_stream(path: Path, names: Mapping[str, Maker | None]) -> Any:
    """The older kind: five pickles in a row, then lengths and numbers in the order of the fifth."""
    stream = io.BytesIO(read_bytes(path, LARGEST_OLD_FILE))
    source = _Numbers(Budget(len(stream.getbuffer()), 0))
    magic, protocol, system, content, keys = (_unpickled(stream, names, source) for _ in range(5))
    if (magic, protocol) != (OLD_MAGIC, OLD_PROTOCOL) or type(system) is not dict or type(keys) is not list:
        raise ValueError("no file of torch's")
    if not system.get("little_endian"):
        raise Refused("numbers in another byte order")
    if sorted(keys) != sorted(source.read):
        raise EOFError("numbers are missing")
    for key in keys:
        numbers = source.read[key]
        size = len(numbers) * numbers.itemsize
        head, data = stream.read(8), stream.read(size)
        if int.from_bytes(head, "little") != len(numbers) or len(data) != size:
            raise EOFError("numbers are missing")
        if size:
            numbers.copy_(torch.frombuffer(bytearray(data), dtype=numbers.dtype))
    return content
