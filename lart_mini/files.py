"""What bad input gets, how files are written (whole or not at all), where shipped folders stand."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import reprlib
import shutil
import stat
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "shipped"  # in a wheel, setup.py puts here what stands beside the package in a checkout


def shipped(name: str) -> Path:
    """The folder `name` that comes with the kit: benchmarks, data_samples, notebooks or profiles."""
    return (INSTALLED if INSTALLED.is_dir() else PACKAGE.parent) / name


def workplace() -> Path:
    """Where the kit makes things unless told otherwise: the checkout, or the current folder if installed."""
    return Path.cwd() if INSTALLED.is_dir() else PACKAGE.parent


def sha256(path: Path) -> str:
    """Digest of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BadInput(ValueError):
    """Input that cannot be used. Its text is one line: file, field, what was expected, what was found."""

    def __init__(self, file: object, field: object, expected: object, found: object) -> None:
        self.file, self.field = printable(str(file)), told(field)
        self.expected, self.found = told(expected), told(found)
        super().__init__(f"{self.file}: {self.field}: expected {self.expected}, found {self.found}")

    def __reduce__(self) -> tuple[Any, ...]:
        """An exception is pickled by its text alone; this one comes out of a worker as it was raised."""
        return type(self), (self.file, self.field, self.expected, self.found)


MOST_TOLD = 240  # characters of what was expected or found
WHOLE = (bool, float, np.generic, os.PathLike, BaseException)  # told as they are printed, then cut


class _Short(reprlib.Repr):
    """Of what holds others the first few, and of these the first few, three levels deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 60, 60

    def repr_int(self, value: int, level: int) -> str:
        """Python itself refuses to print numbers of thousands of digits."""
        bits = value.bit_length()
        return str(value) if bits < 200 else f"a whole number of {bits} bits"


def told(value: object) -> str:
    """A value in one line of at most MOST_TOLD characters, however much there is in it."""
    if isinstance(value, str | bytes):
        text = str(value[: 8 * MOST_TOLD])
    else:
        text = str(value) if isinstance(value, WHOLE) else _Short().repr(value)
    text = printable(" ".join(text[: 8 * MOST_TOLD].split()))
    return text if len(text) <= MOST_TOLD else f"{text[: MOST_TOLD - 1]}…"


def printable(text: str) -> str:
    """The text with everything that could move a cursor, break a line or has no glyph as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


PER_CORE = 8  # processes
LARGEST_SEED = 2**32 - 1  # that torch, numpy and its generators all take


def whole_number(file: object, field: str, value: object, least: int, most: int | None = None) -> int:
    """`value` itself. Raises BadInput for all but a whole number from `least` on, or up to `most`."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value:
        if most is None or value <= most:
            return value
    end = "on" if most is None else f"to {most}"
    raise BadInput(file, field, f"a whole number from {least} {end}", value)


def finite_number(file: object, field: str, value: object, least: float, most: float = math.inf) -> float:
    """`value` itself. Raises BadInput for all but a finite number from `least` on, or up to `most`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) < math.inf and least <= value <= most:
            return value
    end = "on" if most == math.inf else f"to {most:g}"
    raise BadInput(file, field, f"a finite number from {least:g} {end}", value)


def process_count(jobs: int) -> int:
    """`jobs` itself, as joblib counts: -1 for one a core; at most PER_CORE for each, since more do harm.

    For every place that starts processes, so that all refuse the same numbers with the same line. Raises
    BadInput for all but -1 and whole numbers from 1 on.
    """
    if type(jobs) is not int or not (jobs >= 1 or jobs == -1):
        raise BadInput("--jobs", "processes", "a whole number from 1 on, or -1 for one a core", jobs)
    return min(jobs, PER_CORE * (os.cpu_count() or 1))


def optional(module: str, needed: str, use: str) -> Any:
    """Import a module that an installation may lack; `needed` is what pip installs, `use` what it is for.

    Raises BadInput, naming the one pip command, where the import fails.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        command = needed if " " in needed else f'"{needed}"'
        raise BadInput(use, package, f"installed (pip install {command})", error) from None


# Cures a missing OpenCV, and one that asks for libGL: trackeval brings `opencv-python`, whose files stand
# in the same folder, and the last one installed counts.
HEADLESS = "--force-reinstall --no-deps opencv-python-headless"


# OpenCV and the FFmpeg in it tell of a broken video on stderr, over the one line that says what is wrong.
QUIET = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def opencv(use: str = "pictures") -> Any:
    """The module cv2, in one thread. Raises BadInput with the one pip command where it is missing."""
    for name, value in QUIET.items():  # read once, when cv2 is imported or first opens a video
        os.environ.setdefault(name, value)
    cv2 = optional("cv2", HEADLESS, use)
    if not hasattr(cv2, "triangleRasterize"):
        raise BadInput(use, "cv2", f"OpenCV 5 (pip install {HEADLESS})", getattr(cv2, "__version__", "none"))
    cv2.setNumThreads(1)
    if os.environ["OPENCV_LOG_LEVEL"] == QUIET["OPENCV_LOG_LEVEL"]:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # somebody else imported it before
    return cv2


# ------------------------------------------------------------------------------------------ writing, whole


STREAM = re.compile(r"/dev/std(?P<name>out|err)|(?:/dev|/proc/self)/fd/(?P<number>\d+)")
LONGEST_NAME = 200  # bytes of a file's name that its temporary one takes over


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path; put what was written there to `path` on success, remove it on failure.

    A file is renamed over `path`, or over what a link at `path` leads to: it is there whole or not at all.
    What is no file (a fifo, a terminal, /dev/stdout) is written to and stays. The temporary name keeps the
    suffix of `path`, since numpy and others add their own where it is missing.

    Raises BadInput where a file cannot stand (a folder, a disk); an OSError of the system names `path`.
    """
    try:
        if _is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / f"whole{Path(path).suffix}"
                yield temporary
                with temporary.open("rb") as whole, _open_stream(path) as out:
                    shutil.copyfileobj(whole, out)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as temporary:
            yield temporary
            # mkstemp makes files private; readers of a finished file should not depend on who wrote it.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, target)
    except Exception as error:
        trouble = os_error(error, path)
        of_another = trouble is error and trouble.filename and not temporary_name(trouble.filename)
        if trouble is None or of_another:
            raise
        raise OSError(trouble.errno, trouble.strerror, str(path)) from error


