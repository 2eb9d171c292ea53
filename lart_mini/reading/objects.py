"""What numpy pickles into an .npz as an array of one Python object, read without running anything in it.

Data sets of poses are shared so: an entry that is a dict of dicts of arrays. numpy itself reads that with
`allow_pickle=True`, which runs whatever the file says.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from lart_mini.files import BadInput
from lart_mini.reading.arrays import header, open_npz
from lart_mini.reading.budget import MIB, Budget, TooMuch, allowance, count_values
from lart_mini.reading.pickles import (
    ALLOWED_CONTENT,
    BYTES_A_VALUE,
    DEEPEST,
    NUMPY,
    NumpyUnpickler,
    dtype_or,
)
from lart_mini.reading.unpickler import Maker, PassedOver, Refused

LARGEST_OBJECT = 2048 * MIB  # bytes of an entry, and of all that is made of it; a small file may cost less


_OBJECTS = PassedOver("Python objects")  # stands for numpy's dtype of them


class _ObjectUnpickler(NumpyUnpickler):
    """Knows an array of one object, too: the object stands for it."""

    def build(self, target: Any, state: Any) -> Any:
        """What a state makes of an object."""
        if type(target) is np.ndarray and type(state) is tuple and len(state) == 5:
            if state[2] is _OBJECTS:
                if type(state[4]) is not list or len(state[4]) != 1 or state[1] != ():
                    raise Refused("an array of several Python objects")
                return state[4][0]
        return super().build(target, state)


def read_objects(path: str | Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The entries `names` of an .npz, each one object: builtin containers, text, numbers and plain arrays.

    Raises BadInput for a missing entry, for one that is no such object, and for anything else in it;
    FileNotFoundError for a missing file.
    """
    with open_npz(path, "an .npz of poses") as stored:
        found = {}
        for name in names:
            if name not in stored.members:
                raise BadInput(path, name, "to be there", "no such array")
            found[name] = _unpickled(Path(path), name, stored.archive, stored.members[name])
        return found


def _unpickled(path: Path, name: str, archive: Any, member: Any) -> Any:
    """One entry's object."""
    room = allowance(path.stat().st_size, LARGEST_OBJECT)
    if member.file_size > room:
        raise BadInput(path, name, f"at most {room // MIB} MiB", "more")
    names: dict[str, Maker | None] = NUMPY | {"numpy.dtype": dtype_or(_OBJECTS)}
    try:
        with archive.open(member) as file:
            layout = header(file)
            if not layout.dtype.hasobject or layout.shape != ():
                found = f"{layout.dtype.name} of shape {layout.shape}"
                raise BadInput(path, name, "one Python object", found)
            data = file.read(room)
        content = _ObjectUnpickler(io.BytesIO(data), Budget(room, room), names).load()
        count_values(content, room // BYTES_A_VALUE, DEEPEST)
    except BadInput:
        raise
    except (Refused, TooMuch) as error:
        raise BadInput(path, name, ALLOWED_CONTENT, error) from None
    except Exception as error:  # a malformed stream fails in as many ways as there are opcodes
        found = f"{type(error).__name__} ({' '.join(str(error).split())[:80]})"
        raise BadInput(path, name, ALLOWED_CONTENT, found) from None
    return content
