"""The whole smoke run: every notebook as `lart-mini reproduce` runs it, its results held to the stored ones.

What no training has touched must come out the same: counts, data, detections, the class prior, the trackers'
scores. A convex fit may move its AP by a changed place or two. Trained rows may move by two points of mAP, as
torch of another machine rounds otherwise; that is less than the effects that docs/results.md speaks of.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from notebook_kit import NOTEBOOKS, ROOT

from lart_mini.runs.plan import find_notebooks, read_plan
from lart_mini.runs.reproduce import reproduce

EXPECTED = ROOT / "tests" / "expected" / "smoke.json"
NOT_HELD = {"seconds", "notebook_seconds", "shown_as", "commit", "versions"}
EXACT, FITTED, TRAINED = 1e-9, 1e-3, 0.02
# Absolute tolerance of what a pattern names; the first that fits holds, and what none names is EXACT.
TOLERANCES = {
    "baselines.shuffled_labels": TRAINED,
    "baselines.lart_*": TRAINED,
    "baselines.keyframe_linear": FITTED,
    "baselines.teacher": FITTED,
    "ladder.LART*.mAP": TRAINED,
    "ladder.key-frame linear model.mAP": FITTED,
    "ladder.teacher*.mAP": FITTED,
    "teacher.*": FITTED,
    "apart.*.key-frame linear": FITTED,
    "apart.*.LART": TRAINED,
    "validation.*": TRAINED,
    "policies.*": TRAINED,
    "first_score.small LART": TRAINED,
    "pretrain.loss.*": TRAINED,
    "finetune.loss.*": TRAINED,
    "ablation_tracking.mAP.*": TRAINED,
    "ablation_tracking.per_class.*": TRAINED,
    "action_transformer.attention*": 0.1,
    "action_transformer.*": TRAINED,
    "skeletr.mAP.*": TRAINED,
    "ups.floor_mm": FITTED,
    "ups.shipped.*": 0.5,  # millimetres, degrees, percent
    "ups.own_lifting_mm": 20.0,
    "released.float16.*": 1e-5,  # a rounding's largest errors, 2e-4 to 6e-4; processors differ
    "released.base_mAP.*": TRAINED,
    "released.difference_mAP.*": TRAINED,
}


def tolerance(name: str) -> float:
    """How far a number of that name may lie from the stored one."""
    return next((far for pattern, far in TOLERANCES.items() if fnmatchcase(name, pattern)), EXACT)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of all that is nested in a JSON value; seconds are passed over, rungs go by name."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        named = all(isinstance(item, dict) and "name" in item for item in value)
        items = [(item["name"] if named else i, item) for i, item in enumerate(value)]
    else:
        yield name, value
        return
    for key, item in items:
        if key != "seconds":
            yield from leaves(item, f"{name}.{key}" if name else str(key))


def differences(found: Any, expected: Any) -> list[str]:
    """Lines that say where two JSON values differ by more than their tolerance."""
    one, other = dict(leaves(found)), dict(leaves(expected))
    lines = [f"{name}: {'new' if name in one else 'gone'}" for name in sorted(one.keys() ^ other.keys())]
    for name in (name for name in other if name in one):
        a, b, far = one[name], other[name], tolerance(name)
        numbers = isinstance(a, float) and isinstance(b, float)
        if not (abs(a - b) <= far if numbers else a == b):
            lines.append(f"{name}: {a}, stored {b}" + (f", may differ by {far:g}" if numbers else ""))
    return lines


def test_differences_finds_what_it_should() -> None:
    stored = {
        "baselines": {"class_prior": 0.5, "keyframe_linear": 0.5, "lart_pretrained": 0.5},
        "ladder": [{"name": "perfect", "mAP": 1.0}, {"name": "LART after", "mAP": 0.5}],
        "data": {"boxes": 7, "classes": None}, "seconds": 3.0,
    }  # fmt: skip
    close = {
        "baselines": {"class_prior": 0.5, "keyframe_linear": 0.5009, "lart_pretrained": 0.519},
        "ladder": [{"name": "perfect", "mAP": 1.0}, {"name": "LART after", "mAP": 0.481}],
        "data": {"boxes": 7, "classes": None}, "seconds": 9.0,
    }  # fmt: skip
    assert differences(close, stored) == []
    far = {
        "baselines": {"class_prior": 0.50001, "keyframe_linear": 0.502, "lart_pretrained": 0.53},
        "ladder": [{"name": "perfect", "mAP": 0.999}, {"name": "LART after", "mAP": 0.47}],
        "data": {"boxes": 8, "more": 1},
    }  # fmt: skip
    assert [line.split(":")[0] for line in differences(far, stored)] == [
        "data.classes", "data.more", "baselines.class_prior", "baselines.keyframe_linear",
        "baselines.lart_pretrained", "ladder.perfect.mAP", "ladder.LART after.mAP", "data.boxes",
    ]  # fmt: skip


def test_every_tolerance_names_something() -> None:
    names = [name for name, _ in leaves(json.loads(EXPECTED.read_text(encoding="utf-8")))]
    for pattern in TOLERANCES:
        assert any(fnmatchcase(name, pattern) for name in names), f"{pattern} holds nothing"


def test_notebooks_name_what_must_run_before_them() -> None:
    """Who reads checkpoints needs the notebook that trains them; who makes more of mini_ava comes after the
    first, who only reads it may wait for it while it is made."""
    plan = read_plan("smoke", find_notebooks())
    assert plan.needs["06_finetune"] == ("05_pretrain",)
    assert plan.needs["07_ava_evaluation"] == ("06_finetune",)
    for path in NOTEBOOKS[1:]:
        source = "".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
        makes = any(name in source for name in ("linked(", "ActionRecipe(", "mini_skeletons("))
        first = plan.after[path.stem] + plan.needs[path.stem]
        assert first or not makes, f"{path.stem} makes more of mini_ava and comes after nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_asks_of_the_package_is_there(path: Path) -> None:
    """Names imported from a folder, and attributes of folders; no function hides a folder."""
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(cells))
    folders = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lart_mini"):
            for alias in node.names:
                found = importlib.import_module(node.module)
                if not hasattr(found, alias.name):
                    found = importlib.import_module(f"{node.module}.{alias.name}")
                else:
                    found = getattr(found, alias.name)
                if isinstance(found, ModuleType):
                    folders[alias.asname or alias.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in folders:
            assert hasattr(folders[node.value.id], node.attr), f"{node.value.id}.{node.attr}"
    for node in tree.body:
        assert getattr(node, "name", None) not in folders, f"{node.name} hides a folder"


@pytest.mark.notebooks
def test_smoke_run_gives_the_stored_results(tmp_path: Path) -> None:
    results = reproduce("smoke", out=tmp_path / "smoke")
    assert set(results["notebook_seconds"]) == {path.stem for path in NOTEBOOKS}
    held = {key: value for key, value in results.items() if key not in NOT_HELD}
    stored = json.loads(EXPECTED.read_text(encoding="utf-8"))
    problems = differences(held, {key: value for key, value in stored.items() if key not in NOT_HELD})
    assert not problems, "\n".join([
        f"{len(problems)} results differ from {EXPECTED.relative_to(ROOT)}:", *problems,
        "Find out which change moved each of them, and whether it should have. Where it should, say so in",
        "the commit that stores the new results.json there.",
    ])  # fmt: skip
