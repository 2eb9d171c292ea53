"""The form of a notebook: a new one, made by one command, runs and passes hygiene before it is filled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import lart_mini
from lart_mini.files import BadInput, atomic_path

NAME = re.compile(r"(\d\d)_([a-z][a-z0-9_]*)")
SOLUTIONS = {  # a blank's name begins so → what solves it
    "mean": "x.sum() / len(x)",
    "spread": "np.sqrt(((x - x.mean()) ** 2).mean())",
    "share": "float((x > 0).mean())",
}
BLANKS = '''"""Blanks of {stem}."""

from __future__ import annotations

import numpy as np

from lart_mini.course.check import Blank, Slip, gives

HERE = "{stem}"


def _numbers() -> list[tuple[np.ndarray]]:
    return [(np.array([1.0, -2.0, 7.0]),), (np.array([3.0, 0.0]),)]


BLANKS = (
    Blank(
        "mean_{number}",
        HERE,
        np.mean,
        _numbers,
        (
            Slip("a sum is not divided by the count", gives(np.sum)),
            Slip("the number in the middle is the median", gives(np.median)),
        ),
    ),
    Blank(
        "spread_{number}",
        HERE,
        np.std,
        _numbers,
        (
            Slip("the root is missing: this is the variance", gives(np.var)),
            Slip("the numbers are not taken about their mean", gives(lambda x: np.sqrt((x**2).mean()))),
        ),
    ),
    Blank(
        "share_{number}",
        HERE,
        lambda x: float((x > 0).mean()),
        _numbers,
        (
            Slip("nought is not above nought", gives(lambda x: float((x >= 0).mean()))),
            Slip("a count is not a share", gives(lambda x: int((x > 0).sum()))),
        ),
    ),
)
'''
MISTAKES = '''"""Mistakes in the blanks of {stem}."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {{
    "mean_{number}": [
        ("x.sum() / len(x)", "x.sum()", "not divided"),
        ("x.sum() / len(x)", "np.median(x)", "the median"),
    ],
    "spread_{number}": [
        ("np.sqrt(((x - x.mean()) ** 2).mean())", "((x - x.mean()) ** 2).mean()", "the variance"),
        ("x - x.mean()", "x", "about their mean"),
    ],
    "share_{number}": [
        ("x > 0", "x >= 0", "above nought"),
        ("float((x > 0).mean())", "int((x > 0).sum())", "not a share"),
    ],
}}
'''


def write_new(name: str, notebooks: Path) -> Iterator[Path]:
    """Write notebooks/`name`.ipynb, executed, its blanks and their mistakes; gives the files.

    Raises BadInput for a name that is not NN_topic, a number or topic that is taken, outside of a checkout.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise BadInput("new-notebook", "name", "NN_topic, such as 10_my_topic", name)
    number, topic = found.groups()
    taken = [path.stem for path in notebooks.glob("[0-9][0-9]_*.ipynb")]
    if any(stem.startswith(number) or stem[3:] == topic for stem in taken):
        raise BadInput("new-notebook", "name", "a number and a topic that are free", name)
    package = Path(lart_mini.__file__).parent
    mistakes = package.parent / "tests" / "mistakes"
    if not mistakes.is_dir():
        raise BadInput("new-notebook", "folder", "a checkout, with tests/mistakes", package.parent)
    forms = {package / "course" / "blanks" / f"{topic}.py": BLANKS, mistakes / f"{topic}.py": MISTAKES}
    for path in forms:
        if path.exists():
            raise BadInput("new-notebook", "name", "a number and a topic that are free", path)
    for path, form in forms.items():
        with atomic_path(path) as temporary:
            temporary.write_text(form.format(stem=name, number=number), encoding="utf-8")
        yield path
    notebook = executed(form_of(number, topic), notebooks)
    with atomic_path(notebooks / f"{name}.ipynb") as temporary:
        nbformat.write(notebook, temporary)
    yield notebooks / f"{name}.ipynb"


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook, run in a folder, without the traces of the run that differ from one to the next."""
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


def form_of(number: str, topic: str) -> NotebookNode:
    """The empty form: every section that a notebook has, and three blanks to be replaced."""
    cells = list(_cells(number, topic.replace("_", " ").capitalize()))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "lart_mini": {"after": ["00_start_here"]}}
    )


def _cells(number: str, title: str) -> Iterator[NotebookNode]:
    def text(id: str, *lines: str, **metadata: Any) -> NotebookNode:
        return new_markdown_cell("\n".join(lines), id=id, metadata=metadata)

    def code(id: str, *lines: str, **metadata: Any) -> NotebookNode:
        return new_code_cell("\n".join(lines), id=id, metadata=metadata)

    yield text(
        "title", f"# {number} · {title}", "", "At the end you will have …", "",
        "*10 s on two CPU cores · no GPU needed · section … of the paper · level ●○○*",
    )  # fmt: skip
    yield text(
        "objectives", "## Objectives", "", "When you are through you have", "",
        "1. built …", "2. built …", "3. built …", "",
        "**Before this:** `00_start_here`. **You need:** …", "",
        "**In the paper:** section …",
    )  # fmt: skip
    yield text(
        "teach", "<details><summary>For whoever teaches</summary>", "", "**Minutes:** …", "",
        "**What students predict:** …", "", "**Misconceptions:** …", "", "**Quiz:** …", "", "</details>",
        tags=["instructor"],
    )  # fmt: skip
    yield code(
        "parameters",
        'run_dir = "../runs/smoke"  # where results are recorded',
        "seed = 0",
        tags=["parameters"],
    )
    yield code(
        "imports", "import numpy as np", "", "from lart_mini.course import check", "",
        "x = np.random.default_rng(seed).normal(size=100)",
    )  # fmt: skip
    yield text("question", "## 1. …", "", '> "…" (section …)', "", "What is asked. **Predict:** …?")
    yield text(
        "prediction-1", "> **Your prediction:** *double-click and write here*", "",
        "<details><summary>Answer, after you have run the cells below</summary>", "", "…", "", "</details>",
        tags=["prediction"],
    )  # fmt: skip
    for place, (start, solution) in enumerate(SOLUTIONS.items(), start=1):
        name = f"{start}_{number}"
        yield text(
            f"build-{place}", f"**Build** `{name}`: …", "", "<details><summary>Hint</summary>", "",
            f'… Stuck? `from lart_mini.course import BLANKS; {name} = BLANKS["{name}"].package`', "",
            "</details>",
        )  # fmt: skip
        yield code(
            f"blank-{place}", f"def {name}(x):", f'    """(N,) numbers -> their {start}."""',
            "    ### BEGIN SOLUTION", f"    return {solution}", "    ### END SOLUTION",
            nbgrader=_graded(name, solution=True),
        )  # fmt: skip
        yield code(f"check-{place}", f"check({name})", nbgrader=_graded(f"check_{name}", solution=False))
    yield text("shows", "**What it shows.** …", "", "## Check yourself")
    yield code("check-yourself", f'assert abs(mean_{number}(x)) < 1, "…"', 'print("all well")')
    yield text("summary", "## Summary", "", "…", "", "## Exercises", "",
               "1. ●○○ *10 minutes.* … *Hint:* …", "", "## Solutions")  # fmt: skip
    yield text("solution-1", "**1.** …", tags=["solution"])
    yield code("solution-1-code", f'print(f"{{share_{number}(x):.0%}} of {{len(x)}}")', tags=["solution"])
    yield text("references", "## References", "", "- LART, section …")


def _graded(name: str, solution: bool) -> dict[str, Any]:
    """nbgrader's metadata of a blank, or of its check, which is worth a point."""
    common = {"grade_id": name, "schema_version": 3, "task": False, "solution": solution}
    return common | (
        {"grade": False, "locked": False} if solution else {"grade": True, "locked": True, "points": 1}
    )
