"""The wheel: what stands beside the package is in it and found there, and commands run from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from notebook_kit import ROOT

# Folder of the checkout → what of it a wheel holds.
# json, parquet, safetensors
SHIPPED = {"benchmarks": "*.[jps][sa]*", "data_samples": "**/*", "notebooks": "*.ipynb", "profiles": "*.yaml"}
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "lart_mini", *SHIPPED)
BUILD = "from setuptools import build_meta; build_meta.build_wheel('out'); build_meta.build_sdist('out')"


def files(folder: Path, pattern: str) -> set[str]:
    found = (path for path in folder.glob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in found}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and a source archive, built without a network from a copy of the tree."""
    copy = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb*"))
        else:
            shutil.copy(ROOT / name, copy)
    (copy / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy / "out"


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installation unpacks it, outside the tree."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the unpacked wheel alone on its path, from a folder that knows nothing of the project."""
    environment = os.environ | {"PYTHONPATH": str(installed), "LART_MINI_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_holds_all_that_is_shipped(built: Path, installed: Path) -> None:
    for name, pattern in SHIPPED.items():
        assert files(installed / "lart_mini" / "shipped" / name, "**/*") == files(ROOT / name, pattern)
    assert files(ROOT / "lart_mini", "**/*.py") == {
        path for path in files(installed / "lart_mini", "**/*") if not path.startswith("shipped/")
    }
    licences = installed.glob("*.dist-info/licenses/**/*")
    assert {path.name for path in licences if path.is_file()} == {
        "LICENSE", *files(ROOT / "data_samples" / "licences", "*"),
    }  # fmt: skip
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        packed = {name.split("/", 1)[-1] for name in archive.getnames()}
    for name, pattern in SHIPPED.items():
        assert {f"{name}/{path}" for path in files(ROOT / name, pattern)} <= packed
    assert "setup.py" in packed


FOUND = """
from pathlib import Path
import lart_mini
from lart_mini.files import shipped, workplace
from lart_mini.people import load_body, load_library
from lart_mini.tracklets import SAMPLES
home = Path(lart_mini.__file__).parent
for name in ("benchmarks", "data_samples", "notebooks", "profiles"):
    assert shipped(name) == home / "shipped" / name and any(shipped(name).iterdir()), name
assert workplace() == Path.cwd() and SAMPLES.is_relative_to(home)
print(home, len(load_library()), load_body().name)
"""


def test_shipped_folders_are_found_outside_the_tree(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "-c", FOUND)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))


def test_command_line_works_outside_the_tree(installed: Path, tmp_path: Path) -> None:
    samples = installed / "lart_mini" / "shipped" / "data_samples" / "tracklets"
    (tmp_path / "truth.csv").write_text("v,0902,0.1,0.1,0.5,0.9,12,1\n")
    (tmp_path / "scores.csv").write_text("v,0902,0.1,0.1,0.5,0.9,12,0.9\n")
    for command, told in {
        "--version": "0.1",
        f"validate {samples}": "tracklets",
        f"convert {samples} store --jobs 1": "0 files skipped",
        "evaluate --groundtruth truth.csv --detections scores.csv": "100.0",
        "reproduce --profile tiny": "expected gpu | gpu-long | laptop | smoke, found tiny",
    }.items():
        done = run(installed, tmp_path, "-m", "lart_mini.cli", *command.split())
        assert done.returncode == (2 if "tiny" in command else 0), done.stderr
        assert told in done.stdout + done.stderr, command
