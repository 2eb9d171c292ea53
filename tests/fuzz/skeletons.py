"""Skeletons: pyskl's annotation files and their stores, published ST-GCN++ weights, detections to fuse."""

from __future__ import annotations

import pickle
import random
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arrays import damage_file
from mutation import damaged, mutate, odd
from pickles import PACKED, program, with_nothing_between
from runner import Case, command
from skeleton_files import MAKERS as ANNOTATIONS
from skeleton_files import dump, kinetics, weights
from tables import ava_rows, text
from weights import saved, torch_file

from lart_mini.evaluation.ava_csv import read_detections
from lart_mini.skeletr.annotations import read_annotations
from lart_mini.skeletr.pyskl import load_pyskl
from lart_mini.skeletr.stgcnpp import LAYOUTS
from lart_mini.skeletr.store import SkeletonStore, convert_annotations
from lart_mini.skeletr.streams import STREAMS, evaluation_input

FRAMES = (1, 5, 12)  # of an annotation


def some_annotations(rng: random.Random) -> dict[str, Any]:
    """The content of a file of three or four annotations, in 2D or 3D."""
    kind = rng.choice(sorted(ANNOTATIONS))
    names = [f"clip{number}" for number in range(rng.choice((3, 4)))]
    listed = [
        ANNOTATIONS[kind](name, label, rng.choice((1, 2)), rng.choice(FRAMES), rng.randrange(1000))
        for label, name in enumerate(names)
    ]
    return {"split": {"train": names[:2], "val": names[2:]}, "annotations": listed}


def annotations(rng: random.Random, shelf: Path) -> Case:
    """An annotation file in any protocol, damaged in its values or bytes, or a program of opcodes."""
    path, content = Path("annotations.pkl"), some_annotations(rng)
    named, folder = rng.random() < 0.25, None
    if named:  # Kinetics' table of contents, and the files that it names
        content, folder = kinetics(Path(), 3, rng.randrange(1000)), Path("kpfiles")
    valid = rng.random() < 0.25
    count = len(content["annotations"])
    if not valid:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate(content, rng, odd)
    data = pickled(content, rng)
    if valid and rng.random() < 0.3:
        data = with_nothing_between(pickle.dumps(content, protocol=rng.choice((0, 2))), rng)
    if not valid:
        kind = rng.random()
        if kind < 0.25:
            data = damaged(data, rng)
        elif kind < 0.45:
            data = program(rng, rng.choice(("annotations", "split", "keypoint")))
        elif kind < 0.6 and named:
            damage_kept(Path("kpfiles/some.pkl"), rng)
        data = PACKED[rng.choice(("plain", "plain", "zlib", "gzip"))](data)
    path.write_bytes(data)
    given = () if folder is None else ("--keypoint-files", folder)
    if rng.random() < 0.4:
        run = command("skeletons", "convert", path, "store", *given)
        wanted = count if valid else 0
        return Case(
            run, "read" if valid else "either", lambda found: whole(Path("store"), rng, wanted), ("store/*",)
        )
    return Case(
        lambda: list(read_annotations(path, keypoint_files=folder)[1]),
        "read" if valid else "either",
        lambda found: [finite(one) for one in found],
    )


def pickled(content: Any, rng: random.Random) -> bytes:
    try:
        return pickle.dumps(content, protocol=rng.choice((0, 2, 2, 3, 4, 5)))
    except Exception:  # objects that this protocol cannot write
        return pickle.dumps(content, protocol=4)


def damage_kept(path: Path, rng: random.Random) -> None:
    """Damage a file of keypoints: its values, its bytes, or a program in its place."""
    content = pickle.loads(path.read_bytes())
    kind = rng.randrange(3)
    if kind == 0:
        path.write_bytes(pickled(mutate(content, rng, odd), rng))
    else:
        path.write_bytes(damaged(path.read_bytes(), rng) if kind == 1 else program(rng, "keypoint"))


