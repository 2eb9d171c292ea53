"""One case in one child with bounded memory and time, and the verdict on it.

A case is determined by its kind, its number and the seed. The parent has imported everything and forks: a
case costs what it reads, not what it imports. What is wanted: the case is read rightly, or refused in one
line with nothing left behind. All else is a fault.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import psutil

from lart_mini import cli
from lart_mini.files import BadInput

CPU_SECONDS = 20  # of a case, the making of its files included
MEMORY = 1500 << 20  # bytes of address space that a case may add
RESIDENT = 1200 << 20  # bytes of memory that a case may touch
STILL = 60  # seconds of sleep without any computing: a hang. Waiting for a core is no sleep
LONGEST_LINE = 6000  # letters; a path alone may have 4,096

Verdict = Literal["read", "refused", "fault"]


class Refused(Exception):
    """A case was refused in one line, its text."""


class Wrong(Exception):
    """A case ended in a way that nobody wants; the text says how."""


@dataclass(frozen=True)
class Case:
    """What a child runs in its own empty folder, with the files in it, and what must come of it."""

    run: Callable[[], Any]  # gives a result, or raises BadInput or Refused
    wanted: Literal["read", "refused", "either"] = "either"
    sane: Callable[[Any], object] = lambda result: None  # asserts that a result is right
    outputs: tuple[str, ...] = ()  # patterns of what a run that succeeds may write
    kept: tuple[str, ...] = ()  # patterns of what may stay of a run that was refused, to go on from


Maker = Callable[[random.Random, Path], Case]  # from chance and the shelf of ready-made inputs


@dataclass(frozen=True)
class Outcome:
    """How one case ended, in words."""

    kind: str
    number: int
    verdict: Verdict
    why: str
    seconds: float  # of the child's computing


def command(*arguments: object, codes: tuple[int, ...] = (0,), lines: bool = False) -> Callable[[], str]:
    """Run `lart-mini` with these arguments; the result is what it printed.

    `codes`: good ends. `lines`: it names each bad file in a line of its own, which is a refusal as well.
    """

    def run() -> str:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        said, told = (os.pread(number, 1 << 20, 0).decode(errors="replace") for number in (1, 2))
        if code in (*codes, None):
            return said
        if code != 2:
            raise Wrong(f"exit code {code}: {told[-600:]}")
        if told.startswith(
            ("Usage: ", "╭─ Error")
        ):  # of an option that the parser of command lines does not take
            raise Refused(" ".join(word for word in told.split() if word.isprintable())[-300:])
        if lines and not told.startswith("lart-mini: "):
            for line in told.splitlines():
                if oddity(line) or "Traceback" in line:
                    raise Wrong(f"a line that is none: {line[:300]!r} in {told[:300]}")
            raise Refused(told.splitlines()[0])
        if told.count("\n") != 1 or not told.startswith("lart-mini: "):
            raise Wrong(f"exit code 2 with {len(told.splitlines())} lines: {told[:600]!r}")
        raise Refused(told.removesuffix("\n"))

    return run


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for everything that a fuzz makes, removed with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="lart_mini-fuzz-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def chance(seed: int, kind: str, number: int) -> random.Random:
    """All chance of a case."""
    return random.Random(f"{seed}:{kind}:{number}")


# ----------------------------------------------------------------------------------------------- in the child


def judge(case: Case, before: dict[str, str]) -> tuple[Verdict, str]:
    """Run a case in the current folder; `before`: what was in it."""
    try:
        result = case.run()
        case.sane(result)
        verdict: Verdict = "read"
        why = ""
    except (BadInput, Refused) as refused:
        verdict, why = "refused", str(refused)
        odd = oddity(why)
        if odd:
            return "fault", f"refused in {odd}: {why[:600]!r}"
    except Wrong as wrong:
        return "fault", str(wrong)
    except BaseException as error:
        return "fault", in_one_line(error)
    if case.wanted not in ("either", verdict):
        return "fault", f"must be {case.wanted}, was {verdict}: {why[:600]}"
    allowed = (*case.kept, *(case.outputs if verdict == "read" else ()))
    left = [name for name in changes(before) if not any(fnmatch(name, pattern) for pattern in allowed)]
    if left:
        return "fault", f"{verdict}, and left or changed {', '.join(left[:5])}: {why[:600]}"
    return verdict, why


def in_one_line(error: BaseException) -> str:
    """An exception, and the last lines of the package and of the fuzz that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame for frame in frames if "site-packages" not in frame.filename and "python3" not in frame.filename
    ]
    places = [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in ours[-3:]]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]} (through {', '.join(places)})"


