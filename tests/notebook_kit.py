"""Small notebooks for the runner's tests, and where the real ones stand."""

from __future__ import annotations

from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def write_notebook(
    path: Path,
    *cells: str,
    parameters: str = 'run_dir = "../runs/tiny"',
    needs: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    takes: int = 10,
) -> None:
    """A notebook with one H1, a parameters cell and the given code cells, and what comes before it."""
    head = nbformat.v4.new_markdown_cell(f"# Notebook {path.stem}\n\nwhere $x_t = \\frac{{1}}{{2}}$ stands")
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[head, tagged, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["lart_mini"] = {"needs": list(needs), "after": list(after), "takes": takes}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


RECORDING = """
from lart_mini.runs import record
record(run_dir, "validation", {"mAP": 0.5, "PM": 0.6, "OM": None, "PI": 0.4, "frames": 3, "boxes": 4,
                               "classes": 2}, shown=False, headline="half of it")
record(run_dir, "baselines", {"class prior": 0.1}, shown=False)
record(run_dir, "ladder", [{"name": "class prior", "mAP": 0.1, "low": 0.05, "high": 0.2},
                           {"name": "LART-pose, Table 2", "mAP": 0.241, "paper": True}], shown=False)
record(run_dir, "counts", {"share": 0.25, "boxes": 1234}, title="What was counted", percent=["share"])
"""


def write_project(root: Path, profile: str = "threads: 1\nnotebooks: {}\n") -> Path:
    """A project folder with profiles/tiny.yaml and an empty notebooks/; returns the latter."""
    (root / "profiles").mkdir(parents=True)
    (root / "profiles" / "tiny.yaml").write_bytes(profile.encode("utf-8", "surrogateescape"))
    (root / "notebooks").mkdir()
    return root / "notebooks"