def finite(one: Any) -> None:
    """A skeleton that was read is one."""
    assert one.keypoint.ndim == 4 and one.keypoint.shape[3] == 3 and one.keypoint.dtype == np.float16
    assert np.isfinite(one.keypoint).all() and np.isfinite(one.place).all() and one.label >= 0


def whole(path: Path, rng: random.Random, count: int = 0) -> None:
    """A store that was written or read gives input to a network."""
    store = SkeletonStore(path)
    assert not count or len(store) == count
    layout = next((one for one in LAYOUTS.values() if one.joints == store.joints), None)
    if layout is not None:
        x = evaluation_input(store, np.arange(min(3, len(store))), layout, rng.choice(STREAMS))
        assert x.isfinite().all() and x.shape[1:4] == (10, 2, 100)


def skeleton_store(rng: random.Random, shelf: Path) -> Case:
    """A store of skeletons with a damaged file."""
    shutil.copytree(shelf / "skeletons", "store")
    valid = rng.random() < 0.2
    if not valid:
        damage_file(rng.choice(sorted(Path("store").iterdir())), rng)
    return Case(lambda: whole(Path("store"), rng), "read" if valid else "either")


def pyskl(rng: random.Random, shelf: Path) -> Case:
    """A published ST-GCN++ checkpoint of any form, damaged as torch's files are."""
    path, state = Path("pyskl.pth"), weights(rng.choice((17, 25, 18, 21)), seed=rng.randrange(99))
    content: Any = {"meta": {"epoch": 16, "names": ["a"]}, "state_dict": state}
    if rng.random() < 0.2:
        if rng.random() < 0.3:
            content = OrderedDict(rng.sample(list(state.items()), len(state)))
        path.write_bytes(saved(content, old=rng.random() < 0.3))
        wanted = state["backbone.gcn.1.tcn.branches.2.3.conv.weight"]
        place = "blocks.1.time.branches.2.3.weight"
        right = lambda found: same(found[0].state_dict()[place], wanted)  # noqa: E731
        return Case(lambda: load_pyskl(path), "read", right)
    torch_file(content, path, rng, "state_dict")
    return Case(lambda: load_pyskl(path), sane=sound)


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert torch.equal(found, wanted)


def sound(found: Any) -> None:
    """A network that was read gives numbers, where its own are of the size of weights."""
    backbone, head, layout = found
    assert not backbone.training and head.in_features == backbone.config.widths[-1]
    largest = max(float(x.abs().max()) for x in backbone.state_dict().values() if x.numel())
    features = backbone(torch.rand(1, 1, 8, layout.joints, backbone.config.channels))
    assert largest > 1e3 or head(features.mean((1, 3, 4))).isfinite().all()


def fusion(rng: random.Random, shelf: Path) -> Case:
    """Two files of detections to fuse, one of them damaged, or rows of it others."""
    rows = ava_rows(rng)[1]
    Path("a.csv").write_text(text(rows))
    other = [list(row) for row in rows]
    rng.shuffle(other)
    valid = rng.random() < 0.3
    if not valid:
        row = rng.randrange(len(other))
        column = rng.randrange(len(other[row]))
        other[row][column] = rng.choice(("0.123", "nan", "", "x", "902", "-3", other[row - 1][column]))
    data = text(other).encode()
    Path("b.csv").write_bytes(damaged(data, rng) if not valid and rng.random() < 0.3 else data)
    weighed = rng.choice((("2", "1"), ("1", "0"), ("0.5", "3")))
    run = command("fuse", "a.csv", "b.csv", "--weights", *weighed, "--out", "c.csv")

    def sane(found: Any) -> None:
        fused = read_detections("c.csv")
        assert fused["score"].is_between(0, 1).all() and (not valid or len(fused) == len(rows))

    return Case(run, "read" if valid else "either", sane, ("c.csv",))


def fill(shelf: Path) -> None:
    """A store of skeletons."""
    file = dump(some_annotations(random.Random(0)), shelf / "annotations.pkl")
    convert_annotations(file, shelf / "skeletons", progress=False)


MAKERS = {"annotations": annotations, "skeletons": skeleton_store, "pyskl": pyskl, "fusion": fusion}
FILLERS = (fill,)
