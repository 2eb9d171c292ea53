"""Read pickles of numpy data, plain or joblib's, without running anything that stands in them.

joblib writes an array's bytes into the pickle's stream; up to 0.9 it wrote them into files beside the pickle,
`x.pkl_01.npy` or, compressed, `x.pkl_01.npy.z` (a "Z-file"). All are read. Torch's tensors, which trackers
leave in their results, are passed over: a `PassedOver` stands in their place.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput
from lart_mini.reading.arrays import parse_npy
from lart_mini.reading.budget import (
    MIB,
    Budget,
    TooMuch,
    allowance,
    count_values,
    open_plain,
    read_bytes,
)
from lart_mini.reading.compression import LONGEST_MAGIC, is_packed, unpacked
from lart_mini.reading.unpickler import Maker, PassedOver, Record, Refused, SafeUnpickler

LARGEST_PICKLE = 256 * MIB  # bytes after decompression, and of all that is made; a tracklet has a few MB
BYTES_A_VALUE = 64  # of the limit: how many values there may be, written out in full
DEEPEST = 32  # levels of containers
ALLOWED_CONTENT = "numpy arrays and numbers, text and builtin containers only"
ZFILE_PREFIX, ZFILE_HEADER = b"ZF", 21  # the header ends with the content's length in hexadecimal
PLAIN_DTYPE = re.compile(r"[<|=]?[biufSU]\d{1,9}")  # keeps out objects, records and foreign byte order
MOST_AXES = 32


class _JoblibArray:
    """joblib's note that an array's bytes follow in the stream: shape, order and dtype, no behaviour."""

    def __init__(self, unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> None: ...

    def build(self, unpickler: SafeUnpickler, state: Any) -> NDArray[Any]:
        """Take the array's bytes from where the state says that they are."""
        if type(state) is not dict:
            raise Refused("an array without shape or dtype")
        return self.read(unpickler, state)

    def read(self, unpickler: SafeUnpickler, state: dict[Any, Any]) -> NDArray[Any]:
        """The array, from the stream."""
        stream = unpickler.stream
        if state.get("numpy_array_alignment_bytes") is not None:  # absent in joblib 1.1 and before
            stream.seek(stream.read(1)[0], io.SEEK_CUR)
        shape, dtype = _plain_layout(state.get("shape"), state.get("dtype"))
        size = prod(shape) * dtype.itemsize
        if size > unpickler.left():
            raise EOFError
        return _array(unpickler, stream.read(size), shape, dtype, state.get("order") == "F")


class _BesideArray(_JoblibArray):
    """The same of joblib up to 0.9: the array stands in a .npy file beside the pickle."""

    def read(self, unpickler: SafeUnpickler, state: dict[Any, Any]) -> NDArray[Any]:
        """The array, from the file of that name."""
        assert isinstance(unpickler, _JoblibUnpickler)
        try:
            return parse_npy(unpickler.beside(state.get("filename")), "biufSU", unpickler.budget)
        except TypeError as error:
            raise Refused(error) from None


class _CompressedBesideArray(_JoblibArray):
    """The same in a Z-file, without a header of its own."""

    def read(self, unpickler: SafeUnpickler, state: dict[Any, Any]) -> NDArray[Any]:
        """The array, from the file of that name; shape, dtype and order stand in the pickle."""
        assert isinstance(unpickler, _JoblibUnpickler)
        layout = state.get("state")
        if type(layout) is not tuple or len(layout) != 4:
            raise Refused("an array without shape or dtype")
        shape, dtype = _plain_layout(*layout[1:3])
        data = _inflate_zfile(unpickler.beside(state.get("filename")), unpickler.budget.size)
        return _array(unpickler, data, shape, dtype, layout[3] is True or layout[3] == 1)


def _plain_layout(shape: object, dtype: object) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not isinstance(dtype, np.dtype) or type(shape) is not tuple or len(shape) > MOST_AXES:
        raise Refused("an array without shape or dtype")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise Refused("an array of a shape that is none")
    return shape, dtype


