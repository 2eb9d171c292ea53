"""Reading an SMPL file, .npz or .pkl, into plain arrays without running anything that it holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lart_mini.files import BadInput

# Dense shapes of the fields that a body needs; V and F are the file's own.
_SHAPES = {
    "v_template": ("V", 3),
    "shapedirs": ("V", 3, 10),
    "posedirs": ("V", 3, 207),
    "J_regressor": (24, "V"),
    "weights": ("V", 24),
    "f": ("F", 3),
}


class ChumpyArray:
    """Stands for chumpy's array classes: keeps what the pickle gave and hands the numbers out."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def dense(self) -> np.ndarray:
        """The numbers: chumpy keeps them as `x`, or as a choice `idxs` out of another array `a`."""
        if "x" in self.state:
            return np.asarray(self.state["x"])
        source = _dense(self.state["a"])
        return source.ravel()[self.state["idxs"]].reshape(self.state["preferred_shape"])


class _ArraysOnly(pickle.Unpickler):
    """Admits what official SMPL files hold (numpy, scipy.sparse and chumpy arrays) and no more."""

    file: Path

    def find_class(self, module: str, name: str) -> Any:
        from scipy.sparse import csc_matrix

        # Python's loader maps names of Python 2 (copy_reg, __builtin__) before it asks.
        if module.split(".")[0] == "chumpy":
            return ChumpyArray
        if module.startswith("scipy.sparse") and name == "csc_matrix":
            return csc_matrix
        if (module, name) in {
            ("copyreg", "_reconstructor"),
            ("builtins", "object"),
            ("_codecs", "encode"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }:
            return super().find_class(module, name)
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name in {
            "_reconstruct",
            "scalar",
        }:
            return super().find_class("numpy._core.multiarray", name)
        raise BadInput(self.file, "pickle", "numpy, scipy.sparse and chumpy arrays only", f"{module}.{name}")


def _dense(value: Any) -> np.ndarray:
    if isinstance(value, ChumpyArray):
        return value.dense()
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def _fields(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise BadInput(path, "file", "an SMPL model (.npz or .pkl)", "nothing")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        with path.open("rb") as file:
            reader = _ArraysOnly(file, encoding="latin1")
            reader.file = path
            content = reader.load()
        return {name: _dense(content[name]) for name in _SHAPES if name in content}
    except BadInput:
        raise
    except Exception as error:  # a damaged file fails in many ways, all of them mean the same to the reader
        raise BadInput(
            path, "file", "a readable SMPL model (.npz or .pkl)", f"{type(error).__name__}: {error}"
        ) from error


def read_smpl_file(path: Path) -> dict[str, np.ndarray]:
    """The fields of an SMPL model under SMPL's own names, dense, float32 (f: int64); shapes as in `Body`.

    `posedirs` may be missing (zeros then); shape numbers beyond the tenth are dropped.
    Raises BadInput naming the field that is missing or has a wrong shape.
    """
    fields = _fields(path)
    vertex_count = len(fields["v_template"]) if fields.get("v_template", np.zeros(())).ndim else 0
    fields.setdefault("posedirs", np.zeros((vertex_count, 3, 207), np.float32))
    if fields.get("shapedirs", np.zeros(())).ndim == 3:
        fields["shapedirs"] = fields["shapedirs"][:, :, :10]
    sizes = {"V": vertex_count}
    for name, shape in _SHAPES.items():
        if name not in fields:
            raise BadInput(path, name, f"shape {shape}", "no such field")
        found = fields[name].shape
        wanted = tuple(
            sizes.get(size, found[0] if found else 0) if isinstance(size, str) else size for size in shape
        )
        if found != wanted:
            raise BadInput(path, name, f"shape {wanted}", found)
        fields[name] = np.ascontiguousarray(fields[name], np.int64 if name == "f" else np.float32)
        if not np.isfinite(fields[name]).all():
            raise BadInput(path, name, "finite numbers", "NaN or infinity")
    fields["weights"] /= fields["weights"].sum(
        1, keepdims=True
    )  # stored in half precision, rows miss 1 a little
    return fields
