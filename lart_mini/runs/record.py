"""What a notebook found, kept as JSON beside the run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lart_mini.files import BadInput, atomic_path


def record(run_dir: str | Path, name: str, values: Mapping[str, Any] | list[Any]) -> None:
    """Write one part of the results, `run_dir`/parts/`name`.json; notebooks call this.

    numpy numbers and arrays become plain ones, nan becomes null. Raises BadInput for a name that is no word.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput("results", "part name", "lower-case letters, digits and _", repr(name))
    path = Path(run_dir) / "parts" / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(values), indent=1, allow_nan=False), encoding="utf-8")


def recorded(run_dir: str | Path, name: str) -> Any | None:
    """The part an earlier notebook recorded in `run_dir`, or None where it has not run."""
    path = Path(run_dir) / "parts" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _plain(value: Any) -> Any:
    """Values as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
