"""pyskl's annotation files and checkpoints, made as their publishers made them: by pickle and torch alone."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FRAME = (1080, 1920)  # height, width of NTU's videos


def body(rng: np.random.Generator, frames: int, joints: int) -> np.ndarray:
    """A person (T,V,3) who drifts and shakes, metres before a camera; nothing that anybody could know."""
    rest = rng.normal(0, 0.3, (joints, 3)) + np.array([0, 0, 3])
    path = np.cumsum(rng.normal(0, 0.01, (frames, 1, 3)), axis=0)
    return rest + path + rng.normal(0, 0.01, (frames, joints, 3))


def annotation_3d(name: str, label: int, people: int, frames: int, seed: int) -> dict[str, Any]:
    """As of ntu60_3danno.pkl; a second person is there in the middle half of the frames only."""
    rng = np.random.default_rng(seed)
    keypoint = np.stack([body(rng, frames, 25) for _ in range(people)]).astype(np.float16)
    keypoint[1:, : frames // 4] = 0
    keypoint[1:, frames - frames // 4 :] = 0
    return {"frame_dir": name, "label": label, "keypoint": keypoint, "total_frames": frames}


def annotation_2d(
    name: str, label: int, people: int, frames: int, seed: int, joints: int = 17
) -> dict[str, Any]:
    """As of ntu60_hrnet.pkl: pixels and scores in float16; joints that were not found have low scores."""
    rng = np.random.default_rng(seed)
    bodies = np.stack([body(rng, frames, joints) for _ in range(people)])
    pixels = bodies[..., :2] / bodies[..., 2:].clip(1) * 1500 + (FRAME[1] / 2, FRAME[0] / 2)
    score = rng.uniform(0.2, 1, bodies.shape[:3])
    score[rng.random(score.shape) < 0.05] = 0.004
    return {
        "frame_dir": name,
        "label": label,
        "img_shape": FRAME,
        "original_shape": FRAME,
        "total_frames": frames,
        "keypoint": pixels.astype(np.float16),
        "keypoint_score": score.astype(np.float16),
    }


MAKERS = {"2d": annotation_2d, "3d": annotation_3d}


def annotations(kind: str, count: int, seed: int = 0, classes: int = 60) -> dict[str, Any]:
    """What an annotation file holds: 32 to 300 frames, one person in three of four, two splits."""
    rng = np.random.default_rng(seed)
    names = [f"S001C{i % 3 + 1:03}P001R{i // 1000:03}A{i % 1000:03}" for i in range(count)]
    made = []
    for i, name in enumerate(names):
        people, frames = int(rng.choice([1, 1, 1, 2])), int(np.clip(rng.normal(84, 40), 32, 300))
        made.append(MAKERS[kind](name, i % classes, people, frames, seed + i))
    cut = -(-count * 2 // 3)
    return {"split": {"xsub_train": names[:cut], "xsub_val": names[cut:]}, "annotations": made}


def kinetics(folder: Path, count: int = 4, seed: int = 0) -> dict[str, Any]:
    """Kinetics' table of contents, and the files of keypoints that it names, in `folder`/kpfiles."""
    rng = np.random.default_rng(seed)
    listed, kept = [], {}
    for i in range(count):
        frames = 20 + 3 * i
        shown = np.sort(rng.choice(frames, size=3 * frames // 2))
        name = f"abc{i:08}"
        points = rng.uniform(0, 340, (len(shown), 17, 3))
        points[..., 2] = rng.uniform(0, 1, points.shape[:2])
        kept[name] = {"keypoint": points.astype(np.float16)}
        listed.append(
            {
                "frame_dir": name,
                "label": i,
                "img_shape": (256, 340),
                "original_shape": (256, 340),
                "total_frames": frames,
                "frame_inds": shown,
                "box_score": rng.uniform(0.4, 1, len(shown)).astype(np.float16),
                "valid": {0.5: frames, 0.6: frames - 2},
                "raw_file": "data/k400/kpfiles/some.pkl",
            }
        )
    (folder / "kpfiles").mkdir(exist_ok=True)
    dump(kept, folder / "kpfiles" / "some.pkl")
    names = [one["frame_dir"] for one in listed]
    return {"split": {"train": names[:-1], "val": names[-1:]}, "annotations": listed}


def dump(content: Any, path: Path, protocol: int = 2) -> Path:
    """Plain pickle; mmcv, which wrote the published files, takes protocol 2 unless told otherwise."""
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)
    return path


# --------------------------------------------------------------------------------------------- checkpoints


def norm(name: str, width: int, rng: torch.Generator) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.rand(width, generator=rng) + 0.5,
        f"{name}.bias": torch.randn(width, generator=rng) * 0.1,
        f"{name}.running_mean": torch.randn(width, generator=rng) * 0.1,
        f"{name}.running_var": torch.rand(width, generator=rng) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def conv(name: str, out: int, into: int, rng: torch.Generator, length: int = 1) -> dict[str, Tensor]:
    scale = 1 / (into * length) ** 0.5
    return {
        f"{name}.weight": torch.randn(out, into, length, 1, generator=rng) * scale,
        f"{name}.bias": torch.randn(out, generator=rng) * 0.1,
    }


def weights(
    joints: int = 17,
    widths: tuple[int, ...] = (12, 12, 18),
    classes: int = 5,
    channels: int = 3,
    fully: str = "fc_cls",
    seed: int = 0,
) -> OrderedDict[str, Tensor]:
    """ST-GCN++'s state dict by pyskl's names (`fully="fc"`: MMAction2's), of any widths and joints."""
    rng = torch.Generator().manual_seed(seed)
    found = norm("backbone.data_bn", joints * channels, rng)
    before = channels
    for i, width in enumerate(widths):
        block, part = f"backbone.gcn.{i}", width // 6
        first = width - 5 * part
        found |= {f"{block}.gcn.A": torch.rand(3, joints, joints, generator=rng) / joints}
        found |= norm(f"{block}.gcn.bn", width, rng) | conv(f"{block}.gcn.conv", 3 * width, before, rng)
        if before != width:
            found |= conv(f"{block}.gcn.down.0", width, before, rng) | norm(f"{block}.gcn.down.1", width, rng)
        for branch in range(6):
            own, name = (first if branch == 0 else part), f"{block}.tcn.branches.{branch}"
            if branch == 5:
                found |= conv(name, own, width, rng)
                continue
            found |= conv(f"{name}.0", own, width, rng) | norm(f"{name}.1", own, rng)
            if branch < 4:
                found |= conv(f"{name}.3.conv", own, own, rng, 3)
        found |= norm(f"{block}.tcn.transform.0", width, rng)
        found |= conv(f"{block}.tcn.transform.2", width, width, rng) | norm(f"{block}.tcn.bn", width, rng)
        if i and before != width:
            found |= conv(f"{block}.residual.conv", width, before, rng)
            found |= norm(f"{block}.residual.bn", width, rng)
        before = width
    found[f"cls_head.{fully}.weight"] = torch.randn(classes, before, generator=rng) * 0.1
    found[f"cls_head.{fully}.bias"] = torch.randn(classes, generator=rng) * 0.1
    return OrderedDict(found)


def checkpoint(path: Path, form: str = "pyskl", **sizes: Any) -> Path:
    """A file of one of the three forms: `pyskl` {meta, state_dict, …}, `flat`, `mmaction2`."""
    content: Any = weights(**sizes, fully="fc" if form == "mmaction2" else "fc_cls")
    if form != "flat":
        meta = {"epoch": 16, "iter": 20000, "env_info": "sys.platform: linux", "pyskl_version": "0.1.0"}
        content = {"meta": meta, "state_dict": content}
    if form == "pyskl":
        content["optimizer"] = {"state": {}, "param_groups": [{"lr": 0.1, "momentum": 0.9}]}
    if form == "mmaction2":
        content["message_hub"] = {"log_scalars": {}, "resumed_keys": {}}
    torch.save(content, path)
    return path
