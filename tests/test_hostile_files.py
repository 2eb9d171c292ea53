"""Files that would cost gigabytes, minutes or the process: each is one line, and little is made before it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import resource
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from factories import of_smpl_size, published, released_content, write_published
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.sparse import csc_matrix, csr_matrix

from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART
from lart_mini.lart.tokens import Stats, load_stats
from lart_mini.lart.weights import load_model, save_model
from lart_mini.people.body import load_body
from lart_mini.reading.arrays import open_npz, read_npy
from lart_mini.reading.pickles import read_pickle
from lart_mini.reading.torch_files import load_torch
from lart_mini.tracking.phalp import from_phalp
from lart_mini.tracklets.npz import load_tracklets
from lart_mini.tracklets.released import read_released

ROOM = 1 << 29  # bytes that a hostile file may make the process grow by, far more than any of these asks


@pytest.fixture
def little_room() -> Iterator[None]:
    """The process may not grow by more than ROOM."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


DEEP = b"N" + b"\x85" * 300_000  # a tuple in a tuple in a tuple …
LAUGHS = b"]" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(40))
HOSTILE = {
    "a deep key": b"\x80\x04}" + DEEP + b"Ns.",
    "deep keys": b"\x80\x04}(" + DEEP + b"Nu.",
    "a deep key of DICT": b"(" + DEEP + b"Nd.",
    "deep in a set": b"\x80\x04\x8f(" + DEEP + b"\x90.",
    "a deep frozenset": b"\x80\x04(" + DEEP + b"\x91.",
    "deep": b"\x80\x04" + DEEP + b".",
    "sets": b"\x80\x04(" + b"\x8f" * 1_000_000 + b"l.",
    "memo": b"\x80\x04N" + b"\x94" * 2_000_000 + b".",
    "a long bytearray": b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",
    "a long text": b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b".",
    "laughs": b"\x80\x04]q\x00" + LAUGHS[1:] + b".",
    "a long number": b"I" + b"0x" + b"f" * 100_000 + b"\n.",
    "a large shape": b"\x80\x02cnumpy\ndtype\n(S'f8'\ntRcnumpy.core.multiarray\n_reconstruct\n)R"
    b"(K\x01(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftcnumpy\ndtype\n(S'f8'\ntR\x89U\x01xtb.",
    "an array with entries": b"cnumpy.core.multiarray\n_reconstruct\n)RK\x00]s.",
    "a call of an array": b"cnumpy.core.multiarray\n_reconstruct\n)R)R.",
    "numpy's own constructor": b"cnumpy\nndarray\n((I4\ntcnumpy\ndtype\n(S'O'\ntRtR.",
    "out of band": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("small", [False, True])
def test_hostile_pickles_are_one_line(tmp_path: Path, content: bytes, small: bool, little_room: None) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(zlib.compress(content, 1) if small else content)
    for read in (read_pickle, load_body):
        with pytest.raises(BadInput, match="pickle: expected") as caught:
            read(path)
        assert len(str(caught.value)) < 400 and "MemoryError" not in str(caught.value)


@pytest.mark.parametrize("name", ["a deep key", "deep in a set", "a deep frozenset", "sets", "laughs"])
@pytest.mark.parametrize("zipped", [False, True])
def test_hostile_pickles_in_torch_files_are_one_line(
    tmp_path: Path, name: str, zipped: bool, little_room: None
) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(HOSTILE[name])
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", HOSTILE[name])
    with pytest.raises(BadInput, match=r"x\.ckpt: (file|pickle): expected"):
        load_torch(path)


# ------------------------------------------------------------------------------------------- what is allowed

arrays = st.sampled_from(["<f8", "<f4", "<f2", "<i8", "|u1", "|b1", "<U3", "|S2"]).flatmap(
    lambda code: st.sampled_from([(), (0,), (3,), (2, 3), (1, 2, 2)]).map(
        lambda shape: np.arange(int(np.prod(shape))).reshape(shape).astype(code)
    )
)
keys = st.text("ab", max_size=2) | st.integers(0, 9) | st.tuples(st.integers(0, 9))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.binary(max_size=9) | st.text(st.characters(codec="utf-8"), max_size=9) | arrays
    | st.sampled_from([np.float32(1.5), np.int64(7)]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=8,
)  # fmt: skip


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        for left, right in zip(a, b, strict=True):
            assert_equal(left, right)
    else:
        np.testing.assert_array_equal(a, b)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)


