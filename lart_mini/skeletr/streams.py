"""pyskl's input pipeline: uniform sampling, two people, and the streams joint, bone and their motions.

What it does to whole annotations was done when they were converted (`annotations`); here is what depends on
the frames that are drawn. Whole batches at once, straight from the memory maps.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini.files import BadInput
from lart_mini.skeletr.annotations import Skeleton, kind_of
from lart_mini.skeletr.stgcnpp import Layout
from lart_mini.skeletr.store import SkeletonStore

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]
STREAMS: tuple[Stream, ...] = get_args(Stream)
FUSION: dict[Stream, float] = {"joint": 2, "bone": 2, "joint_motion": 1, "bone_motion": 1}
FRAMES, CLIPS, PEOPLE, SEED = 100, 10, 2, 255  # of an input; clips of a test, drawn from this seed
THREE_D = "nturgb+d"  # the layout of 3D joints; all others have x, y and a score
# Joints whose bone begins elsewhere than at their neighbour in the graph.
BONES_ELSEWHERE: dict[str, dict[int, int]] = {
    "coco": {11: 0, 12: 0},  # hips − nose
    "nturgb+d": {21: 22, 23: 24},  # tips of the hands − thumbs
    "openpose": {0: 0, 1: 0},  # neck − nose
}


def bone_starts(layout: Layout) -> tuple[int, ...]:
    """The joint that each joint's bone begins at, (V,); its own where it has none."""
    elsewhere = BONES_ELSEWHERE.get(layout.name, {})
    return tuple(elsewhere.get(joint, parent) for joint, parent in enumerate(layout.parents))


def check_layout(file: object, layout: Layout, shown: Skeleton | SkeletonStore, source: str | Path) -> None:
    """Raise BadInput, naming `file`, where what `source` shows has other joints than the layout."""
    kind = kind_of(layout.joints, layout.name != THREE_D)
    if shown.kind != kind:
        raise BadInput(file, "layout", f"{shown.kind} as in {source}", f"{kind} ({layout.name})")


# --------------------------------------------------------------------------------------------------- frames


