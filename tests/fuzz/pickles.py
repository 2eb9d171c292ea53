"""Pickles: released tracklets, programs of opcodes that mean harm, SMPL models, PHALP's results."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import random
import struct
import sys
import types
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from factories import assert_same, make_tracklet, of_smpl_size, published
from mutation import damaged, mutate, odd, odd_array, save_npz
from runner import Case, command

from lart_mini.people.body import FREE_BODY, load_body
from lart_mini.tracking.phalp import from_phalp
from lart_mini.tracklets.released import read_released, write_released
from lart_mini.tracklets.tracklet import Tracklet

LENGTH = 12  # frames of a tracklet
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "xz": lzma.compress,
}


def one_tracklet(rng: random.Random) -> Tracklet:
    """A tracklet in the released format's numbers, as its file would be named."""
    return make_tracklet(LENGTH, rng.randrange(1000), appearance=rng.choice((0, 6)))


def written(tracklet: Tracklet) -> tuple[Path, dict[Any, Any]]:
    """The tracklet's own file in the current folder, and its content."""
    path = Path(f"{tracklet.name}.pkl")
    write_released(tracklet, path)
    return path, joblib.load(path)


# ----------------------------------------------------------------------------------------- released tracklets


def released(rng: random.Random, shelf: Path) -> Case:
    """A tracklet's file, in any encoding that users have, damaged in its values or bytes."""
    tracklet = one_tracklet(rng)
    path, content = written(tracklet)
    valid = rng.random() < 0.25
    if not valid and rng.random() < 0.3:
        content = published(np.random.default_rng(rng.getrandbits(32)), 140, LENGTH)
    if valid:
        reencoded(content, rng)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate(content, rng)
    encode(path, content, rng)
    if valid:
        return Case(lambda: read_released(path), "read", lambda found: assert_same(found, tracklet))
    if rng.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return use(path, rng)


def use(path: Path, rng: random.Random) -> Case:
    """What users do with a tracklet's file: read it, or give it or its folder to a command."""
    folder = Path("source")
    kind = rng.randrange(4)
    if kind < 2:
        return Case(lambda: read_released(path), sane=lambda found: found.validate())
    if kind == 2:
        return Case(command("validate", path, lines=True))
    folder.mkdir()
    path.rename(folder / path.name)
    return Case(command("convert", folder, "store", "--jobs", 1), outputs=("store/*",), kept=("store/[!.]*",))


def reencoded(content: dict[Any, Any], rng: random.Random) -> None:
    """The same values in other types."""
    for key in ("frame_bbox", "frame_conf", "frame_size"):
        if rng.random() < 0.5:
            content[key] = np.array(content[key])
    for key in ("pose_shape", "3d_joints", "camera", "fid", "has_gt"):
        if rng.random() < 0.3:
            content[key] = content[key].astype(np.float64)
        if rng.random() < 0.3:
            content[key] = list(content[key])
    content |= {"of_no_use": [1, "a", None]} if rng.random() < 0.3 else {}
    for key in rng.sample(list(content), 3):
        content[key] = content.pop(key)  # another order


def encode(path: Path, content: Any, rng: random.Random) -> None:
    """By joblib or pickle, in any protocol, packed in any way that joblib knows."""
    stream = io.BytesIO()
    protocol = rng.randrange(6)
    try:
        dump = joblib.dump if rng.random() < 0.6 and protocol > 1 else pickle.dump
        dump(content, stream, protocol=protocol)
    except Exception:  # objects that this way cannot write
        stream = io.BytesIO()
        pickle.dump(content, stream, protocol=4)
    path.write_bytes(PACKED[rng.choice(("plain", "plain", *PACKED))](stream.getvalue()))


# ------------------------------------------------------------------------------- programs of opcodes by hand

