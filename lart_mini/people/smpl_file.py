"""Reading an SMPL file, .npz or .pkl, into plain arrays without running anything that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lart_mini.files import BadInput
from lart_mini.reading.arrays import open_npz
from lart_mini.reading.budget import TooMuch, count_values
from lart_mini.reading.pickles import dtype_or, passed_over, read_pickle, record
from lart_mini.reading.unpickler import Maker, Name, PassedOver, Record, Refused, SafeUnpickler

# Dense shapes of the fields that a body needs; V and F are the file's own.
_SHAPES = {
    "v_template": ("V", 3),
    "shapedirs": ("V", 3, 10),
    "posedirs": ("V", 3, 207),
    "J_regressor": (24, "V"),
    "weights": ("V", 24),
    "f": ("F", 3),
}
VERTEX_IDS = "vertex_ids"  # JSON, in an .npz of the kit's own
MOST_VERTICES = 1_000_000  # and triangles; SMPL has 6,890, SMPL-X 10,475
MOST_JOINTS = 64
MOST_SHAPES = 1024  # shape numbers
LARGEST_MODEL = 2 << 30  # bytes: 300 shape numbers written as text take several times their memory
_DEEPEST = 5  # of chumpy's and scipy's objects, one in another


# ------------------------------------------------------------------------------ what else stands in a pickle


def _old_object(unpickler: SafeUnpickler, arguments: tuple[Any, ...]) -> Record:
    """How protocols 0 and 1 make an object: copyreg._reconstructor(class, object, None)."""
    kind = arguments[0] if arguments else None
    if type(kind) is not Name:
        raise Refused("an object without a class")
    return Record(kind.full)


_NAMES: dict[str, Maker | None] = {
    "chumpy.*": record,
    "scipy.*": record,
    "builtins.object": passed_over("an object"),
    "copyreg._reconstructor": _old_object,
    "numpy.dtype": dtype_or(PassedOver("an array of Python objects")),
}


def _dense(path: Path, name: str, value: Any, depth: int = _DEEPEST) -> NDArray[Any]:
    """A field as a dense array: an array, chumpy's, or one of scipy's sparse matrices. Raises BadInput."""
    state = value.state if isinstance(value, Record) and type(value.state) is dict else {}
    if isinstance(value, np.ndarray):
        return value
    if not depth:
        raise BadInput(path, name, f"at most {_DEEPEST} objects, one in another", "more")
    if "x" in state:  # chumpy keeps numbers as `x`, or as a choice `idxs` out of another array `a`
        return _dense(path, name, state["x"], depth - 1)
    if {"a", "idxs", "preferred_shape"} <= state.keys():
        source, chosen = (_dense(path, name, state[key], depth - 1) for key in ("a", "idxs"))
        shape = state["preferred_shape"]
        count_values(shape, 8)
        return source.ravel()[chosen.astype(np.int64)].reshape(shape)
    if {"data", "indices", "indptr"} <= state.keys():
        return _dense_matrix(path, name, state, depth - 1)
    if isinstance(value, list | tuple):
        count_values(value, 4 * MOST_VERTICES)
        return np.asarray(value)
    found = value.what if isinstance(value, PassedOver) else type(value).__name__
    raise BadInput(path, name, "an array", found)


def _dense_matrix(path: Path, name: str, state: dict[Any, Any], depth: int) -> NDArray[Any]:
    """A matrix that scipy keeps by columns (csc) or rows (csr), which its number of pointers tells."""
    shape = state.get("_shape", state.get("shape"))
    data, indices, pointers = (
        _dense(path, name, state[key], depth).ravel() for key in ("data", "indices", "indptr")
    )
    if type(shape) is not tuple or len(shape) != 2 or not all(isinstance(n, int | np.integer) for n in shape):
        raise BadInput(path, name, "a sparse matrix of two axes", "others")
    if not 1 <= min(shape) <= MOST_JOINTS or max(shape) > MOST_VERTICES:
        raise BadInput(path, name, "a sparse matrix of joints and vertices", "another shape")
    rows, columns = (int(n) for n in shape)
    counts: NDArray[np.int64] = pointers[1:].astype(np.int64) - pointers[:-1].astype(np.int64)
    by_column = len(counts) == columns
    outer, inner = (columns, rows) if by_column else (rows, columns)
    # scipy's own check passes pointers that fall back to 0 at the end, and then reads outside the arrays.
    sound = len(counts) == outer and (counts >= 0).all() and counts.sum() == len(data) == len(indices)
    if not sound or (len(indices) and not (0 <= indices.min() and indices.max() < inner)):
        raise BadInput(path, name, "a sparse matrix", "one whose indices do not fit")
    dense = np.zeros((outer, inner), data.dtype)
    np.add.at(dense, (np.repeat(np.arange(outer), counts), indices.astype(np.int64)), data)
    return dense.T if by_column else dense


# ------------------------------------------------------------------------------------------------- the file


def _fields(path: Path) -> dict[str, Any]:
    """What stands under the names that a body needs; of an .npz, no array of another shape is read."""
    expected = "a readable SMPL model (.npz or .pkl)"
    if not path.is_file():
        raise BadInput(path, "file", "an SMPL model (.npz or .pkl)", "nothing")
    if path.suffix == ".npz":
        with open_npz(path, expected) as arrays:
            fields: dict[str, Any] = {}
            if "v_template" in arrays.members:
                fields["v_template"] = _finite(path, "v_template", arrays.read("v_template", (None, 3)))
            vertices = len(fields.get("v_template", ()))
            for name in _SHAPES.keys() & arrays.members.keys() - {"v_template"}:
                fields[name] = arrays.read(name, _wanted(name, vertices, arrays.layout(name).shape))
            if VERTEX_IDS in arrays.members:
                fields[VERTEX_IDS] = arrays.read(VERTEX_IDS, (), "U")
            return fields
    if path.stat().st_size == 0:
        raise BadInput(path, "file", expected, "an empty file")
    content = read_pickle(path, LARGEST_MODEL, _NAMES, warn=False)
    if not isinstance(content, dict):
        raise BadInput(path, "pickle", "a dict", type(content).__name__)
    try:
        return {name: _dense(path, name, content[name]) for name in _SHAPES if name in content}
    except (TooMuch, ValueError, IndexError, TypeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(path, "file", expected, f"{type(error).__name__}: {error}") from None


def _finite(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(array).all():
        raise BadInput(path, name, "finite numbers", "NaN or infinity")
    return array


def _wanted(name: str, vertices: int, found: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a field should have, in a file of V vertices that has `found` for it."""
    sizes = {"V": vertices, "F": found[0] if found else 0}
    shape = tuple(sizes[size] if isinstance(size, str) else size for size in _SHAPES[name])
    longer = name == "shapedirs" and len(found) == 3 and 10 < found[2] <= MOST_SHAPES
    return (*shape[:2], found[2]) if longer else shape


