"""What a run has behind it, so that the same command goes on where it was stopped.

`ran.json` in the run's folder names each notebook that ran to its end, with a digest of all that could change
what it found. Weights, training states and recorded parts stay only as long as the code that made them.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from lart_mini import files
from lart_mini.files import BadInput, atomic_path, shipped, sweep
from lart_mini.reading.text import read_json
from lart_mini.runs.plan import Plan, read_notebook
from lart_mini.runs.record import part_files, read_part

VERSIONS = (
    "lart_mini",
    "lightning-fabric",
    "matplotlib",
    "numpy",
    "papermill",
    "polars",
    "scipy",
    "smplx",
    "torch",
)
MADE = ("parts/*.json", "*.safetensors", "*.state", "*.csv", "[0-9][0-9]_*.ipynb")  # by notebooks
CONCLUDED = ("results.json", "report.html")  # made once all have run


@dataclass(frozen=True)
class Ran:
    """A notebook that ran to its end."""

    digest: str  # of all that could change what it found
    seconds: float
    parts: list[str]  # names of what it recorded


@dataclass
class Kept:
    """What stands in ran.json."""

    code: str  # digest of the package, its data and the versions of libraries
    notebooks: dict[str, Ran] = field(default_factory=dict)
    seconds: float = 0.0  # of all runs together

    def write(self, run_dir: Path) -> None:
        """Put it into the folder, whole."""
        with atomic_path(run_dir / "ran.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can move a number."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def code_digest() -> str:
    """Of the package's source, the data that comes with it, and the versions of libraries."""
    digest = hashlib.sha256(json.dumps(versions()).encode())
    package = Path(files.__file__).parent
    for folder, pattern in ((package, "*.py"), (shipped("data_samples"), "*")):
        for path in sorted(file for file in folder.rglob(pattern) if file.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def notebook_digests(plan: Plan, code: str) -> dict[str, str]:
    """Notebook → digest of code, threads, parameters, the source of its cells, and of all that it needs."""
    digests: dict[str, str] = {}
    for stem, parameters in plan.notebooks.items():
        cells = read_notebook(plan.folder / f"{stem}.ipynb").cells
        needed = [digests[need] for need in plan.needs[stem]]
        told = [code, plan.threads, parameters, [cell.source for cell in cells], needed]
        digests[stem] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return digests


def check_own(run_dir: Path) -> None:
    """Raise BadInput for a folder in which `clear` would remove files though no run has left a word there."""
    found = [file for pattern in (*MADE, *CONCLUDED) for file in sorted(run_dir.glob(pattern))]
    if found and not (run_dir / "ran.json").exists():
        expected = "an empty folder, a new one, or one of an earlier run"
        raise BadInput(run_dir, "files", expected, found[0].relative_to(run_dir))


def clear(run_dir: Path, code: str, digests: dict[str, str], fresh: bool = False) -> Kept:
    """Take from the folder what must not find its way into this run, and say what stays.

    What other code made goes, weights and training states too; with `fresh` all goes. Notebooks whose
    digest is another now go with their parts: what stays was all made by one command. Weights and training
    states say themselves what recipe they were made of. The folder must be locked.
    """
    for folder in (run_dir, run_dir / "parts"):
        sweep(folder)
    for name in CONCLUDED:
        (run_dir / name).unlink(missing_ok=True)
    kept = _read(run_dir)
    if fresh or kept is None or kept.code != code:
        for old in [file for pattern in MADE for file in run_dir.glob(pattern)]:
            old.unlink()
        kept = Kept(code)
    kept.notebooks = {stem: ran for stem, ran in kept.notebooks.items() if ran.digest == digests.get(stem)}
    for notebook in run_dir.glob("[0-9][0-9]_*.ipynb"):
        if notebook.stem not in kept.notebooks:
            notebook.unlink()
    left = set()
    for name, file in part_files(run_dir).items():
        try:
            sound = read_part(file)["notebook"] in kept.notebooks
        except BadInput:  # its notebook makes another
            sound = False
        if sound:
            left.add(name)
        else:
            file.unlink()
    kept.notebooks = {
        stem: ran
        for stem, ran in kept.notebooks.items()
        if (run_dir / f"{stem}.ipynb").exists() and all(name in left for name in ran.parts)
    }
    kept.write(run_dir)
    return kept


def _read(run_dir: Path) -> Kept | None:
    try:
        content = read_json(run_dir / "ran.json")
        ran = {stem: Ran(**one) for stem, one in content["notebooks"].items()}
        seconds = float(content["seconds"])
        sound = math.isfinite(seconds) and all(
            type(one.seconds) in (int, float) and math.isfinite(one.seconds) and isinstance(one.parts, list)
            for one in ran.values()
        )
        return Kept(content["code"], ran, seconds) if sound else None
    except (BadInput, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