NAMES = (
    "os system", "posix mkdir", "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
    "subprocess Popen", "numpy ndarray", "numpy dtype", "numpy fromfile", "numpy load",
    "joblib load", "torch load",
    "numpy.core.multiarray _reconstruct", "numpy._core.multiarray scalar", "numpy.core.multiarray fromstring",
    "numpy.lib.format open_memmap", "copyreg _reconstructor", "_codecs encode", "importlib import_module",
    "joblib.numpy_pickle NumpyArrayWrapper", "joblib.numpy_pickle NDArrayWrapper", "functools partial",
    "operator attrgetter", "types CodeType", "ctypes string_at", "chumpy.ch Ch", "chumpy.os system",
    "scipy.sparse._csc csc_matrix", "scipy.sparse.csc csc_matrix", "collections OrderedDict", "shutil rmtree",
    "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "lart_mini.cli main", "a.b.c d", "pathlib Path",
)  # fmt: skip


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return (
        b"J" + struct.pack("<i", value)
        if -(2**31) <= value < 2**31
        else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
    )


def blob(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def call(rng: random.Random) -> bytes:
    """Any name called with any arguments, by any of the opcodes that call."""
    module, name = rng.choice(NAMES).split()
    arguments = rng.choice(
        (b"(" + text("touch ran") + b"t", b"(" + text("ran") + b"t", b")", b"N", text("x"),
         b"((" + number(4) + b"t" + text("O8") + blob(bytes(32)) + b"t",
         b"(" + number(2**40) + b"t",
         b"((" + number(2**31 - 1) + number(2**31 - 1) + b"t" + text("f8") + b"t")
    )  # fmt: skip
    found = rng.choice((f"c{module}\n{name}\n".encode(), text(module) + text(name) + b"\x93"))
    state = rng.choice((b"", b"", b"}" + text("a") + number(1) + b"sb", b"(" + number(1) + b"tb", b"Nb"))
    kind = rng.randrange(5)
    if kind == 0:
        return f"(Vtouch ran\ni{module}\n{name}\n".encode() + state
    if kind == 1:
        return b"(" + found + text("touch ran") + b"o" + state
    if kind == 2:
        return found + arguments + b"\x81" + state
    if kind == 3:
        return found + arguments + b"}\x92" + state
    return found + arguments + b"R" + state


def deep(rng: random.Random) -> bytes:
    """A value nested as deep as nothing should be; tuples and frozensets also as keys."""
    depth = rng.choice((90, 900, 20_000, 300_000))
    kind = rng.randrange(5)
    if kind == 0:
        return b"]" * depth + b"a" * (depth - 1)
    if kind == 1:
        return b"}" + (b"N}" * (depth - 1)) + b"s" * (depth - 1)
    inner = b")" + b"\x85" * depth
    if kind == 2:
        return inner
    return b"}" + inner + b"Ns" if kind == 3 else b"\x8f(" + inner + b"\x90"


def claims(rng: random.Random) -> bytes:
    """A length, and no data or little."""
    size = rng.choice((2**16, 2**28, 2**31, 2**33, 2**40, 2**62, 2**64 - 1))
    long = struct.pack("<Q", size)
    short = struct.pack("<I", min(size, 2**32 - 1))
    signed = struct.pack("<i", min(size, 2**31 - 1))
    return rng.choice(
        (b"\x96" + long, b"\x8e" + long, b"\x8d" + long, b"\x95" + long, b"B" + short, b"X" + short,
         b"T" + signed,
         b"\x8b" + signed, b"r" + short + b"N", b"Nr" + short, b"j" + short, b"\x84" + signed,
         b"\x96" + long + b"abc")
    )  # fmt: skip


def laughs(rng: random.Random) -> bytes:
    """Each level holds the one below it twice or thrice: lists, tuples, dicts, or a key to be hashed."""
    levels, copies = rng.choice((5, 28, 60, 2000)), rng.choice((2, 3))
    kind = rng.randrange(4)
    program = b"N" if kind else b"]"
    for level in range(levels):
        again = b"h" + bytes([level % 256]) if level < 256 else b"j" + struct.pack("<I", level)
        keep = b"q" + bytes([level % 256]) if level < 256 else b"r" + struct.pack("<I", level)
        program += keep + b"0"
        many = b"(" + again * copies
        program += {
            0: many + b"l",
            1: many + b"t",
            2: many + b"t",
            3: b"}(" + text("a") + again + text("b") + again + b"u",
        }[kind]
    return b"}" + program + b"Ns" if kind == 2 else program


def scalars(rng: random.Random) -> bytes:
    """One long text, remembered, of which many numpy scalars are made."""
    size, times = rng.choice(((2**10, 3), (2**25, 40), (2**20, 2000)))
    dtype = (
        b"cnumpy\ndtype\n"
        + text(f"S{size}")
        + b"\x85R"
        + b"("
        + number(3)
        + text("|")
        + b"NNN"
        + number(-1) * 2
        + number(0)
        + b"tb"
    )
    made = b"cnumpy.core.multiarray\nscalar\nh\x01h\x02\x86R"
    return dtype + b"q\x010" + blob(b"a" * size) + b"q\x020(" + made * times + b"l"


def arrays(rng: random.Random) -> bytes:
    """numpy's and joblib's arrays with shapes, dtypes and data that do not belong together."""
    shape = (
        b"("
        + b"".join(number(rng.choice((0, 1, 3, -1, 2**20, 2**31, 2**40))) for _ in range(rng.randrange(4)))
        + b"t"
    )
    code = rng.choice(
        ("f8", "O8", "V8", "S0", "U1000000", "i4,i4", "f8" * 9, ">f8", "M8[s]", "\n", "f16", "(2,)f4")
    )
    order = rng.choice(("<", ">", "|", "="))
    dtype = (
        b"cnumpy\ndtype\n("
        + text(code)
        + number(0)
        + number(1)
        + b"tR("
        + number(3)
        + text(order)
        + b"NNN"
        + number(-1) * 2
        + number(0)
        + b"tb"
    )
    data = rng.choice((blob(bytes(24)), b"]", blob(b""), text("abc"), b"(N" * 9 + b"t" * 9))
    if rng.random() < 0.4:
        keys = {
            "subclass": b"cnumpy\nndarray\n",
            "shape": shape,
            "order": text("C"),
            "dtype": dtype,
            "allow_mmap": b"\x89",
        }
        items = b"".join(text(key) + value for key, value in keys.items() if rng.random() < 0.9)
        return b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + items + b"ub" + bytes(64)
    made = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + blob(b"b") + b"tR"
    )
    return made + b"(" + number(1) + shape + dtype + rng.choice((b"\x88", b"\x89", b"N")) + data + b"tb"


