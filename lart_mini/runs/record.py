"""What a notebook found, kept as JSON beside the run, and how it is to be shown."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lart_mini.files import BadInput, atomic_path, whole_number
from lart_mini.reading.text import read_json

NAME = re.compile(r"[a-z][a-z0-9_]*")  # of a part
RESERVED = ("profile", "seconds", "notebook_seconds", "shown_as", "commit", "versions")  # in results.json
# How a part is shown, and what these may be.
SHOWN: dict[str, tuple[type, ...]] = {
    "title": (str,),
    "percent": (bool, list),
    "shown": (bool,),
    "headline": (str, type(None)),
    "notebook": (str, type(None)),
}
SCORES, COUNTS = {"mAP", "PM", "OM", "PI"}, {"frames", "boxes", "classes"}  # of the part `validation`
MISSING = "none"
LONGEST_NUMBER = 1000  # bits; a number with a point has room for 1024


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

    Raises BadInput for a name that is no word, values that JSON has no place for, and where `validation` or
    `ladder` lack what the first page of the report shows.
    """
    if not NAME.fullmatch(name):
        raise BadInput("results", "part name", "lower-case letters, digits and _", repr(name))
    plain = _plain(values, name)
    check_part(name, plain)
    part = {
        "values": plain,
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
    return {name: read_part(file) for name, file in part_files(run_dir).items()}


def part_files(run_dir: str | Path) -> dict[str, Path]:
    """The parts' files by name; what atomic_path had not finished when it was killed has another."""
    files = sorted(Path(run_dir).glob("parts/*.json"))
    return {file.stem: file for file in files if NAME.fullmatch(file.stem)}


def read_part(file: Path) -> dict[str, Any]:
    """A part as `record` wrote it. Raises BadInput for anything else."""
    part = read_json(file)
    if not isinstance(part, dict) or set(part) != {"values", *SHOWN}:
        found = ", ".join(part) if isinstance(part, dict) else type(part).__name__
        raise BadInput(file, "part", "what record() writes", found)
    for key, kinds in SHOWN.items():
        if not isinstance(part[key], kinds):
            raise BadInput(file, key, " or ".join(kind.__name__ for kind in kinds), part[key])
    part["values"] = _plain(part["values"], file.stem)  # Python reads NaN and Infinity, too
    check_part(file.stem, part["values"], str(file))
    return part


def check_part(name: str, values: Any, file: str = "results") -> None:
    """Raise BadInput for a `validation` or `ladder` without what summary and report read of them."""
    if name in RESERVED:
        raise BadInput(file, "part name", f"none of {', '.join(RESERVED)}", name)
    if not isinstance(values, dict | list) or (name == "validation" and not isinstance(values, dict)):
        raise BadInput(file, name, "a mapping", values)
    if name == "validation" and isinstance(values, dict):
        for key in {"mAP", *SCORES & values.keys()}:
            _check_fraction(file, f"{name}: {key}", values.get(key, MISSING))
        for key in COUNTS & values.keys():
            whole_number(file, f"{name}: {key}", values[key], 0)
    if name == "ladder":
        for number, rung in enumerate(values if isinstance(values, list) else [values]):
            field = f"{name}: rung {number}"
            if not isinstance(rung, dict) or not isinstance(rung.get("name"), str):
                raise BadInput(file, field, "a mapping with name and mAP", rung)
            if not isinstance(rung.get("note", ""), str | None):
                raise BadInput(file, f"{field}: note", "text", rung["note"])
            _check_fraction(file, f"{field}: mAP", rung.get("mAP", MISSING))
            for end in ("low", "high"):  # of an interval, which may reach beyond what can be
                _check_fraction(file, f"{field}: {end}", rung.get(end), -1, 2)


def _check_fraction(file: str, field: str, value: Any, least: float = 0, most: float = 1) -> None:
    """None, which nan has become, is one too."""
    if value is None or (type(value) in (int, float) and least <= value <= most):
        return
    raise BadInput(file, field, f"a number from {least} to {most}, or nan", value)


def percent(value: float | None) -> str:
    """A fraction as percent with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f} %"


def _plain(value: Any, name: str) -> Any:
    """Values as JSON knows them."""
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(item, name) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _text(value)
    if value is None or (isinstance(value, int) and value.bit_length() <= LONGEST_NUMBER):
        return value
    raise BadInput("results", name, "numbers, texts, lists and mappings of them", type(value).__name__)


def _text(value: str) -> str:
    """Text that can be written in UTF-8: halves of characters, as of strange file names, are ?."""
    return value.encode("utf-8", "replace").decode("utf-8")
