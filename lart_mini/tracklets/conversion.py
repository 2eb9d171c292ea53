"""`lart-mini convert`: a folder of released tracklets becomes a packed store, part by part.

    plan.json               which source this is and how it is cut into parts; written first
    parts/part-00000/       frames.npy (N,) of records.RECORD · appearance.npy, all vectors end to end ·
                            labels.npy (M, 80) · index.parquet · refused.json
    refused.json            files that were skipped: {file: why}
    index.parquet           one row a tracklet; written last, so that a store with an index is whole

A part is written beside its place and renamed, so it is there as a whole or not at all: after an interruption
a second call writes the parts that are missing. The parts are joblib tasks; inside
`joblib.parallel_config(backend="dask")` or `"ray"` a cluster that shares the folders does them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import joblib
import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import (
    BadInput,
    atomic_path,
    locked,
    os_error,
    printable,
    process_count,
    sweep,
    whole_number,
)
from lart_mini.progress import progress as progress_bar
from lart_mini.reading.text import read_json
from lart_mini.tracklets.records import INDEX_SCHEMA, RECORD, Packed, pack, part_name, read_index
from lart_mini.tracklets.released import read_released

FORMAT = 1
LEAST_PART, MOST_PARTS, LARGEST_PART = 64, 64, 8192  # tracklets, parts, tracklets
LOCK = "lock"


@dataclass(frozen=True)
class Converted:
    """What a store holds after `convert`."""

    tracklets: int
    frames: int
    refused: dict[str, str]  # file -> why it was skipped


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    jobs: int = -1,
    part_size: int | None = None,
    progress: bool = True,
) -> Converted:
    """Pack every *.pkl under `source` into a store at `destination`, or finish what an earlier call began.

    `jobs`: processes, -1 for one a core. A part has `part_size` tracklets, by default so many that
    there are at most 64 parts, within 64 and 8192 tracklets. Files that cannot be read are skipped and
    listed.
    Raises BadInput where no file can be read, for another source than the one a store was begun with, while
    another process writes this store, and where nothing can be written: what is finished stays.
    """
    source, destination, jobs = Path(source), Path(destination), process_count(jobs)
    if part_size is not None:
        whole_number("convert", "part_size", part_size, 1)
    files, refused = _listing(source)
    identity = _identity(source, files)
    try:
        with locked(destination, "store", LOCK):
            size = _plan(destination, identity, part_size)
            _sweep(destination)
            parts = [files[i : i + size] for i in range(0, len(files), size)]
            _write_parts(source, parts, destination, jobs, progress)
            return _finish(source, files, destination, len(parts), refused)
    except OSError as error:
        raise _unwritable(destination, error) from None


def _unwritable(destination: Path, error: OSError | str) -> BadInput:
    reason = error if isinstance(error, str) else error.strerror or type(error).__name__
    return BadInput(
        destination, "writing", "room and permission (a second call finishes what is missing)", reason
    )


def _listing(source: Path) -> tuple[list[Path], dict[str, str]]:
    """The files by name, so that a scene's tracklets lie side by side, and those of a name that was there."""
    if not source.is_dir():
        raise BadInput(source, "source", "a folder of released tracklets", "no folder")
    files = sorted(source.rglob("*.pkl"), key=lambda file: (file.name, file))
    if not files:
        raise BadInput(source, "folder", "tracklet files *.pkl", "none")
    first = {file.name: file for file in reversed(files)}
    again = [file for file in files if first[file.name] is not file]
    reason = "file name: expected another name in each folder, found {}"
    refused = {_inside(file, source): reason.format(_inside(first[file.name], source)) for file in again}
    return [file for file in files if first[file.name] is file], refused


def _inside(file: Path, source: Path) -> str:
    return printable(file.relative_to(source).as_posix())