def many(rng: random.Random) -> bytes:
    """Millions of empty things from few bytes, once they are packed."""
    count = rng.choice((1000, 2_000_000, 8_000_000))
    return (
        b"("
        + rng.choice((b"\x8f", b"]", b"}", b"N", b"K\x01", b"G" + bytes(8), b"\x8c\x03abc")) * count
        + b"l"
    )


def numbers(rng: random.Random) -> bytes:
    """Numbers that are none, or have more digits than anybody asked for."""
    digits = rng.choice((10, 5000, 3_000_000))
    return rng.choice(
        (b"I" + b"9" * digits + b"\n", b"L" + b"9" * digits + b"L\n", b"F" + b"9" * digits + b"\n", b"Fnan\n",
         b"Ix\n",
         b"\x8b" + struct.pack("<i", digits) + b"\x7f" * digits, b"\x8b" + struct.pack("<i", -5), b"S'\\x\n")
    )  # fmt: skip


def cyclic(rng: random.Random) -> bytes:
    """Things that hold themselves."""
    return rng.choice(
        (
            b"]q\x00h\x00a",
            b"}q\x00Nh\x00s",
            b"}q\x00" + text("fid") + b"h\x00s",
            b"(]q\x00h\x00tq\x01h\x00h\x01a",
        )
    )