def read_smpl_file(path: Path) -> dict[str, np.ndarray]:
    """The fields of an SMPL model under SMPL's own names, dense, float32 (f: int64); shapes as in `Body`.

    `posedirs` may be missing (zeros then); shape numbers beyond the tenth are dropped.
    Raises BadInput naming the field that is missing or has a wrong shape.
    """
    fields = _fields(path)
    if "v_template" not in fields:
        raise BadInput(path, "v_template", "shape ('V', 3)", "no such field")
    vertices = len(fields["v_template"]) if np.ndim(fields["v_template"]) else 0
    for name in _SHAPES.keys() & fields.keys():
        found, wanted = fields[name].shape, _wanted(name, vertices, fields[name].shape)
        if found != wanted:
            raise BadInput(path, name, f"shape {wanted}", found)
        if min(found) == 0 or max(found) > MOST_VERTICES:
            raise BadInput(path, name, f"1 to {MOST_VERTICES:,} rows", found)
        if fields[name].dtype.kind not in "biuf":
            raise BadInput(path, name, "numbers", fields[name].dtype)
    fields.setdefault("posedirs", np.zeros((vertices, 3, 207), np.float32))
    missing = [name for name in _SHAPES if name not in fields]
    if missing:
        raise BadInput(path, missing[0], f"shape {_SHAPES[missing[0]]}", "no such field")
    fields["shapedirs"] = fields["shapedirs"][:, :, :10]
    for name in _SHAPES:
        _finite(path, name, fields[name])
        fields[name] = np.ascontiguousarray(fields[name], np.int64 if name == "f" else np.float32)
    _check_values(path, fields)
    # Stored in half precision, rows miss 1 a little.
    fields["weights"] /= fields["weights"].sum(1, keepdims=True)
    return fields


def _check_values(path: Path, fields: dict[str, Any]) -> None:
    faces, sums = fields["f"], fields["weights"].sum(1)
    if faces.min() < 0 or faces.max() >= len(fields["v_template"]):
        raise BadInput(path, "f", "numbers of vertices", f"{faces.min()} to {faces.max()}")
    if not (np.abs(sums - 1) < 0.1).all():
        raise BadInput(path, "weights", "rows that sum to 1", f"sums of {sums.min():g} to {sums.max():g}")