def _identity(source: Path, files: list[Path]) -> dict[str, Any]:
    """What tells one source from another: its files' names and sizes."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size if file.exists() else -1  # a link to nothing
        digest.update(os.fsencode(f"{file.relative_to(source).as_posix()}\0{size}\n"))
    return {"format": FORMAT, "files": len(files), "digest": digest.hexdigest()}


def _plan(destination: Path, identity: dict[str, Any], part_size: int | None) -> int:
    """Write plan.json, or hold the one that is there against this source; gives tracklets a part."""
    path, files = destination / "plan.json", identity["files"]
    if path.exists():
        found = _read_object(path)
        size = whole_number(path, "part_size", found.pop("part_size", None), 1)
        if found != identity or part_size not in (None, size):
            expected = f"the source and part size it was begun with ({found.get('files')} files)"
            raise BadInput(path, "source", expected, f"others ({files} files)")
        return size
    # Besides the lock, a call that was killed may have left a plan half-written.
    if any(not p.name.startswith((f".{LOCK}", ".plan.json.")) for p in destination.iterdir()):
        raise BadInput(destination, "destination", "an empty folder, a new one, or a store", "other files")
    size = part_size or min(max(-(-files // MOST_PARTS), LEAST_PART), LARGEST_PART)
    write_json(path, identity | {"part_size": size})
    return size


def _sweep(destination: Path) -> None:
    """Remove what an interrupted call left unfinished."""
    sweep(destination)
    for left in destination.glob("parts/.*"):
        # Renamed first: a worker that outlived its parent may still be writing there, and must not finish.
        doomed = left.with_name(f".swept-{uuid.uuid4().hex}")
        left.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _write_parts(source: Path, parts: list[list[Path]], destination: Path, jobs: int, progress: bool) -> None:
    (destination / "parts").mkdir(exist_ok=True)
    folders = [destination / "parts" / part_name(number) for number in range(len(parts))]
    missing = [number for number, folder in enumerate(folders) if not folder.exists()]
    problems: list[str] = []
    # Tasks are drawn one by one: after the first problem there are no more.
    tasks = (joblib.delayed(write_part)(n, source, parts[n], folders[n]) for n in missing if not problems)
    jobs = 1 if len(missing) < 2 else jobs
    try:
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    except ValueError:  # some backends, Ray's among them, have no results before the last
        parallel = joblib.Parallel(n_jobs=jobs)
    with progress_bar(total=sum(map(len, parts)), unit="file", disable=not progress) as bar:
        bar.update(bar.total - sum(len(parts[n]) for n in missing))
        for number, problem in parallel(tasks) if missing else ():
            bar.update(len(parts[number]))
            if problem:
                problems.append(problem)
    if problems:
        raise _unwritable(destination, problems[0])


def write_part(number: int, source: Path, files: list[Path], folder: Path) -> tuple[int, str]:
    """Write one part; gives its number, and why it could not be written or nothing.

    An exception would have to be pickled on its way back from another process: hence the text.
    """
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        temporary.mkdir()
        _fill(temporary, number, source, files)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # else a worker that outlived its parent was faster, with the same
                raise
    except Exception as error:
        refusal = os_error(error, folder)
        if refusal is None:
            raise
        return number, refusal.strerror or type(error).__name__
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return number, ""


def _fill(folder: Path, number: int, source: Path, files: list[Path]) -> None:
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    with ExitStack() as stack:
        frames = stack.enter_context(GrowingArray(folder / "frames.npy", RECORD))
        appearance = stack.enter_context(GrowingArray(folder / "appearance.npy", np.dtype("<f2")))
        labels = stack.enter_context(GrowingArray(folder / "labels.npy", np.dtype("<f2"), ava.CLASS_COUNT))
        for file in files:
            packed = _read(file)
            if isinstance(packed, str):
                refused[_inside(file, source)] = packed
                continue
            rows.append(
                packed.row
                | {"length": len(packed.records), "frame_row": frames.append(packed.records)}
                | {"label_rows": len(packed.labels), "label_row": labels.append(packed.labels)}
                | {"appearance_rows": len(packed.appearance)}
                | {"appearance_start": appearance.append(packed.appearance.reshape(-1))}
                | {"checksum": packed.checksum(), "part": number}
            )
    # Not by atomic_path, which would make the folder again where a second call has swept it away.
    (folder / "refused.json").write_text(_json(refused), encoding="utf-8")
    pl.DataFrame(rows, schema=INDEX_SCHEMA, orient="row").write_parquet(folder / "index.parquet")


def _read(file: Path) -> Packed | str:
    """A file's tracklet, packed, or why there is none. Nothing in one file may stop the others."""
    try:
        return pack(read_released(file))
    except BadInput as problem:
        return f"{problem.field}: expected {problem.expected}, found {problem.found}"
    except Exception as problem:
        found = " ".join(f"{type(problem).__name__}: {problem}".split())[:120]
        return f"file: expected a released tracklet, found {found}"


class GrowingArray:
    """A .npy file that grows by rows; its header is written again, with their number, when it is closed."""

    def __init__(self, path: Path, dtype: np.dtype[Any], width: int | None = None) -> None:
        self.file = open(path, "wb", buffering=1 << 20)
        self.dtype, self.inner, self.count = dtype, () if width is None else (width,), 0
        self._write_header()
        self.start = self.file.tell()

    def _write_header(self) -> None:
        # numpy pads headers so that the first axis may become as long as 64 bits can count.
        description: Any = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": description, "fortran_order": False, "shape": (self.count, *self.inner)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, rows: NDArray[Any]) -> int:
        """Write rows behind the others; gives the number of the first of them."""
        self.file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.count += len(rows)
        return self.count - len(rows)

    def __enter__(self) -> GrowingArray:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.file:
            if kind is None:
                self.file.seek(0)
                self._write_header()
                assert self.file.tell() == self.start, "the header has outgrown its padding"
                self.file.flush()
                os.fsync(self.file.fileno())


def _finish(
    source: Path, files: list[Path], destination: Path, parts: int, refused: dict[str, str]
) -> Converted:
    """Join the parts' lists, and write the index: from now on the store is whole."""
    folders = [destination / "parts" / part_name(number) for number in range(parts)]
    for folder in folders:
        refused |= _read_object(folder / "refused.json")
    index = pl.concat([read_index(folder / "index.parquet", "; remove its part") for folder in folders])
    widths = index.filter(pl.col("appearance_width") > 0)["appearance_width"].value_counts()
    if len(widths) > 1:
        usual = widths.sort("count", "appearance_width", descending=True)["appearance_width"][0]
        fitting, named = pl.col("appearance_width").is_in([0, usual]), {file.stem: file for file in files}
        for name, width in index.filter(~fitting).select("name", "appearance_width").iter_rows():
            why = f"appearance: expected width {usual} as most have, found {width}"
            refused[_inside(named[name], source)] = why
        index = index.filter(fitting)
    write_json(destination / "refused.json", refused)
    if len(index) == 0:
        raise BadInput(
            source, "files", "one valid tracklet at least", f"{len(refused)} refused: refused.json"
        )
    with atomic_path(destination / "index.parquet") as temporary:
        index.write_parquet(temporary)
    return Converted(len(index), int(index["length"].sum()), refused)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a dict, sorted, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(_json(content), encoding="utf-8")


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(path, "file", "a JSON object", type(content).__name__)
    return content