def soup(rng: random.Random) -> bytes:
    """Opcodes without sense."""
    codes = b"(.012FGIJKLMNPQRSTUVXabcdeghijlopqrstu)]}"
    codes += b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8f\x90\x91\x92\x93\x94\x97\x98"
    return bytes(rng.choice(codes) for _ in range(rng.choice((3, 10, 40, 200))))


PIECES = (call, call, deep, claims, laughs, scalars, arrays, arrays, many, numbers, cyclic, soup)


def program(rng: random.Random, key: str) -> bytes:
    """A pickle of a hostile value, by itself or under a key that a reader asks for."""
    value = rng.choice(PIECES)(rng)
    kind = rng.random()
    if kind < 0.5:
        value = b"}" + text(key) + value + b"s"
    elif kind < 0.6:
        value = b"}" + value + text(key) + b"s"
    elif kind < 0.7:
        value = b"](" + value + rng.choice(PIECES)(rng) + b"e"
    start = rng.choice(
        (b"", b"\x80\x02", b"\x80\x03", b"\x80\x05", b"\x80\x04\x95" + struct.pack("<Q", len(value) + 1))
    )
    return start + value + rng.choice((b".", b".", b".", b""))


def with_nothing_between(data: bytes, rng: random.Random) -> bytes:
    """A pickle that means the same, with opcodes that do nothing between its own."""
    import pickletools

    places = [at for _, _, at in pickletools.genops(data) if at is not None][1:]
    nothing = (b"N0", b"(1", b"]0", b"}0", b"\x880", b")0", b"K\x070")
    made, before = b"", 0
    for at in sorted(rng.sample(places, min(20, len(places)))):
        made, before = made + data[before:at] + rng.choice(nothing), at
    return made + data[before:]


def hostile(rng: random.Random, shelf: Path) -> Case:
    """Programs of opcodes as a released tracklet, as PHALP's result, or as an SMPL model."""
    if rng.random() < 0.15:
        tracklet = one_tracklet(rng)
        path, content = written(tracklet)
        path.write_bytes(with_nothing_between(pickle.dumps(content, protocol=2), rng))
        return Case(lambda: read_released(path), "read", lambda found: assert_same(found, tracklet))
    kind = rng.randrange(5)
    if kind == 0:
        Path("smpl.pkl").write_bytes(program(rng, rng.choice(SMPL_FIELDS)))
        return Case(lambda: load_body("smpl.pkl"), "refused")
    pack = PACKED[rng.choice(("plain", "zlib", "zlib", "gzip"))]
    if kind == 1:
        Path("demo_x.pkl").write_bytes(pack(program(rng, rng.choice(("time", "0", "a.jpg")))))
        return Case(lambda: from_phalp("demo_x.pkl"), "refused")
    path = Path(f"{make_tracklet(LENGTH).name}.pkl")
    key = rng.choice(("fid", "pose_shape", "frame_name", "action_label_psudo", "apperance_dict"))
    path.write_bytes(pack(program(rng, key)))
    return replace(use(path, rng), wanted="refused")


# ------------------------------------------------------------------------------------------------ SMPL models

SMPL_FIELDS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")


def smpl(rng: random.Random, shelf: Path) -> Case:
    """A body's file, .npz or as the official pickles are, damaged."""
    with np.load(FREE_BODY, allow_pickle=False) as stored:
        content: dict[str, Any] = {name: stored[name] for name in stored.files}
    valid, packed = rng.random() < 0.2, rng.random() < 0.5
    if rng.random() < 0.5:
        content.pop("posedirs", None)
    path = Path("smpl.npz" if packed else "smpl.pkl")
    if not packed:
        content = official(content, rng)
    if not valid:
        content = mutate(content, rng, odd_array if packed else odd)
    if packed:
        save_npz(path, content)
    else:
        path.write_bytes(pickle.dumps(content, protocol=rng.choice((1, 2, 2, 4))))
        for module in [name for name in sys.modules if name.partition(".")[0] == "chumpy"]:
            del sys.modules[module]
    if not valid and rng.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    run = rng.choice((lambda: load_body(path), lambda: load_body(path)))
    return Case(run, "read" if valid else "either", lambda body: usable(body, exact=valid and packed))


