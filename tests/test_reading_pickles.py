"""Pickles: nothing in them is run, arrays beside them are read from their own folder only."""

from __future__ import annotations

import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from factories import released_content
from joblib.numpy_pickle_compat import NDArrayWrapper, ZNDArrayWrapper

from lart_mini.files import BadInput
from lart_mini.reading import pickles
from lart_mini.reading.pickles import read_pickle
from lart_mini.tracklets.released import read_released


class Runs:
    """Unpickling this with pickle or joblib would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("inside_array", [False, True])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, compress: int, inside_array: bool) -> None:
    path, content = released_content(tmp_path)
    trap = Runs(tmp_path / "executed")
    content["frame_name"] = np.array([trap], object) if inside_array else [trap]
    joblib.dump(content, path, compress=compress)
    with pytest.raises(BadInput, match=r"containers only, found (dtype 'O8'|posix\.mkdir|nt\.mkdir)"):
        read_released(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "found os.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "found builtins.eval"),
        (b"cnumpy\nload\n.", "found numpy.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", "found numpy.ndarray.dump"),
        (b"cnumpy\ndtype\n(S'f8'\ntR}b.", "dtype of state"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "found dtype 'V8'"),
        (b"(ios\nsystem\n.", "found os.system"),
        (b"\x80\x02\x82\x01.", "found a name by number"),
        (b"Pperson\n.", "found an object outside the pickle"),
        (b"hello", "expected a joblib pickle"),
        (b"", "truncated"),
        (b"\x78\x9cgarbage", "expected a joblib pickle"),
        (b"N.", "expected a dict, found NoneType"),
    ],
)
def test_foreign_files_are_refused_in_one_line(tmp_path: Path, stream: bytes, message: str) -> None:
    path = tmp_path / "ava-train_abcdefghijk_000150_3_20.pkl"
    path.write_bytes(stream)
    with pytest.raises(BadInput, match=message):
        read_released(path)


@pytest.mark.parametrize("compress", [0, 3])
def test_truncated_files_are_refused(tmp_path: Path, compress: int) -> None:
    path, content = released_content(tmp_path)
    joblib.dump(content, path, compress=compress)
    whole = path.read_bytes()
    for size in (1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match="pickle"):
            read_released(path)


def test_a_file_that_claims_a_huge_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ava-train_abcdefghijk_000150_3_20.pkl"
    joblib.dump({"fid": np.zeros(3)}, path)
    shape = b"K\x03\x85"  # the tuple (3,)
    assert path.read_bytes().count(shape) == 1
    path.write_bytes(path.read_bytes().replace(shape, b"\x8a\x06\xff\xff\xff\xff\xff\x00\x85"))
    with pytest.raises(BadInput, match="pickle"):
        read_released(path)


def deflated(content: bytes) -> bytes:
    """A Z-file: prefix, length in hexadecimal in 19 characters, zlib stream."""
    return b"ZF" + hex(len(content)).ljust(19).encode() + zlib.compress(content)


def write_old(content: Any, path: Path, compress: bool) -> None:
    """Write as joblib up to 0.9 did: every array into a file of its own beside the pickle."""
    count = 0

    def beside(value: Any) -> Any:
        nonlocal count
        if isinstance(value, dict):
            return {key: beside(item) for key, item in value.items()}
        if isinstance(value, list):
            return [beside(item) for item in value]
        if not isinstance(value, np.ndarray):
            return value
        count += 1
        name = f"{path.name}_{count:02d}.npy"
        if not compress:
            np.save(path.parent / name, value)
            return NDArrayWrapper(name, np.ndarray)
        _, args, state = value.__reduce__()  # type: ignore[misc]
        (path.parent / f"{name}.z").write_bytes(deflated(state[-1]))
        return ZNDArrayWrapper(f"{name}.z", args, state[:-1])

    data = pickle.dumps(beside(content), protocol=3)
    # The classes moved within joblib since.
    data = data.replace(b"joblib.numpy_pickle_compat\n", b"joblib.numpy_pickle\n")
    path.write_bytes(deflated(data) if compress else data)


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list):
        for left, right in zip(a, b, strict=True):
            assert_equal(left, right)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.filterwarnings("ignore:The file")  # joblib asks for a newer pickle
@pytest.mark.parametrize("compress", [False, True])
def test_arrays_beside_an_old_pickle_are_read(tmp_path: Path, compress: bool) -> None:
    content = {
        "plain": np.arange(6.0).reshape(2, 3), "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "empty": np.zeros((0, 4), np.float32), "rows": {3: np.arange(4, dtype=np.int8)}, "text": ["a", 1.5],
    }  # fmt: skip
    path = tmp_path / "x.pkl"
    write_old(content, path, compress)
    assert len(os.listdir(tmp_path)) == 5
    assert_equal(read_pickle(path), content)
    assert_equal(joblib.load(path), content)


@pytest.mark.parametrize("compress", [False, True])
def test_a_tracklet_with_arrays_beside_it_reads_the_same(tmp_path: Path, compress: bool) -> None:
    path, content = released_content(tmp_path)
    expected = read_released(path)
    write_old(content, path, compress)
    np.testing.assert_array_equal(read_released(path).vector(), expected.vector())


def naming(name: object, path: Path, compress: bool) -> None:
    """A pickle whose only array is said to stand in the file `name`."""
    array: Any = NDArrayWrapper(name, np.ndarray)
    if compress:
        array = ZNDArrayWrapper(name, (np.ndarray, (0,), b"b"), (1, (3,), np.dtype("f8"), False))
    path.write_bytes(pickle.dumps({"a": array}, protocol=3))


@pytest.mark.parametrize("compress", [False, True])
def test_only_files_of_the_same_folder_are_opened(tmp_path: Path, compress: bool) -> None:
    folder, outside = tmp_path / "in", tmp_path / "secret.npy"
    folder.mkdir()
    np.save(outside, np.arange(3.0))
    content = deflated(np.arange(3.0).tobytes()) if compress else outside.read_bytes()
    outside.write_bytes(content)
    (folder / "inside.npy").write_bytes(content)
    (folder / "link.npy").symlink_to(outside)
    (folder / "to_inside.npy").symlink_to(folder / "inside.npy")
    path = folder / "x.pkl"
    for name in ("../secret.npy", str(outside), "..", ".", "", "a\\b.npy", "./inside.npy", "a\0b", 7, None):
        naming(name, path, compress)
        with pytest.raises(BadInput, match="which is no file name"):
            read_pickle(path)
    naming("link.npy", path, compress)
    with pytest.raises(BadInput, match=r"link\.npy, which leads out of the folder"):
        read_pickle(path)
    naming("missing.npy", path, compress)
    with pytest.raises(BadInput, match=r"expected missing\.npy beside it, found no such file"):
        read_pickle(path)
    for name in ("inside.npy", "to_inside.npy"):
        naming(name, path, compress)
        np.testing.assert_array_equal(read_pickle(path)["a"], [0, 1, 2])


def test_a_file_beside_runs_nothing_and_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    naming("a.npy", path, False)
    np.save(tmp_path / "a.npy", np.array([Runs(tmp_path / "executed")], object), allow_pickle=True)
    with pytest.raises(BadInput, match="pickle: expected"):
        read_pickle(path)
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Runs(tmp_path / "executed")))
    with pytest.raises(BadInput, match="pickle: expected"):
        read_pickle(path)
    assert not (tmp_path / "executed").exists()
    np.save(tmp_path / "a.npy", np.zeros(2, "V3"))
    with pytest.raises(BadInput, match=r"found dtype '\|V3'"):
        read_pickle(path)
    np.save(tmp_path / "a.npy", np.arange(100.0))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(BadInput, match="pickle: expected"):
        read_pickle(path)


def test_z_files_that_lie_about_their_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    whole = deflated(pickle.dumps([1, 2], protocol=3))
    path.write_bytes(whole)
    assert read_pickle(path) == [1, 2]
    path.write_bytes(whole[:21] + b" " + whole[21:])  # joblib up to 0.8.4
    assert read_pickle(path) == [1, 2]
    for broken in (whole[:-1], b"ZF" + hex(3).ljust(19).encode() + whole[21:], b"ZFtwelve" + whole[8:]):
        path.write_bytes(broken)
        with pytest.raises(BadInput, match="pickle: expected"):
            read_pickle(path)


def test_no_more_is_held_than_the_largest_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the files are: compressed, or one array named many times."""
    monkeypatch.setattr(pickles, "LARGEST_PICKLE", 20_000)
    path = tmp_path / "x.pkl"
    zeros = np.zeros(1500)
    for compress in (False, True):
        (tmp_path / "a.npy").write_bytes(deflated(zeros.tobytes()))
        if not compress:
            np.save(tmp_path / "a.npy", zeros)
        array: Any = NDArrayWrapper("a.npy", np.ndarray)
        if compress:
            array = ZNDArrayWrapper("a.npy", (np.ndarray, (0,), b"b"), (1, (1500,), np.dtype("f8"), False))
        path.write_bytes(pickle.dumps([array], protocol=3))
        np.testing.assert_array_equal(read_pickle(path)[0], zeros)
        twice = pickle.dumps([array], protocol=3)
        path.write_bytes(b"(" + twice[2:-1] + twice[2:-1] + b"l.")
        with pytest.raises(BadInput, match="expected at most 0 MiB, 32 levels, found more"):
            read_pickle(path)
    path.write_bytes(deflated(bytes(30_000)))
    with pytest.raises(BadInput, match="expected at most 0 MiB, 32 levels, found more"):
        read_pickle(path)