def _array(
    unpickler: SafeUnpickler, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool
) -> NDArray[Any]:
    unpickler.budget.take(len(data))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _dtype(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> np.dtype[Any]:
    code = arguments[0] if arguments else None
    if type(code) is not str or not PLAIN_DTYPE.fullmatch(code):
        raise Refused(f"dtype {code[:16]!r}" if type(code) is str else "a dtype without a code")
    return np.dtype(code)


def dtype_or(stand_in: object) -> Maker:
    """Makes numpy's plain dtypes, and has `stand_in` for the dtype of Python objects."""

    def make(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Any:
        of_objects = arguments and arguments[0] in ("O", "O4", "O8", "|O")
        return stand_in if of_objects else _dtype(unpickler, arguments)

    return make


def _data(value: Any) -> bytes:
    """Bytes that Python 2 may have written as text."""
    if type(value) is str:
        return value.encode("latin1")
    if type(value) is not bytes:
        raise Refused("an array of Python objects")
    return value


def _empty_array(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> NDArray[Any]:
    """How numpy's own pickles begin; the state follows."""
    return np.empty(0, np.uint8)


def _scalar(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Any:
    dtype, data = arguments
    if not isinstance(dtype, np.dtype):
        raise Refused("a number without a dtype")
    unpickler.budget.take(2 * dtype.itemsize)
    return np.frombuffer(_data(data), dtype, count=1)[0]


def _from_buffer(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> NDArray[Any]:
    """numpy's protocol 5, in band: bytes, dtype, shape, order."""
    data, dtype, shape, order = arguments
    return _array(unpickler, _data(data), *_plain_layout(shape, dtype), order == "F")


def _encoded(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> bytes:
    """How protocols 0 to 2 write bytes: as text, and a call of _codecs.encode."""
    text, *encoding = arguments
    if type(text) is not str or encoding not in (["latin1"], ["latin-1"]):
        raise Refused("bytes in another encoding than latin1")
    unpickler.budget.take(len(text))
    return text.encode("latin1")


def _bytes(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> bytes:
    return _encoded(unpickler, arguments) if len(arguments) == 2 else _data(*(arguments or (b"",)))


def _set(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Any:
    """How protocols 0 to 3 write sets."""
    items = arguments[0] if arguments else []
    if type(items) is not list:
        raise Refused(f"a set of a {type(items).__name__}")
    unpickler.flat(items)
    unpickler.budget.take(100 * len(items))
    return set(items)


def plain_dict(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """A plain dict in the place of a special one, such as OrderedDict; Python 2 gives a list of pairs."""
    content: dict[Any, Any] = {}
    for pair in arguments[0] if arguments and type(arguments[0]) is list else ():
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise Refused("a dict of no pairs")
        unpickler.put(content, list(pair))
    return content


def passed_over(what: str) -> Maker:
    """Makes nothing but a note of what stood here."""

    def make(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> PassedOver:
        unpickler.skipped = True
        return PassedOver(what)

    return make


def record(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Record:
    """Keeps what the pickle says of an object, whose class does nothing."""
    return Record("an object", arguments)


TENSORS = (
    "_utils._rebuild_tensor _utils._rebuild_tensor_v2 _utils._rebuild_tensor_v3 _utils._rebuild_parameter "
    "storage._load_from_bytes storage.TypedStorage storage.UntypedStorage nn.parameter.Parameter Size device "
    "FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage "
    "ByteStorage BoolStorage"
).split()
NUMPY: dict[str, Maker | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "builtins.dict": plain_dict,
    "collections.OrderedDict": plain_dict,
    "collections.defaultdict": plain_dict,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _empty_array for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}
JOBLIB: dict[str, Maker | None] = {
    f"joblib.{module}.{name}": maker
    for name, maker in (
        ("NumpyArrayWrapper", _JoblibArray), ("NDArrayWrapper", _BesideArray),
        ("ZNDArrayWrapper", _CompressedBesideArray),
    )
    for module in ("numpy_pickle", "numpy_pickle_compat")
}  # fmt: skip
TRACKER: dict[str, Maker | None] = {f"torch.{name}": passed_over("a torch tensor") for name in TENSORS}
ALLOWED_NAMES = NUMPY | JOBLIB | TRACKER


class NumpyUnpickler(SafeUnpickler):
    """Knows the states of numpy's dtypes and arrays."""

    def build(self, target: Any, state: Any) -> Any:
        """A dtype's state says its byte order, an array's all that it has."""
        if isinstance(target, np.dtype):
            if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
                # Only the byte order matters: the rest of a plain dtype stands in its code.
                raise Refused("a dtype of state that is not plain")
            return target
        if type(target) is np.ndarray:
            if type(state) is not tuple or len(state) != 5:
                raise Refused("an array of Python objects")
            if isinstance(state[2], PassedOver):
                return state[2]
            shape, dtype = _plain_layout(*state[1:3])
            data = _data(state[4])
            if len(data) != prod(shape) * dtype.itemsize:
                raise EOFError
            self.budget.take(2 * len(data))
            fortran = state[3] is True or state[3] == 1
            target.__setstate__((1, shape, dtype, fortran, data))  # type: ignore[arg-type]
            return target
        return super().build(target, state)


class _JoblibUnpickler(NumpyUnpickler):
    """Knows the pickle's folder."""

    path: Path

    def beside(self, name: object) -> bytes:
        """The content of a file of that bare name in the pickle's own folder, and nowhere else."""
        folder = self.path.parent
        if type(name) is not str or name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise Refused(f"an array in {str(name)[:80]!r}, which is no file name")
        file = folder / name
        if file.exists() and file.resolve().parent != folder.resolve():
            raise Refused(f"an array in {name}, which leads out of the folder")
        if not file.is_file():
            raise BadInput(self.path, "pickle", f"{name} beside it", "no such file")
        if file.stat().st_size > self.budget.size:
            raise TooMuch(f"more than {self.budget.whole[0] // MIB} MiB")
        return read_bytes(file, self.budget.size)


def read_pickle(
    path: str | Path,
    most: int | None = None,
    extra: Mapping[str, Maker | None] | None = None,
    warn: bool = True,
) -> Any:
    """What a pickle holds, plain or joblib's, of protocol 0 to 5, without running anything in it.

    Numpy arrays, numbers and builtin containers are read, arrays also from files beside the pickle; it may be
    compressed by zlib, gzip, bz2, xz or lzma. Torch's tensors are passed over with a warning that names their
    keys. `most`: bytes of the file, unpacked, and of all that is made of it, LARGEST_PICKLE if not given; a
    small file may cost less (`allowance`).
    `extra`: further names; `warn`: of what is passed over.
    Anything else raises BadInput naming it, as do files that are truncated, missing beside the pickle, no
    pickle at all, or too large; a missing file raises FileNotFoundError.
    """
    path, most = Path(path), LARGEST_PICKLE if most is None else most
    try:
        with open_plain(path, most) as file:
            most = allowance(path.stat().st_size, most)
            unpickler = _JoblibUnpickler(
                _unpacked(file, most), Budget(most, most), ALLOWED_NAMES | dict(extra or {})
            )
            unpickler.path = path
            content = unpickler.load()
        count_values(content, most // BYTES_A_VALUE, DEEPEST)
    except (BadInput, FileNotFoundError):
        raise
    except TooMuch as error:
        raise BadInput(path, "pickle", f"at most {most // MIB} MiB, {DEEPEST} levels", error) from None
    except Refused as error:
        raise BadInput(path, "pickle", ALLOWED_CONTENT, error) from None
    except EOFError:
        raise BadInput(path, "pickle", "a whole file", "a truncated one") from None
    except Exception as error:  # a malformed stream fails in as many ways as there are opcodes
        found = f"{type(error).__name__} ({' '.join(str(error).split())[:80]})"
        raise BadInput(path, "pickle", "a joblib pickle of numpy data", found) from None
    if isinstance(content, PassedOver):
        raise BadInput(path, "pickle", ALLOWED_CONTENT, content.what)
    skipped = _passed_over(content) if warn and unpickler.skipped else None
    if skipped:
        what = " and ".join(f"{one}s" for one in sorted(set(skipped.values()))).replace("a ", "")
        warnings.warn(f"{path}: {what} passed over: {', '.join(sorted(skipped))}", stacklevel=2)
    return content


def _unpacked(file: IO[bytes], most: int) -> IO[bytes]:
    """The file itself, or, of one that is compressed, its content in memory."""
    start = file.read(LONGEST_MAGIC)
    file.seek(0)
    if start.startswith(ZFILE_PREFIX):
        return io.BytesIO(_inflate_zfile(file.read(), most))
    return io.BytesIO(unpacked(file.read(), most)) if is_packed(start) else file


def _passed_over(content: Any, key: str = "content", depth: int = DEEPEST) -> dict[str, str]:
    """The keys under which a PassedOver stands, and what it is."""
    found: dict[str, str] = {}
    if isinstance(content, PassedOver):
        found[key] = content.what
    elif depth and type(content) is dict:
        for name, value in content.items():
            found |= _passed_over(value, name if type(name) is str else key, depth - 1)
    elif depth and type(content) in (list, tuple):
        for value in content:
            found |= _passed_over(value, key, depth - 1)
    return found


def _inflate_zfile(data: bytes, limit: int) -> bytes:
    length = int(data[len(ZFILE_PREFIX) : ZFILE_HEADER], 16)
    content = unpacked(data[ZFILE_HEADER:].removeprefix(b" "), limit)  # a space more in joblib up to 0.8.4
    if len(content) != length:
        raise EOFError
    return content
