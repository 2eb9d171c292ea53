"""What a notebook found, kept as JSON beside the run, and how it is to be shown."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lart_mini.files import BadInput, atomic_path


def record(
    run_dir: str | Path,
    name: str,
    values: Mapping[str, Any] | list[Any],
    *,
    title: str | None = None,
    percent: bool | Sequence[str] = False,
    shown: bool = True,
    headline: str | None = None,
) -> None:
    """Write one part of the results, `run_dir`/parts/`name`.json; notebooks call this.

    numpy numbers and arrays become plain ones, nan becomes null. How the report shows it:

    - title: its heading; the name if not given
    - percent: True where all numbers with a point are fractions, else the keys below which they are
    - shown: False for what has a figure in its notebook, or a place of its own on the page
    - headline: one line for the terminal, as soon as the notebook has run

    Raises BadInput for a name that is no word.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput("results", "part name", "lower-case letters, digits and _", repr(name))
    part = {
        "values": _plain(values),
        "title": title or name.replace("_", " ").capitalize(),
        "percent": percent if isinstance(percent, bool) else list(percent),
        "shown": shown,
        "headline": headline,
        "notebook": os.environ.get("LART_MINI_NOTEBOOK"),  # None: run by hand
    }
    path = Path(run_dir) / "parts" / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(part, indent=1, allow_nan=False), encoding="utf-8")


def recorded(run_dir: str | Path, name: str) -> Any | None:
    """The values an earlier notebook recorded in `run_dir`, or None where it has not run."""
    part = read_parts(run_dir).get(name)
    return None if part is None else part["values"]


def read_parts(run_dir: str | Path) -> dict[str, dict[str, Any]]:
    """All parts of a run by name, each with its values and how they are shown."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(Path(run_dir).glob("parts/*.json"))
    }


def _plain(value: Any) -> Any:
    """Values as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
