"""What files.py promises: one line of any trouble, outputs whole or as they were, one process a folder."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, delayed

from lart_mini import files
from lart_mini.files import BadInput, atomic_path, locked, process_count, sweep, told, writable, write_npz

# ------------------------------------------------------------------------------------------------ one line

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
nested = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner)
)


@given(nested, nested, st.text())
def test_bad_input_is_one_line_of_bounded_length(expected: object, found: object, file: str) -> None:
    text = str(BadInput(file, "field", expected, found))
    assert text.isprintable() and len(text.splitlines()) == 1
    assert len(text) <= len(files.printable(file)) + 2 * files.MOST_TOLD + 40


@given(nested, nested, st.text())
def test_bad_input_comes_back_from_another_process(expected: object, found: object, file: str) -> None:
    problem = BadInput(file, "field", expected, found)
    again = pickle.loads(pickle.dumps(problem))
    assert type(again) is BadInput and str(again) == str(problem) and vars(again) == vars(problem)


def laughs(levels: int) -> list:
    held: list = ["ha"]
    for _ in range(levels):
        held = [held, held, held]
    return held


@pytest.mark.parametrize(
    "found",
    [laughs(200), {"a": laughs(200)}, 10**20_000, -(10**20_000), "x" * 10**7, b"\x00" * 10**7, range(10**9)],
    ids=["lists", "dict", "number", "less", "text", "bytes", "range"],
)
def test_telling_takes_no_longer_for_more(found: object) -> None:
    assert len(told(found)) <= files.MOST_TOLD


def test_what_is_short_is_told_as_it_is_printed() -> None:
    for value, text in (
        (1.5, "1.5"), ((3, 24), "(3, 24)"), (None, "None"), (np.float32(0.25), "0.25"), (Path("a/b"), "a/b"),
        ("two\nlines\tand  more", "two lines and more"), ("\x1b[2J", r"\x1b[2J"), (ValueError("why"), "why"),
    ):  # fmt: skip
        assert told(value) == text
    problem = BadInput("new\nline.csv", "field", "a", "b")
    assert str(problem) == r"new\nline.csv: field: expected a, found b"


def test_bad_input_comes_out_of_another_process_as_it_was_raised() -> None:
    def refuse(number: int) -> None:
        raise BadInput("pictures", "cv2", "installed", number)

    with pytest.raises(BadInput, match=r"^pictures: cv2: expected installed, found 7$"):
        Parallel(2)(delayed(refuse)(7) for _ in range(2))


@pytest.mark.parametrize("jobs", [0, -2, -1000, 1.0, True, "2", None])
def test_numbers_of_processes(jobs: object) -> None:
    line = r"^--jobs: processes: expected a whole number from 1 on, or -1 for one a core, found "
    with pytest.raises(BadInput, match=line):
        process_count(jobs)  # type: ignore[arg-type]
    assert process_count(-1) == -1 and process_count(7) == 7


# ------------------------------------------------------------------------------------------------- outputs


def write(path: str | Path, text: str = "new") -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target, link, again = tmp_path / "data" / "file.json", tmp_path / "link.json", tmp_path / "again.json"
    target.write_text("old")
    link.symlink_to("data/file.json")
    again.symlink_to(link)
    write(again)
    assert target.read_text() == "new" and link.is_symlink() and again.is_symlink()
    target.unlink()  # a link to what is not there yet
    write(link, "newer")
    assert target.read_text() == "newer" and link.is_symlink()
    assert names(tmp_path) == ["again.json", "data", "link.json"] and names(target.parent) == ["file.json"]


def test_a_fifo_and_a_terminal_are_written_to(tmp_path: Path) -> None:
    """No device that the machine needs: were it replaced, everything else would suffer."""
    fifo, terminal = tmp_path / "fifo.json", tmp_path / "terminal"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    write(fifo, "through")
    assert os.read(reader, 100) == b"through" and stat.S_ISFIFO(fifo.stat().st_mode)
    ours, theirs = os.openpty()
    terminal.symlink_to(os.ttyname(theirs))
    write(terminal, "shown")
    assert os.read(ours, 100) == b"shown" and names(tmp_path) == ["fifo.json", "terminal"]
    for handle in (reader, ours, theirs):
        os.close(handle)


SAYS = """
from lart_mini.files import atomic_path
print("before")
with atomic_path("{path}") as temporary:
    temporary.write_text("written\\n")
