"""Read joblib pickles of numpy data without running anything that stands in them."""

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

from lart_mini.errors import BadInput

LARGEST_PICKLE = 1 << 28  # bytes after decompression; a released tracklet has a few MB
ALLOWED_CONTENT = "numpy arrays and numbers, text and builtin containers only"
PLAIN_DTYPE = re.compile(r"[<|=]?[biufSU]\d+")  # also keeps out objects, records and foreign byte order


class _Refused(Exception):
    """A pickle asks for something that is not on the list. Its text names it."""


class _NdarrayMark:
    """Stands where a pickle names numpy.ndarray, so that nothing can be made with it."""


class _JoblibArray:
    """joblib's note that an array's bytes follow in the stream: shape, order and dtype, no behaviour."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def read(self, stream: io.BytesIO) -> NDArray[Any]:
        """Take the array's bytes from the stream."""
        shape, dtype = self.state.get("shape"), self.state.get("dtype")
        if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple):
            raise _Refused("an array without shape or dtype")
        if not all(isinstance(n, int) and n >= 0 for n in shape):
            raise _Refused(f"an array of shape {shape}")
        if self.state.get("numpy_array_alignment_bytes") is not None:  # absent in joblib 1.1 and before
            stream.seek(stream.read(1)[0], io.SEEK_CUR)
        size = prod(shape) * dtype.itemsize
        data = stream.read(size)
        if len(data) != size:
            raise EOFError
        order = "F" if self.state.get("order") == "F" else "C"
        return np.frombuffer(data, dtype).reshape(shape, order=order).copy()  # type: ignore[call-overload]


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

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.stream = stream

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
            self.stack[-1] = target.read(self.stream)
        else:
            raise _Refused(f"a state for {type(target).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def read_pickle(path: str | Path) -> Any:
    """What a joblib pickle holds, plain or zlib-compressed, without running anything in it.

    Numpy arrays, numbers and builtin containers are read; anything else raises BadInput naming it, as do
    files that are truncated, no pickle at all, or larger than LARGEST_PICKLE once decompressed.
    """
    data = Path(path).read_bytes()
    try:
        if data[:1] == b"\x78":  # zlib's first byte, which no pickle begins with
            inflate = zlib.decompressobj()
            data = inflate.decompress(data, LARGEST_PICKLE)
            if inflate.unconsumed_tail:
                raise BadInput(path, "pickle", f"at most {LARGEST_PICKLE >> 20} MiB", "more")
            if not inflate.eof:
                raise EOFError
        return _SafeUnpickler(io.BytesIO(data)).load()
    except BadInput:
        raise
    except _Refused as error:
        raise BadInput(path, "pickle", ALLOWED_CONTENT, error) from None
    except EOFError:
        raise BadInput(path, "pickle", "a whole file", "a truncated one") from None
    except Exception as error:  # a malformed stream fails in as many ways as there are opcodes
        found = f"{type(error).__name__} ({' '.join(str(error).split())[:80]})"
        raise BadInput(path, "pickle", "a joblib pickle of numpy data", found) from None