def training_frames(lengths: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Frames (B,100) of annotations of these lengths (B,): one at random in each of equal parts.

    Up to 200 there are no such parts: then as many as are too many are left out at random. What is shorter
    than 100 begins anywhere and is repeated.
    """
    step, drawn = np.arange(FRAMES), rng.random((len(lengths), 1))
    found = (step + (drawn * lengths[:, None]).astype(np.int64)) % lengths[:, None]
    parted, between = lengths >= 2 * FRAMES, (lengths >= FRAMES) & (lengths < 2 * FRAMES)
    edge = np.arange(FRAMES + 1) * lengths[parted, None] // FRAMES
    found[parted] = edge[:, :-1] + (rng.random((len(edge), FRAMES)) * np.diff(edge)).astype(np.int64)
    order = rng.random((between.sum(), FRAMES + 1)).argsort(1).argsort(1)
    left_out = order < lengths[between, None] - FRAMES
    found[between] = step + left_out.cumsum(1)[:, :-1]
    return found


@lru_cache(maxsize=4096)
def evaluation_frames(length: int, clips: int = CLIPS) -> NDArray[np.int64]:
    """Frames (clips,100) that pyskl takes of an annotation of that length in a test, to the last one.

    They come of numpy's legacy generator, begun again for each annotation; its draws are repeated in pyskl's
    order, those without effect as well.
    """
    rng = np.random.RandomState(SEED)
    edge = np.arange(FRAMES + 1) * length // FRAMES
    found = []
    for clip in range(clips):
        rng.rand()  # which share of the video: all of it
        if length < FRAMES:
            first = clip if length < clips else clip * length // clips
            found.append((first + np.arange(FRAMES)) % length)
        elif length < 2 * FRAMES:
            jump = np.zeros(FRAMES + 1, np.int64)
            jump[rng.choice(FRAMES + 1, length - FRAMES, replace=False)] = 1
            found.append(np.arange(FRAMES) + jump.cumsum()[:-1])
        else:
            found.append(edge[:-1] + rng.randint(np.diff(edge), dtype=np.int64))
    return np.stack(found)


# --------------------------------------------------------------------------------------------------- inputs


def training_input(
    store: SkeletonStore,
    which: NDArray[np.int64],
    layout: Layout,
    rng: np.random.Generator,
    stream: Stream = "joint",
) -> tuple[Tensor, Tensor]:
    """Annotations `which` (B,) as a network learns from them: (B,2,100,V,3), and their labels (B,)."""
    frames = training_frames(store.frames[which], rng)
    return clips(store, which, frames[:, None], layout, stream)[:, 0], torch.from_numpy(store.label[which])


def evaluation_input(
    store: SkeletonStore, which: NDArray[np.int64], layout: Layout, stream: Stream = "joint"
) -> Tensor:
    """Ten clips of each of the annotations `which` (B,), the same in each test: (B,10,2,100,V,3)."""
    frames = np.stack([evaluation_frames(int(length)) for length in store.frames[which]])
    return clips(store, which, frames, layout, stream)


def clips(
    store: SkeletonStore,
    which: NDArray[np.int64],
    frames: NDArray[np.int64],
    layout: Layout,
    stream: Stream = "joint",
) -> Tensor:
    """Annotations `which` (B,) at frames (B,K,T), as a network reads them: (B,K,2,T,V,3) float32.

    Pixels run from −1 to 1 over the frame, beside the score; NTU's 3D joints stand upright about the first
    frame's centre. A person who is missing is zeros. Section 3 of pyskl's report (its GenSkeFeat).
    Raises BadInput for a store of other joints than the layout's, or of 2D ones where those are 3D.
    """
    check_layout(f"layout {layout.name}", layout, store, store.source)
    batch, count, length = frames.shape
    people = np.minimum(store.people[which], PEOPLE)
    sample = np.repeat(np.arange(batch), people)  # (P,): each person's
    person = np.arange(len(sample)) - np.repeat(people.cumsum() - people, people)
    whose = which[sample]
    first = (store.row[whose] + person * store.frames[whose])[:, None]
    at = frames.reshape(batch, -1)[sample]  # (P,K·T)
    x = _stream_joints(store, first + at, whose, layout, stream)
    if stream.endswith("motion"):
        last = at == store.frames[whose][:, None] - 1
        after = _stream_joints(store, first + at + ~last, whose, layout, stream)
        x = _difference(after, x, layout)
        x[torch.from_numpy(last)] = 0  # the score, too
    if not x.sum().isfinite():
        raise BadInput(store.source, "keypoint.npy", "finite numbers", "others")
    out = x.new_zeros(batch, PEOPLE, *x.shape[1:])
    out[torch.from_numpy(sample), torch.from_numpy(person)] = x
    return out.view(batch, PEOPLE, count, length, *x.shape[2:]).transpose(1, 2)


def _stream_joints(
    store: SkeletonStore, rows: NDArray[np.int64], whose: NDArray[np.int64], layout: Layout, stream: Stream
) -> Tensor:
    """Joints, or bones, (P,T,V,3) at rows (P,T), in their place."""
    half = torch.from_numpy(store.rows(rows))  # torch makes single precision of it twice as fast as numpy
    place = torch.from_numpy(store.place[whose])
    if layout.name == THREE_D:  # nothing to subtract; numpy is the faster one with small matrices
        x = torch.from_numpy(np.matmul(half.float().flatten(1, 2).numpy(), place[:, 1:].numpy()))
    else:  # no turn: all joints of a frame at once
        x = half.float().flatten(2)  # (P,T,3V)
        x -= place[:, :1].repeat(1, 1, half.shape[2])
        x *= place[:, 1:].diagonal(dim1=1, dim2=2)[:, None].repeat(1, 1, half.shape[2])
    x = x.view(half.shape)
    if not stream.startswith("bone"):
        return x
    return _difference(x, x.index_select(2, torch.tensor(bone_starts(layout))), layout)


def _difference(end: Tensor, start: Tensor, layout: Layout) -> Tensor:
    """Coordinates of (P,T,V,3) as end − start; scores, which all but 3D joints have, as the mean of both."""
    if layout.name == THREE_D:
        return end - start
    sign = torch.tensor([-1.0, -1, 1]).repeat(layout.joints)
    share = torch.tensor([1, 1, 0.5]).repeat(layout.joints)
    return torch.addcmul(end.flatten(2), start.flatten(2), sign).mul_(share).view(end.shape)