def oddity(line: str) -> str:
    """What is wrong with a refusal's line, or nothing."""
    if len(line.splitlines()) != 1:
        return "several lines"
    if len(line) > LONGEST_LINE:
        return f"a line of {len(line)} letters"
    if not line.replace("\t", " ").isprintable():
        return "a line with control characters"
    if "MemoryError" in line:
        return "a line, when memory had run out"
    return ""


def contents() -> dict[str, str]:
    """Everything below the current folder, links as such, with a digest of what it holds."""
    found = {}
    for path in sorted(Path().rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def changes(before: dict[str, str]) -> list[str]:
    """Files that are new, others or gone."""
    after = contents()
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def child(maker: Maker, rng: random.Random, shelf: Path, folder: Path, answer: int) -> None:
    """Make the case, bound this process, run it, and write the verdict; never returns."""
    try:
        os.setsid()
        folder.mkdir()
        os.chdir(folder)
        logs = [os.open(f"{folder}.{name}", os.O_RDWR | os.O_CREAT | os.O_TRUNC) for name in ("out", "err")]
        for log, number in zip(logs, (1, 2), strict=True):
            os.dup2(log, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        home = Path(f"{folder}.home")
        home.mkdir()
        os.environ |= {"HOME": str(home), "TMPDIR": str(home), "LOKY_MAX_CPU_COUNT": "1"}
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
        case = maker(rng, shelf)
        before = contents()
        space = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
        start = peak()
        verdict, why = judge(case, before)
        if peak() - start > RESIDENT and verdict != "fault":
            verdict, why = "fault", f"{verdict} with {(peak() - start) >> 20} MB of memory: {why[:600]}"
        os.write(answer, json.dumps([verdict, why[:2000]]).encode())
    except BaseException:
        os.write(answer, json.dumps(["fault", "in the fuzz: " + traceback.format_exc()[-1500:]]).encode())
    finally:
        os._exit(0)


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------------------------------------- in the parent


@dataclass
class Running:
    """A case whose child has not ended yet."""

    kind: str
    number: int
    pid: int
    answer: int  # the pipe's end that the verdict comes from
    folder: Path
    computed: float = 0.0  # seconds, when last looked
    since: float = 0.0  # when that last grew
    hung: bool = False


def start(kind: str, number: int, maker: Maker, seed: int, workplace: Path) -> Running:
    """Fork a child for a case."""
    folder = workplace / f"{kind}-{number}"
    answer, theirs = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        child(maker, chance(seed, kind, number), workplace / "shelf", folder, theirs)
    os.close(theirs)
    return Running(kind, number, pid, answer, folder, since=time.monotonic())


def ended(running: Running) -> Outcome | None:
    """The outcome of a child that has ended; None while it runs. One that hangs is ended."""
    pid, status, usage = os.wait4(running.pid, os.WNOHANG)
    if pid == 0:
        watch(running)
        return None
    told = b""
    while piece := os.read(running.answer, 1 << 16):
        told += piece
    os.close(running.answer)
    verdict, why = json.loads(told) if told else ("fault", unspoken(status, running.hung))
    for left in running.folder.parent.glob(f"{running.folder.name}*"):
        if left.name.partition(".")[0] == running.folder.name:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
    return Outcome(running.kind, running.number, verdict, why, usage.ru_utime + usage.ru_stime)


def watch(running: Running) -> None:
    """Kill a child that sleeps without computing."""
    now = time.monotonic()
    if now - running.since < 1:
        return
    try:
        process = psutil.Process(running.pid)
        computed, asleep = sum(process.cpu_times()[:4]), process.status() == psutil.STATUS_SLEEPING
    except psutil.Error:
        return
    if computed > running.computed or not asleep:
        running.computed, running.since = computed, now
    elif now - running.since > STILL:
        running.hung = True
        kill(running)


def kill(running: Running) -> None:
    """End a child and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)


def unspoken(status: int, hung: bool) -> str:
    """Why a child ended without a verdict."""
    if hung:
        return f"hung: {STILL} seconds asleep"
    if not os.WIFSIGNALED(status):
        return f"ended by itself with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return f"more than {CPU_SECONDS} seconds of computing, or killed"
    return f"crashed: {signal.Signals(number).name}"


def outcomes(
    cases: list[tuple[str, int]], makers: dict[str, Maker], seed: int, workplace: Path, jobs: int = 1
) -> Iterator[Outcome]:
    """Run cases (kind, number), `jobs` side by side, as they end."""
    waiting, running = list(reversed(cases)), []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                kind, number = waiting.pop()
                running.append(start(kind, number, makers[kind], seed, workplace))
            for one in list(running):
                outcome = ended(one)
                if outcome is not None:
                    running.remove(one)
                    yield outcome
            time.sleep(0.002)
    finally:
        for one in running:
            kill(one)
            os.waitpid(one.pid, 0)
