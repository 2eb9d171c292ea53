"""Read joblib pickles of numpy data without running anything that stands in them.

joblib writes an array's bytes into the pickle's stream; up to 0.9 it wrote them into files beside the pickle,
`x.pkl_01.npy` or, compressed, `x.pkl_01.npy.z` (a "Z-file"). Both are read.
"""

from __future__ import annotations

import io
import pickle
import re
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput

LARGEST_PICKLE = 1 << 28  # bytes after decompression; a released tracklet has a few MB
ALLOWED_CONTENT = "numpy arrays and numbers, text and builtin containers only"
ZFILE_PREFIX, ZFILE_HEADER = b"ZF", 21  # the header ends with the content's length in hexadecimal
PLAIN_DTYPE = re.compile(r"[<|=]?[biufSU]\d+")  # also keeps out objects, records and foreign byte order


class _Refused(Exception):
    """A pickle asks for something that is not on the list. Its text names it."""


class _TooLarge(Exception):
    """More bytes than LARGEST_PICKLE would have to be held."""


class _NdarrayMark:
    """Stands where a pickle names numpy.ndarray, so that nothing can be made with it."""


class _JoblibArray:
    """joblib's note that an array's bytes follow in the stream: shape, order and dtype, no behaviour."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def read(self, unpickler: _SafeUnpickler) -> NDArray[Any]:
        """Take the array's bytes from the stream."""
        stream = unpickler.stream
        shape, dtype = _plain_layout(self.state.get("shape"), self.state.get("dtype"))
        if self.state.get("numpy_array_alignment_bytes") is not None:  # absent in joblib 1.1 and before
            stream.seek(stream.read(1)[0], io.SEEK_CUR)
        size = prod(shape) * dtype.itemsize
        data = stream.read(size)
        if len(data) != size:
            raise EOFError
        return _array(data, shape, dtype, self.state.get("order") == "F")


class _BesideArray(_JoblibArray):
    """The same of joblib up to 0.9: the array stands in a .npy file beside the pickle."""

    def read(self, unpickler: _SafeUnpickler) -> NDArray[Any]:
        """Read the file of that name."""
        stream = io.BytesIO(unpickler.beside(self.state.get("filename")))
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if array.dtype.kind not in "biufSU":
            raise _Refused(f"dtype {array.dtype.str!r}")
        return array


class _CompressedBesideArray(_JoblibArray):
    """The same in a Z-file, without a header of its own."""

    def read(self, unpickler: _SafeUnpickler) -> NDArray[Any]:
        """Read the file of that name; shape, dtype and order stand in the pickle."""
        layout = self.state.get("state")
        if not isinstance(layout, tuple) or len(layout) != 4:
            raise _Refused("an array without shape or dtype")
        shape, dtype = _plain_layout(*layout[1:3])
        data = _inflate_zfile(unpickler.beside(self.state.get("filename")), unpickler.allowance)
        return _array(data, shape, dtype, bool(layout[3]))


def _plain_layout(shape: object, dtype: object) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
        raise _Refused("an array without shape or dtype")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise _Refused(f"an array of shape {shape}")
    return shape, dtype


def _array(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool) -> NDArray[Any]:
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _plain_dtype(code: object, *_: object) -> np.dtype[Any]:
    if not isinstance(code, str) or not PLAIN_DTYPE.fullmatch(code):
        raise _Refused(f"dtype {code!r}")
    return np.dtype(code)


def _scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    return np.frombuffer(data, dtype, count=1)[0]


def _empty_array(*_: object) -> NDArray[Any]:
    return np.empty(0, np.uint8)


ALLOWED_NAMES: dict[str, Any] = {
    "joblib.numpy_pickle.NumpyArrayWrapper": _JoblibArray,
    "joblib.numpy_pickle.NDArrayWrapper": _BesideArray,
    "joblib.numpy_pickle_compat.NDArrayWrapper": _BesideArray,
    "joblib.numpy_pickle.ZNDArrayWrapper": _CompressedBesideArray,
    "joblib.numpy_pickle_compat.ZNDArrayWrapper": _CompressedBesideArray,
    "numpy.ndarray": _NdarrayMark(),
    "numpy.dtype": _plain_dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
}