@given(values, st.integers(0, 5), st.booleans())
@settings(max_examples=150)
def test_every_protocol_is_read_as_python_reads_it(
    tmp_path_factory: pytest.TempPathFactory, content: Any, protocol: int, old: bool
) -> None:
    data = pickle.dumps(content, protocol)
    if old and protocol < 4:  # the names of numpy 1; text there has no length before it
        data = data.replace(b"numpy._core.", b"numpy.core.")
    path = tmp_path_factory.mktemp("pickles") / "x.pkl"
    path.write_bytes(data)
    assert_equal(read_pickle(path), content)


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "xz", "lzma"])
def test_joblibs_compressions_are_read_and_bounded(tmp_path: Path, method: str, little_room: None) -> None:
    path, content = released_content(tmp_path)
    expected = read_released(path).vector()
    joblib.dump(content, path, compress=(method, 3))
    np.testing.assert_array_equal(read_released(path).vector(), expected)
    whole = path.read_bytes()
    for cut in (20, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadInput, match="pickle: expected"):
            read_released(path)
    pack: Callable[[bytes], bytes] = {
        "zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
        "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    }[method]  # fmt: skip
    path.write_bytes(pack(bytes(68_000_000)))
    with pytest.raises(BadInput, match="pickle: expected"):
        read_released(path)


def test_lz4_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x04\x22\x4d\x18rest")
    with pytest.raises(BadInput, match="lz4; read and write it again"):
        read_pickle(tmp_path / "x.pkl")


# -------------------------------------------------------------------------------------- released tracklets


def test_no_field_of_a_tracklet_is_written_out_before_it_is_counted(
    tmp_path: Path, little_room: None
) -> None:
    laughs: Any = [1.0]
    for _ in range(11):
        laughs = [laughs, laughs]
    wide = np.zeros(9_000)
    content = published(np.random.default_rng(0), 140, 20)
    for key in content:
        for value in (laughs, [laughs] * 20, [wide] * 20, {0.0: laughs}, {4.0: wide}, "a", np.array(["a"])):
            path = write_published(content | {key: value, "frame_name": content["frame_name"]}, tmp_path)
            try:
                read_released(path)
            except BadInput as problem:
                assert len(str(problem)) < 500 and "MemoryError" not in str(problem)


@pytest.mark.parametrize("key", ["action_label_psudo", "apperance_dict"])
def test_a_table_that_is_none_is_named(tmp_path: Path, key: str) -> None:
    content = published(np.random.default_rng(0), 140, 20)
    for table, message in (
        (np.zeros((3, 80)), "a dict, found ndarray"),
        ({0.0: np.zeros(9000), 4.0: np.zeros(9000)}, "found (9,000|9000)"),
    ):
        with pytest.raises(BadInput, match=f"{key}: expected .*{message}"):
            read_released(write_published(content | {key: table}, tmp_path))


def demo_content(length: int = 8) -> dict[str, Any]:
    """As LART's demo writes it: a smoothed place in the vector, tensors that nobody needs."""
    content = published(np.random.default_rng(3), 0, length, gaps=0.1)
    content["camera"] = np.abs(content["camera"]) + np.array([0, 0, 0.09])
    content["pose_shape"][:, :, 226:] = content["camera"] * 1.01
    content |= {"cam_smoothed": torch.zeros(length, 1, 3), "ava_action": [torch.ones(2)] * length}
    return content


def test_tensors_that_nobody_needs_are_passed_over_with_one_warning(tmp_path: Path) -> None:
    content = demo_content()
    path = write_published(content, tmp_path)
    with pytest.warns(UserWarning, match="torch tensors passed over: ava_action, cam_smoothed$") as said:
        tracklet = read_released(path)
    assert len(said) == 1 and tracklet.depth_unit == 200
    np.testing.assert_allclose(tracklet.translation[:, 2], content["camera"][:, 0, 2] * 202, rtol=1e-5)
    path = write_published(content | {"camera": torch.zeros(8, 1, 3)}, tmp_path)
    with (
        pytest.warns(UserWarning, match="camera"),
        pytest.raises(BadInput, match="camera: expected numbers, found a torch tensor"),
    ):
        read_released(path)


def test_a_file_of_nothing_but_a_tensor_is_refused_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "ava-train_xxxxxxxxxxx_000001_1_2.pkl"
    joblib.dump(torch.zeros(3), path)
    with warnings.catch_warnings(action="error"):
        for read in (read_released, from_phalp, load_body):
            with pytest.raises(BadInput, match=r"pickle: expected .*, found a torch tensor"):
                read(path)


def test_a_result_that_is_an_empty_array_is_no_empty_dict(tmp_path: Path) -> None:
    joblib.dump(np.zeros(0), tmp_path / "result.pkl")
    with pytest.raises(BadInput, match="expected a dict of frames, found ndarray"):
        from_phalp(tmp_path / "result.pkl")


def test_a_file_of_the_demo_is_told_its_name(tmp_path: Path) -> None:
    path = tmp_path / "demo_my_video_3_8.pkl"
    joblib.dump(demo_content(), path)
    with pytest.raises(BadInput, match=r"such as demo-val_my_video____000000_3_8\.pkl, found demo_my_video"):
        read_released(path)


# --------------------------------------------------------------------------------------------- SMPL's files


class Ch:
    """A stand-in for chumpy.ch.Ch: its pickles name that module and class."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type[Ch]:
    module = type(sys)("chumpy.ch")
    monkeypatch.setitem(sys.modules, "chumpy", type(sys)("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    monkeypatch.setattr(Ch, "__module__", "chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    return Ch


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("sparse", [csc_matrix, csr_matrix, np.asarray])
def test_smpl_files_of_every_protocol(tmp_path: Path, chumpy: type[Ch], protocol: int, sparse: Any) -> None:
    free, path = load_body(), tmp_path / "SMPL_NEUTRAL.pkl"
    fields = {"v_template": free.v_template, "shapedirs": free.shapedirs, "weights": free.weights}
    body = of_smpl_size(fields | {"J_regressor": free.joint_regressor})
    others = 290 if (protocol, sparse) == (2, csc_matrix) else 6  # the former as SMPL's own
    more = np.pad(body["shapedirs"], ((0, 0), (0, 0), (0, others)))  # ten are read
    flat = chumpy(x=more.ravel())
    content = {
        "v_template": chumpy(x=body["v_template"]), "weights": body["weights"],
        "f": free.faces.astype(np.uint32),
        "shapedirs": chumpy(a=flat, idxs=np.arange(flat.x.size), preferred_shape=more.shape),
        "J_regressor": sparse(body["J_regressor"]), "bs_style": "lbs",
        "nobody needs it": np.array([{"a": 1}, None], object), "prior": csr_matrix(np.eye(3)),
    }  # fmt: skip
    path.write_bytes(pickle.dumps(content, protocol))
    loaded = load_body(path)
    np.testing.assert_array_equal(loaded.shapedirs, body["shapedirs"])
    np.testing.assert_allclose(loaded.joint_regressor, body["J_regressor"], atol=1e-7)
    path.write_bytes(pickle.dumps(content | {"J_regressor": content["nobody needs it"]}, protocol))
    with pytest.raises(BadInput, match="J_regressor: expected an array, found an array of Python objects"):
        load_body(path)


@pytest.mark.parametrize(
    "keys",
    [("x",), ("a", "idxs"), ("idxs", "a"), ("data", "indices", "indptr"), ("indptr", "data", "indices")],
)
def test_an_object_that_holds_itself_is_refused(
    tmp_path: Path, chumpy: type[Ch], keys: tuple[str, ...]
) -> None:
    one, path = chumpy(preferred_shape=(1, 3), shape=(1, 3)), tmp_path / "x.pkl"
    one.__dict__ |= dict.fromkeys(keys, np.arange(3)) | {keys[0]: one}
    path.write_bytes(pickle.dumps({"v_template": one}))
    with pytest.raises(
        BadInput, match=r"v_template: expected at most \d objects, one in another, found more"
    ):
        load_body(path)


def test_pointers_in_an_smpl_file_are_not_followed(tmp_path: Path) -> None:
    """In a child, since what this guards against is the end of the process."""
    buffer = (0x4141414141414141).to_bytes(8, "little") * 4
    path = tmp_path / "x.pkl"
    path.write_bytes(
        b"\x80\x03}X\x0a\x00\x00\x00v_templatecnumpy\nndarray\nK\x04\x85cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R"
        b"C" + bytes([len(buffer)]) + buffer + b"\x87Rs."
    )
    code = f"from lart_mini.people import load_body; print(load_body({str(path)!r}).v_template)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "BadInput" in done.stderr and "a call of numpy.ndarray" in done.stderr


@pytest.mark.parametrize(
    "table", ["{", "[1]", '{"nose": 1}', '"text"', "{}", '{"nose": 1000000000}', "[" * 100_000]
)
def test_a_bodys_vertex_ids_are_its_own_vertices(tmp_path: Path, table: str) -> None:
    body = load_body()
    fields = {"v_template": body.v_template, "shapedirs": body.shapedirs, "weights": body.weights}
    fields |= {"J_regressor": body.joint_regressor, "f": body.faces}
    for ids in (table, json.dumps(body.vertex_ids | {"nose": len(body.v_template)}), np.arange(3)):
        np.savez(tmp_path / "x.npz", vertex_ids=np.array(ids), **fields)
        with pytest.raises(BadInput, match="vertex_ids: expected"):
            load_body(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", vertex_ids=json.dumps(body.vertex_ids), bs=np.array([{}], object), **fields)
    assert load_body(tmp_path / "x.npz").vertex_ids == body.vertex_ids
    np.savez(tmp_path / "x.npz", **(fields | {"J_regressor": np.array(csc_matrix(np.eye(3)), object)}))
    with pytest.raises(BadInput, match=r"J_regressor: expected numbers of shape .*, found Python objects"):
        load_body(tmp_path / "x.npz")


# ------------------------------------------------------------------------------------------- .npy and .npz


def npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


ODD_ARRAYS = {
    "claims": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
    "no header": b"text", "empty": b"", "cut": npy(b"{'descr': '<f8'")[:20],
    "token": npy(b"{'descr': '<f8', 'shape': (1L,), ((\n"),
    "deep": npy(b"(" * 9000), "objects": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"),
    "record": npy(b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}\n", bytes(8)),
    "no bytes": npy(b"{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000,)}\n"),
    "0-d": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': ()}\n", bytes(8)),
    "negative": npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-2, 229)}\n"),
    "version 9": b"\x93NUMPY\x09\x00",
}  # fmt: skip


@pytest.mark.parametrize("content", ODD_ARRAYS.values(), ids=ODD_ARRAYS.keys())
def test_odd_arrays_are_one_line_everywhere(tmp_path: Path, content: bytes, little_room: None) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.npy: (file|stats): expected"):
        load_stats(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for name in ("v_template", "length"):
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(BadInput, match=r"x\.npz: v_template: expected"):
        load_body(tmp_path / "x.npz")
    with open_npz(tmp_path / "x.npz") as opened, pytest.raises(BadInput, match="length: expected"):
        opened.read("length", (None,))
    for name, read in (("stats.npy", load_stats), ("x.npz", load_tracklets)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=r"(file|stats): expected"):
            read(tmp_path / name)
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(BadInput, match="file: expected"):
            read(tmp_path / "folder")


def test_a_member_that_unpacks_to_much_is_not_unpacked(tmp_path: Path, little_room: None) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (80000000,)}\n"
        archive.writestr("much.npy", npy(header, bytes(640_000_000 // 8)))
    for shape, found in (((3,), "numbers of shape"), (None, "the data end too early")):
        with open_npz(path) as archive_, pytest.raises(BadInput, match=f"much: expected .*{found}"):
            archive_.read("much", shape)


def test_fortran_order_and_what_numpy_writes_come_back(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy", [(2, 3)]), array)
    np.savez_compressed(tmp_path / "x.npz", a=array, empty=np.zeros((0, 3)))
    with open_npz(tmp_path / "x.npz") as opened:
        np.testing.assert_array_equal(opened.read("a", (None, 3)), array)
        assert opened.read("empty").shape == (0, 3) and opened.read("a").flags.writeable


# -------------------------------------------------------------------------------------- torch and checkpoints


@pytest.mark.parametrize("zipped", [False, True])
def test_torch_files_are_read_as_torch_reads_them(tmp_path: Path, zipped: bool) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    content = {
        "turned": shared.T, "part": shared[1:, 2:], "same": shared, "none": torch.zeros(0, 3),
        "one": torch.tensor(2), "half": torch.ones(2, dtype=torch.bfloat16), "yes": torch.tensor([True]),
        "model": torch.nn.Linear(2, 2).state_dict(), "parameter": torch.nn.Parameter(torch.ones(2)),
        "list": [1, (2.5, None, "text")], "size": shared.shape,
    }  # fmt: skip
    path = tmp_path / "x.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = load_torch(path)
    assert found.keys() == content.keys() and found["list"] == content["list"] and found["size"] == (3, 4)
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[key], value) and found[key].dtype == value.dtype, key
    assert torch.equal(found["model"]["weight"], content["model"]["weight"])  # type: ignore[index]
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadInput):
            load_torch(path)


def test_a_tensor_lies_within_its_numbers(tmp_path: Path, little_room: None) -> None:
    path = tmp_path / "x.pt"
    torch.save(torch.arange(5.0), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in members if name.endswith("data.pkl"))
    for before, after in (
        (b"K\x00K\x05\x85", b"K\x01K\x05\x85"),  # offset
        (b"K\x00K\x05\x85", b"K\x00J\xff\xff\xff\x7f\x85"),  # shape
        (b"K\x01\x85", b"K\x02\x85"),  # stride
        (b"K\x01\x85", b"K\x00\x85"),  # stride 0, with a shape that goes on for ever
        (b"cpuq\x04K\x05", b"cpuq\x04J\xff\xff\xff\x7f"),  # the numbers themselves
    ):
        assert members[pickled].count(before) == 1
        changed = members[pickled].replace(before, after)
        if after == b"K\x00\x85":
            changed = changed.replace(b"K\x00K\x05\x85", b"K\x00J\xff\xff\xff\x7f\x85")
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, changed if name == pickled else data)
        with pytest.raises(BadInput, match=r"x\.pt: (pickle|file): expected"):
            load_torch(path)


CONFIG = LARTConfig(people=2, frames=4, width=8, depth=1, heads=2, pose_width=6, classes=3)


@pytest.mark.parametrize(
    "changed",
    [
        {"width": 10**12}, {"depth": 3000}, {"classes": 10**7}, {"heads": -1}, {"people": 0},
        {"frames": 0}, {"heads": 0}, {"width": "8"}, {"width": [8]}, {"width": 8.0}, {"people": True},
        {"qkv_bias": 1}, {"mlp_ratio": float("nan")}, {"dropout": -0.1}, {"pose_hidden": [0]},
        {"frames": 2**63}, {"pose_hidden": [1] * 99}, {"people": 1024, "frames": 100_000, "width": 65536},
        {"norm": ["post"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_makes_no_more_than_it_holds(
    tmp_path: Path, changed: dict[str, Any], little_room: None
) -> None:
    path = tmp_path / "x.safetensors"
    save_model(path, LART(CONFIG), Stats(*np.ones((2, 229), np.float32)))
    with safe_open(path, framework="pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    config = json.loads(header["config"]) | changed
    save_file(tensors, path, header | {"config": json.dumps(config)})
    with pytest.raises(BadInput, match=r"x\.safetensors: (config|model\.\S+): expected"):
        load_model(path)


def test_weights_and_stats_of_a_checkpoint_are_finite(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_model(path, LART(CONFIG), Stats(*np.ones((2, 229), np.float32)))
    with safe_open(path, framework="pt") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    for name in ("model.mask_token", "stats.mean", "stats.std"):
        for value in (torch.nan, torch.inf, *([-1.0] if name == "stats.std" else [])):
            save_file(tensors | {name: torch.full_like(tensors[name], value)}, path, header)
            with pytest.raises(BadInput, match=f"{name}: expected"):
                load_model(path)
    for config in ("[" * 100_000, "{" * 1000, "null", "3"):
        save_file(tensors, path, header | {"config": config})
        with pytest.raises(BadInput, match="config: expected a LARTConfig"):
            load_model(path)


def test_no_file_of_these_leaves_a_warning(tmp_path: Path) -> None:
    """Numbers that no float32 holds are refused in one line, not in a warning and a line."""
    content = published(np.random.default_rng(0), 140, 20)
    content["pose_shape"][3, 0, 5] = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInput, match="pose: expected finite numbers"):
            read_released(write_published(content, tmp_path))