def os_error(error: Exception, path: str | Path) -> OSError | None:
    """The system's refusal that an exception stands for, with number, reason and file; None for others.

    What is written in Rust (polars, safetensors) has errors of its own, with the system's number in the text.
    """
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number:
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    if isinstance(error, OSError) and error.errno is None:  # as numpy raises it
        return OSError(errno.EIO, str(error), str(path))
    return error if isinstance(error, OSError) else None


def writable(path: str | Path) -> None:
    """Raise now, before hours of work, what `atomic_path` would raise after them. Leaves nothing behind."""
    if _is_stream(path):
        return
    target = Path(os.path.realpath(path))
    folder = next(parent for parent in target.parents if parent.exists())
    try:
        with _beside(folder / target.name):
            pass
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new, empty file in the folder of `target`, removed at the end if it is still there."""
    name = os.fsdecode(os.fsencode(target.name)[:LONGEST_NAME])
    handle, made = tempfile.mkstemp(dir=target.parent, prefix=f".{name}.", suffix=target.suffix[:20])
    os.close(handle)
    try:
        yield Path(made)
    finally:
        Path(made).unlink(missing_ok=True)


def temporary_name(path: object) -> bool:
    """Is this the name of a file that `atomic_path` had not finished, when it was killed perhaps?"""
    return re.fullmatch(r"\..+\.[a-z0-9_]{8}(\.[^.]*)?", Path(str(path)).name) is not None


def sweep(folder: Path) -> None:
    """Remove what `atomic_path` left in a folder when it was killed; for a folder that is `locked`."""
    for path in folder.glob(".*"):
        if temporary_name(path) and path.is_file():
            path.unlink(missing_ok=True)


def _is_stream(path: str | Path) -> bool:
    """Is what stands there written to, since a file cannot take its place? Raises BadInput if it can't be."""
    if STREAM.fullmatch(Path(path).as_posix()):
        return True
    try:
        mode = os.stat(path or ".").st_mode
    except FileNotFoundError:
        mode = stat.S_IFDIR if str(path).endswith(os.sep) else stat.S_IFREG
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISBLK, "a disk"), (stat.S_ISSOCK, "a socket"))
    for is_kind, found in kinds:
        if is_kind(mode):
            raise BadInput(path, "output", "a file to write", found)
    return not stat.S_ISREG(mode)


def _open_stream(path: str | Path) -> IO[bytes]:
    """What is no file, for writing; of the process's own streams a second handle, so that nothing is cut."""
    own = STREAM.fullmatch(Path(path).as_posix())
    if own is None:
        return open(path, "ab", buffering=0)
    sys.stdout.flush()
    return os.fdopen(os.dup({"out": 1, "err": 2}.get(own["name"]) or int(own["number"])), "wb")


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


# ----------------------------------------------------------------------------------- one process at a time


PATIENCE = 3.0  # seconds that a process that was killed, and what it started, may take to end
_held: set[int] = set()  # handles of locks: what is forked while one is held must not hold it too


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(folder: str | Path, what: str, name: str = "lock", wait: bool = False) -> Iterator[bool]:
    """Keep other processes from doing `what` in `folder` meanwhile; the system ends a lock with its process.

    `name` tells apart what may be done side by side in one folder. A second process waits until the first
    has ended with `wait`, else it raises BadInput that names the folder and the first one's id. Where the
    system or the disk knows no locks, nothing is locked, and False is given instead of True. Raises BadInput
    for a folder that cannot be made or written to, too.
    """
    if fcntl is None:
        yield False
        return
    path = Path(folder) / f".{name}"
    handle, until = -1, time.monotonic() + PATIENCE
    while handle < 0:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BadInput(folder, what, "a folder to write in", error.strerror) from None
        try:
            taken = _lock(handle)
            if taken is None or (taken and _same_file(handle, path)):
                break
            if not wait and time.monotonic() > until:
                process = os.pread(handle, 20, 0).decode("ascii", "replace") or "unknown"
                raise BadInput(folder, what, "one process at a time", f"process {process} at work there")
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        handle = -1
        time.sleep(0.1)
    _held.add(handle)
    os.truncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    try:
        yield taken is True
    finally:
        if handle in _held:  # not in a process that was forked
            _held.remove(handle)
            path.unlink(missing_ok=True)  # those who wait for it see that it is gone, and make another
            os.close(handle)


def _lock(handle: int) -> bool | None:
    """Take the lock if nobody has it, and say whether it is ours; None on a disk without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return True


def _same_file(handle: int, path: Path) -> bool:
    """Is the file that was locked still the one at `path`? Its last owner may have removed it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False
