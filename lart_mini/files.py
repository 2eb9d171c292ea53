"""What bad input gets, how files are written (whole or not at all), where shipped folders stand."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "shipped"  # in a wheel, setup.py puts here what stands beside the package in a checkout


def shipped(name: str) -> Path:
    """The folder `name` that comes with the kit: benchmarks, data_samples, notebooks or profiles."""
    return (INSTALLED if INSTALLED.is_dir() else PACKAGE.parent) / name


def workplace() -> Path:
    """Where the kit makes things unless told otherwise: the checkout, or the current folder if installed."""
    return Path.cwd() if INSTALLED.is_dir() else PACKAGE.parent


class BadInput(ValueError):
    """Input that cannot be used. Its text is one line: file, field, what was expected, what was found."""

    def __init__(self, file: object, field: str, expected: object, found: object) -> None:
        self.file, self.field, self.expected, self.found = str(file), field, str(expected), str(found)
        super().__init__(f"{self.file}: {field}: expected {expected}, found {found}")


def optional(module: str, needed: str, use: str) -> Any:
    """Import a module that an installation may lack; `needed` is what pip installs, `use` what it is for.

    Raises BadInput, naming the one pip command, where the import fails.
    """
    try:
        return import_module(module)
    except ImportError as error:
        why = " ".join(str(error).split())
        package = module.split(".")[0]
        raise BadInput(use, package, f'installed (pip install "{needed}")', why) from None


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` on success, remove it on failure.

    The temporary name keeps the suffix of `path`, since numpy and others add their own where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; readers of a finished file should not depend on who wrote it.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_npz(path: str | Path, arrays: dict[str, np.ndarray], compress: bool = False) -> None:
    """Write arrays as an .npz that is the same on every run (numpy would store the time of writing)."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", method, compresslevel=9) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = method, 0o644 << 16
            entry.file_size = array.nbytes  # so that it knows of arrays that need another header
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def sha256(path: Path) -> str:
    """Digest of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