class _SafeUnpickler(pickle._Unpickler):
    """Unpickles builtin containers and numpy data; every other name is refused before it is even looked up.

    The pure-Python unpickler, as joblib itself uses, because raw array bytes stand between its opcodes.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, stream: io.BytesIO, path: Path) -> None:
        super().__init__(stream)
        self.stream, self.path = stream, path
        self.allowance = LARGEST_PICKLE  # bytes that arrays beside the pickle may still have

    def beside(self, name: object) -> bytes:
        """The content of a file of that bare name in the pickle's own folder, and nowhere else."""
        folder = self.path.parent
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise _Refused(f"an array in {name!r}, which is no file name")
        file = folder / name
        if file.exists() and file.resolve().parent != folder.resolve():
            raise _Refused(f"an array in {name}, which leads out of the folder")
        if not file.is_file():
            raise BadInput(self.path, "pickle", f"{name} beside it", "no such file")
        if file.stat().st_size > self.allowance:
            raise _TooLarge
        return file.read_bytes()

    def find_class(self, module: str, name: str) -> Any:
        """Our own stand-in for the few names a tracklet needs; raises _Refused on any other."""
        try:
            return ALLOWED_NAMES[f"{module}.{name}"]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def load_build(self) -> None:
        """Give an object its state, by its kind, so that no state can reach anything else."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, np.dtype):
            if not isinstance(state, tuple) or state[1] not in ("<", "|", "="):
                # Only the byte order matters: the rest of a plain dtype stands in its code.
                raise _Refused(f"a dtype of state {state!r}")
        elif isinstance(target, np.ndarray):
            if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], bytes)):
                raise _Refused("an array of Python objects")
            target.__setstate__(state)
        elif isinstance(target, _JoblibArray) and isinstance(state, dict):
            target.state = state
            self.stack[-1] = array = target.read(self)
            self.allowance -= array.nbytes
        else:
            raise _Refused(f"a state for {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def read_pickle(path: str | Path) -> Any:
    """What a joblib pickle holds, plain or zlib-compressed, without running anything in it.

    Numpy arrays, numbers and builtin containers are read, arrays also from files beside the pickle; anything
    else raises BadInput naming it, as do files that are truncated, missing beside the pickle, no pickle at
    all, or larger than LARGEST_PICKLE once decompressed.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        if data[:2] == ZFILE_PREFIX:
            data = _inflate_zfile(data, LARGEST_PICKLE)
        elif data[:1] == b"\x78":  # zlib's first byte, which no pickle begins with
            data = _inflate(data, LARGEST_PICKLE)
        return _SafeUnpickler(io.BytesIO(data), path).load()
    except BadInput:
        raise
    except _TooLarge:
        raise BadInput(path, "pickle", f"at most {LARGEST_PICKLE >> 20} MiB", "more") from None
    except _Refused as error:
        raise BadInput(path, "pickle", ALLOWED_CONTENT, error) from None
    except EOFError:
        raise BadInput(path, "pickle", "a whole file", "a truncated one") from None
    except Exception as error:  # a malformed stream fails in as many ways as there are opcodes
        found = f"{type(error).__name__} ({' '.join(str(error).split())[:80]})"
        raise BadInput(path, "pickle", "a joblib pickle of numpy data", found) from None


def _inflate(data: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj()
    content = inflate.decompress(data, limit)
    if inflate.unconsumed_tail:
        raise _TooLarge
    if not inflate.eof:
        raise EOFError
    return content


def _inflate_zfile(data: bytes, limit: int) -> bytes:
    length = int(data[len(ZFILE_PREFIX) : ZFILE_HEADER], 16)
    content = _inflate(data[ZFILE_HEADER:].removeprefix(b" "), limit)  # a space more in joblib up to 0.8.4
    if len(content) != length:
        raise EOFError
    return content
