"""Data sets on disk: composed once, whole and as they were written, or composed again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from lart_mini.files import BadInput, locked, sha256
from lart_mini.reading.text import read_json

DIGESTS = "sha256.json"  # of a data set's files


def cache_root(cache: str | Path | None = None) -> Path:
    """The folder of all caches: `cache`, or LART_MINI_CACHE, or ~/.cache/lart_mini. Raises BadInput."""
    chosen = cache or os.environ.get("LART_MINI_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return Path.home() / ".cache" / "lart_mini"
    except RuntimeError:
        raise BadInput("LART_MINI_CACHE", "data cache", "a folder, where there is no home", "none") from None


def keep(paths: Sequence[Path], files: Sequence[str], compose: Callable[[dict[Path, Path]], None]) -> None:
    """Compose those data sets, folders of one cache that hold `files`, that are not there and whole.

    `compose` is given the folders to fill, one beside each missing path; what is damaged goes only once the
    new is whole. One process composes, others wait for it; what one that was killed left is removed.
    """
    with ExitStack() as locks:
        missing = [path for path in paths if not intact(path, files)]
        for path in sorted(missing):
            root = path.parent
            alone = locks.enter_context(locked(root, "data cache", f"{path.name}.lock", wait=True))
            for left in root.glob(f".composing-{path.name}-*") if alone else ():  # by one that was killed
                _remove(left)
        missing = [path for path in missing if not intact(path, files)]  # after the wait
        made: dict[Path, Path] = {}
        try:
            for path in missing:
                path.parent.mkdir(parents=True, exist_ok=True)  # without locks nobody has made it
                made[path] = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".composing-{path.name}-"))
            if missing:
                compose(made)
            for path, folder in made.items():
                digests = {name: sha256(folder / name) for name in files}
                (folder / DIGESTS).write_text(json.dumps(digests, indent=1))
                _exchange(folder, path, files)
        finally:
            for folder in made.values():
                _remove(folder)


def intact(path: Path, files: Sequence[str]) -> bool:
    """Are these the files of a data set, all of them, as they were written? No trouble of any kind is."""
    try:
        return read_json(path / DIGESTS) == {name: sha256(path / name) for name in files}
    except (BadInput, OSError):
        return False


def _exchange(made: Path, path: Path, files: Sequence[str]) -> None:
    old = made.with_name(f"{made.name}-old")
    try:
        with suppress(FileNotFoundError):
            path.rename(old)
        try:
            made.rename(path)
        except OSError:
            if not intact(path, files):  # else a process that no lock could hold back has made the same
                raise
    finally:
        _remove(old)


def _remove(path: Path) -> None:
    """Whatever stands there: where a data set belongs there may be a file, or a link that leads nowhere."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