print("after")
"""


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_the_own_output_gets_its_place_in_the_order(tmp_path: Path, path: str) -> None:
    job = [sys.executable, "-c", SAYS.format(path=path)]
    piped = subprocess.run(job, stdout=subprocess.PIPE, check=True, text=True)
    assert piped.stdout == "before\nwritten\nafter\n"
    with (tmp_path / "out.txt").open("w") as out:  # a file, not to be cut or replaced
        subprocess.run(job, stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\nwritten\nafter\n" and names(tmp_path) == ["out.txt"]


def test_streams_are_known_by_their_names_on_windows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "Path", PureWindowsPath)
    for path in ("/dev/stdout", PureWindowsPath("/dev/stderr"), PureWindowsPath("/dev/fd/1")):
        assert files._is_stream(path)  # type: ignore[arg-type]


def bad_outputs(folder: Path) -> dict[str, str]:
    """Where no output can be written, whoever asks."""
    (folder / "file").write_text("a file")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "socket"))
    return {
        "nothing": "",
        "folder": str(folder / "folder"),
        "folder to be": f"{folder}/new/",
        "under a file": str(folder / "file" / "out.json"),
        "too long": str(folder / f"{'x' * 251}.json"),
        "too deep": str(folder / "/".join(["x" * 200] * 30)),
        "loop": str(folder / "loop"),
        "socket": str(folder / "socket"),
        "read-only": "/proc/out.json",
    }


@pytest.mark.parametrize("kind", ["nothing", "folder", "folder to be", "under a file", "too long", "too deep",
                                  "loop", "socket", "read-only"])  # fmt: skip
def test_what_cannot_be_written_is_told_before_and_changes_nothing(tmp_path: Path, kind: str) -> None:
    path = bad_outputs(tmp_path)[kind]
    before = names(tmp_path)
    for attempt in (writable, write):
        with pytest.raises((BadInput, OSError)) as refused:
            attempt(path)
        named = refused.value.file if isinstance(refused.value, BadInput) else refused.value.filename
        assert str(named) in (path, "."), "the file of the user, no temporary one, is named"
    assert names(tmp_path) == before


def test_trying_leaves_nothing_and_longest_names_work(tmp_path: Path) -> None:
    name = "ä" * 125 + ".json"
    for path in (tmp_path / "new" / "folder" / "out.json", tmp_path / name):
        writable(path)
        assert names(tmp_path) == []
    write(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / name)
    writable(tmp_path / "link")
    assert (tmp_path / name).read_text() == "new" and len(names(tmp_path)) == 2


def test_what_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    for stop in (ValueError, KeyboardInterrupt):
        with pytest.raises(stop), atomic_path(tmp_path / "out.json") as temporary:
            temporary.write_text("half")
            raise stop
    assert (tmp_path / "out.json").read_text() == "old" and names(tmp_path) == ["out.json"]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "out.npz").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # python turns the signal into EFBIG
    try:
        with pytest.raises(OSError) as refused:
            write_npz(tmp_path / "out.npz", {"x": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.filename == str(tmp_path / "out.npz")
    assert (tmp_path / "out.npz").read_text() == "old" and names(tmp_path) == ["out.npz"]


def test_sweeping_takes_what_was_not_finished_and_nothing_else(tmp_path: Path) -> None:
    kept = [".lock", ".lock-run.state", ".hidden", ".gitignore", "run.state", ".config.json", "a.abcdefgh.b"]
    for name in kept:
        (tmp_path / name).write_text("")
    with pytest.raises(ZeroDivisionError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as if it had been killed
        for name in ("run.state", "plain"):
            with atomic_path(tmp_path / name):
                1 / int(name == "run.state" and len(names(tmp_path)) > len(kept) + 5)
    assert len(names(tmp_path)) == len(kept) + 1
    sweep(tmp_path)
    assert names(tmp_path) == sorted(kept)


# --------------------------------------------------------------------------------------- one process a folder

HOLDS = """
import sys, time
from lart_mini.files import locked
with locked(sys.argv[1], "run"):
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_process_is_told_who_is_at_work(
    tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    with pytest.raises(BadInput) as refused, locked(tmp_path, "run"):
        pass
    found = f"process {holder.pid} at work there"
    assert str(refused.value) == f"{tmp_path}: run: expected one process at a time, found {found}"
    with locked(tmp_path, "run", "another"), locked(tmp_path / "below", "run"):
        pass  # what has another name or folder is free
    holder.kill()  # and so is this, as soon as its process is dead
    holder.wait()
    with locked(tmp_path, "run"):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert names(tmp_path) == ["below"] and names(tmp_path / "below") == []


def test_who_waits_goes_on_when_the_first_has_ended(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    timer = threading.Timer(0.5, holder.kill)
    timer.start()
    with locked(tmp_path, "run", wait=True):
        assert holder.wait() == -signal.SIGKILL
    timer.join()


def test_threads_too_come_one_after_the_other(tmp_path: Path) -> None:
    inside, most = [], []

    def work() -> None:
        with locked(tmp_path, "run", wait=True):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8 and names(tmp_path) == []


def test_what_is_forked_holds_no_lock(tmp_path: Path) -> None:
    """A loader of data outlives its training for seconds when that is killed."""
    with locked(tmp_path, "run"):
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tells, b"!")
            time.sleep(3600)
            os._exit(0)
        os.read(hears, 1)
        handles = [os.readlink(path) for path in Path(f"/proc/{child}/fd").iterdir()]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not any(".lock" in handle for handle in handles)


def test_a_disk_without_locks_is_worked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with locked(tmp_path, "run") as ours:
        assert not ours
    monkeypatch.undo()
    with locked(tmp_path, "run") as ours:
        assert ours
    monkeypatch.setattr(files, "fcntl", None)
    with locked(tmp_path, "run") as ours:
        assert not ours