def usable(body: Any, exact: bool) -> None:
    """A body that was read can be posed."""
    free = load_body(FREE_BODY)
    if exact:
        assert body.vertex_ids == free.vertex_ids and np.array_equal(body.faces, free.faces)
    joints = body.rest_joints()
    assert joints.shape == (24, 3) and np.isfinite(joints).all()
    assert np.allclose(body.weights.sum(1), 1, atol=1e-3), "weights that do not sum to 1"
    assert body.faces.size == 0 or 0 <= body.faces.min() <= body.faces.max() < len(body.v_template), (
        "faces outside"
    )
    assert all(0 <= one < len(body.v_template) for one in body.vertex_ids.values()) or not exact


def official(content: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """An SMPL pickle's dict: some arrays as chumpy's, the regressor sparse, and fields nobody needs."""
    from scipy.sparse import csc_matrix

    content = of_smpl_size({name: content[name] for name in SMPL_FIELDS if name in content})
    package = types.ModuleType("chumpy")
    module = types.ModuleType("chumpy.ch")
    sys.modules |= {"chumpy": package, "chumpy.ch": module}

    class Ch:
        def __init__(self, x: Any) -> None:
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch  # type: ignore[attr-defined]
    for name in ("v_template", "shapedirs", "weights"):
        if rng.random() < 0.5:
            content[name] = Ch(content[name].astype(np.float64))
    if rng.random() < 0.7:
        content["J_regressor"] = csc_matrix(content["J_regressor"].astype(np.float64))
    return content | {"bs_style": "lbs", "bs_type": "lrotmin", "kintree_table": np.zeros((2, 24), np.uint32)}


# ------------------------------------------------------------------------------------------- PHALP's results


def phalp_content(rng: random.Random, frames: int = 6) -> dict[str, Any]:
    """PHALP's result of two people; one is lost in a frame, where its last detection is repeated."""
    random_numbers = np.random.default_rng(rng.getrandbits(32))
    content: dict[str, Any] = {}
    for t in range(frames):
        passed = [0, 1 if t == 3 else 0]
        content[f"_DEMO/img/{t:06d}.jpg"] = {
            "tid": [1, 4],
            "tracked_time": passed,
            "bbox": [np.array([10.0 + t, 20, 60, 90]), np.array([100.0, 20, 60, 90])],
            "conf": [np.float32(0.9)] * 2,
            "size": [[240, 320]] * 2,
            "camera": [random_numbers.normal(size=3).astype(np.float32) for _ in passed],
            "3d_joints": [random_numbers.normal(size=(45, 3)).astype(np.float32) for _ in passed],
            "smpl": [
                {
                    "global_orient": random_numbers.normal(size=(1, 3, 3)).astype(np.float32),
                    "body_pose": random_numbers.normal(size=(23, 3, 3)).astype(np.float32),
                    "betas": random_numbers.normal(size=10).astype(np.float32),
                }
                for _ in passed
            ],
            "time": t,
            "shot": 0,
            "mask": [],
        }
    return content


def phalp(rng: random.Random, shelf: Path) -> Case:
    """PHALP's result file, damaged."""
    content, path = phalp_content(rng), Path("demo_my_gym.pkl")
    poses = [frame["smpl"][0]["body_pose"] for frame in content.values()]

    def sane(found: list[Tracklet]) -> None:
        for tracklet in found:
            tracklet.validate()
        if valid:
            assert [one.track for one in found] == [1, 4] and [int(one.detected.sum()) for one in found] == [
                6,
                5,
            ]
            np.testing.assert_array_equal(found[0].pose[:, 1:], poses)

    valid = rng.random() < 0.2
    if not valid:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate(content, rng, odd)
    encode(path, content, rng)
    if not valid and rng.random() < 0.3:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return Case(lambda: from_phalp(path), "read" if valid else "either", sane)


MAKERS = {"released": released, "hostile": hostile, "smpl": smpl, "phalp": phalp}
