"""From tracklets to samples: the ego's window, and the others at the same frames (section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.lart.config import ASSEMBLIES, Assembly, Profile, assembly_of
from lart_mini.lart.tokens import JOINTS_WIDTH, LabelChoice, Stats, TokenBatch
from lart_mini.tracklets.tracklet import GROUND_TRUTH, NO_LABEL, FloatArray, Tracklet, tables


@dataclass(frozen=True, eq=False)
class PreparedTracklet:
    """What of a tracklet stays the same in every window and epoch, worked out once."""

    frame: NDArray[np.int64]  # (T,)
    detected: NDArray[np.bool_]  # (T,)
    pose: FloatArray  # (T, 229) normalised
    labels: FloatArray  # (T, 60)
    label_weight: FloatArray  # (T,)
    joints: FloatArray | None  # (T, 135)
    appearance: FloatArray  # (K, D) the vectors that differ; D = 0 without appearance
    appearance_index: NDArray[np.int64]  # (T,) into K, -1 where there is none

    def __len__(self) -> int:
        return len(self.frame)


class Seen(Protocol):
    """What of a tracklet decides where it stands in a window."""

    @property
    def frame(self) -> NDArray[np.int64]: ...  # (T,)

    @property
    def detected(self) -> NDArray[np.bool_]: ...  # (T,)

    def __len__(self) -> int: ...


S = TypeVar("S", bound=Seen)

# Fields of a window, taken row by row from a PreparedTracklet.
ROW_FIELDS = ("pose", "labels", "label_weight", "joints")


def appearance_width(tracklets: Iterable[Tracklet]) -> int:
    """The one width of their appearance vectors, 0 where none has any. Raises BadInput naming another's."""
    width = 0
    for tracklet in tracklets:
        own = 0 if tracklet.appearance is None else tracklet.appearance.shape[1]
        if own and width and own != width:
            raise BadInput(tracklet.name, "appearance", f"width {width} as before it", f"width {own}")
        width = own or width
    return width


def prepare(
    tracklet: Tracklet,
    stats: Stats,
    *,
    width: int,
    labels: LabelChoice = "any",
    assembly: Assembly = ASSEMBLIES["paper"],
) -> PreparedTracklet:
    """Normalise a tracklet and choose its labels: of `any` source (pre-training) or only `ground truth`.

    `width` is that of appearance in the batch; a tracklet without any gets none of its vectors. Undetected
    frames become zero in everything, labels too, unless the assembly keeps what the tracklet holds there;
    their label weight is 0 in any case.
    """
    detected, source = tracklet.detected, tracklet.label_source
    labelled = detected & (source == GROUND_TRUTH if labels == "ground truth" else source != NO_LABEL)
    kept = assembly.undetected == "kept"
    shown, told = (mask[:, None] | kept for mask in (detected, labelled))
    table = tables(tracklet)
    points = np.add(tracklet.joints, tracklet.camera_vectors()[:, None], dtype=np.float32)
    return PreparedTracklet(
        frame=tracklet.frame,
        detected=detected,
        pose=stats.normalise(tracklet.vector()) * shown,
        labels=ava.to_evaluated(tracklet.labels).astype(np.float32) * told,
        label_weight=labelled.astype(np.float32),
        joints=points.reshape(-1, JOINTS_WIDTH) * shown if assembly.joints else None,
        appearance=np.zeros((0, width), np.float32) if table.appearance is None else table.appearance,
        appearance_index=np.where(shown[:, 0], table.appearance_index, -1),
    )


def assemble(
    ego: Tracklet,
    others: Sequence[Tracklet],
    *,
    frames: int,
    people: int,
    stats: Stats,
    profile: Profile = "paper",
    start: int | None = None,
    labels: LabelChoice = "any",
) -> TokenBatch:
    """One sample (B = 1): `frames` rows of the ego and, at the same frame numbers, the others.

    The window begins at row `start`; by default where the profile says: at random, from torch's own
    generator (paper), or at row 0 (released). Up to `people` - 1 others fill the slots after the ego, in
    their order; slots and frames that nobody fills are zero and not detected. Appearance is (1, P, T, D).
    The sample that the released code makes in training is that of replace(ASSEMBLIES["released"],
    last_frame="dropped"). Raises ValueError for a start outside the ego, BadInput for unequal appearance.
    """
    assembly = assembly_of(profile)
    width = appearance_width([ego, *others])
    if start is None:
        choices = window_starts(len(ego), frames, assembly)
        start = 0 if choices == 1 else int(torch.randint(choices, (1,)))
    chosen = (prepare(t, stats, width=width, labels=labels, assembly=assembly) for t in (ego, *others))
    first = next(chosen)
    return assemble_prepared(
        first, chosen, frames=frames, people=people, assembly=assembly, start=start
    ).dense()


def window_starts(length: int, frames: int, assembly: Assembly) -> int:
    """How many rows of an ego of `length` a window may begin at."""
    if assembly.start == "first":
        return 1
    return max(_usable(length, assembly) - frames, 0) + 1


def _usable(length: int, assembly: Assembly) -> int:
    return length - 1 if assembly.last_frame == "dropped" else length


def assemble_prepared(
    ego: PreparedTracklet,
    others: Iterable[PreparedTracklet],
    *,
    frames: int,
    people: int,
    assembly: Assembly,
    start: int,
) -> TokenBatch:
    """As `assemble`, from tracklets that were prepared before; appearance (1, P, K, D) with its index."""
    filled = seats(ego, others, frames=frames, people=people, assembly=assembly, start=start)
    return _fill(filled, frames, people)


def seats(
    ego: S, others: Iterable[S], *, frames: int, people: int, assembly: Assembly, start: int
) -> list[tuple[S, NDArray[np.intp], NDArray[np.intp]]]:
    """Who sits in which slot of a sample, ego first: the tracklet, the frames of the window that it has, and
    its rows there. Raises ValueError for a start outside the ego.
    """
    if not 0 <= start < len(ego):
        raise ValueError(f"start {start} is outside an ego of {len(ego)} frames")
    window = ego.frame[start : min(start + frames, _usable(len(ego), assembly))]
    filled = [(ego, *_aligned(ego, window))]
    for other in others:
        if len(filled) == people:
            break
        spans = len(window) > 0 and other.frame[0] < window[0] and other.frame[-1] > window[-1]
        dropped = spans and assembly.spanning == "dropped"
        slots, rows = _aligned(other, window[:0] if dropped else window)
        if assembly.slots == "drawn" or other.detected[rows].any():
            filled.append((other, slots, rows))
    return filled


def _aligned(tracklet: Seen, window: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Slots of the window that the tracklet has a row for, and those rows, matched by frame number."""
    rows = np.minimum(np.searchsorted(tracklet.frame, window), len(tracklet) - 1)
    slots = np.flatnonzero(tracklet.frame[rows] == window)
    return slots, rows[slots]


def _fill(
    filled: list[tuple[PreparedTracklet, NDArray[np.intp], NDArray[np.intp]]], frames: int, people: int
) -> TokenBatch:
    """A batch of one sample from each slot's tracklet, the frames of the window it has, and their rows."""
    ego = filled[0][0]
    detected = np.zeros((1, people, frames), np.bool_)
    index = np.full((1, people, frames), -1)
    contents = {f: getattr(ego, f) for f in ROW_FIELDS if getattr(ego, f) is not None}
    arrays = {f: np.zeros((1, people, frames, *rows.shape[1:]), np.float32) for f, rows in contents.items()}
    vectors: list[FloatArray] = []
    for person, (tracklet, slots, rows) in enumerate(filled):
        detected[0, person, slots] = tracklet.detected[rows]
        for field, array in arrays.items():
            array[0, person, slots] = getattr(tracklet, field)[rows]
        used, index[0, person, slots] = used_entries(tracklet.appearance_index[rows])
        vectors.append(tracklet.appearance[used])
    tensors = {field: torch.from_numpy(array) for field, array in arrays.items()}
    if ego.appearance.shape[1]:
        appearance = np.zeros((1, people, max(map(len, vectors)), ego.appearance.shape[1]), np.float32)
        for person, used_rows in enumerate(vectors):
            appearance[0, person, : len(used_rows)] = used_rows
        tensors |= {"appearance": torch.from_numpy(appearance), "appearance_index": torch.from_numpy(index)}
    seen = torch.from_numpy(detected)
    present = seen.any(dim=2)
    present[:, 0] = True
    return TokenBatch(present=present, detected=seen, **tensors)


def used_entries(index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries that an index (T,) names, and the same index into those alone."""
    used = np.unique(index[index >= 0])
    return used, np.where(index >= 0, np.searchsorted(used, index), -1)


def collate(batches: Sequence[TokenBatch]) -> TokenBatch:
    """Join samples into one batch, with no more slots than the last present person of any sample needs.

    Appearance vectors are padded to the sample with most of them. Raises ValueError where samples do not
    hold the same tensors, BadInput where their appearance differs in width.
    """
    names = batches[0].tensors()
    if any(batch.tensors().keys() != names.keys() for batch in batches):
        raise ValueError("samples of one batch must hold the same tensors")
    people = max(int(batch.present.any(dim=0).nonzero().max()) + 1 for batch in batches)
    joined = {name: [_resized(batch.tensors()[name], 1, people, name) for batch in batches] for name in names}
    if "appearance_index" in names:
        vectors = max(tensor.shape[2] for tensor in joined["appearance"])
        joined["appearance"] = [_resized(t, 2, vectors, "appearance") for t in joined["appearance"]]
    widths = {tensor.shape[-1] for tensor in joined.get("appearance", [])}
    if len(widths) > 1:
        raise BadInput("batch", "appearance", "one width", sorted(widths))
    return TokenBatch(**{name: torch.cat(tensors) for name, tensors in joined.items()})


def _resized(tensor: Tensor, axis: int, size: int, name: str) -> Tensor:
    """Cut or pad an axis to `size`, with what stands for nothing: 0, or -1 in an index."""
    missing = size - tensor.shape[axis]
    if missing <= 0:
        return tensor.narrow(axis, 0, size)
    shape = list(tensor.shape)
    shape[axis] = missing
    nothing = -1 if name == "appearance_index" else 0
    return torch.cat([tensor, tensor.new_full(shape, nothing)], dim=axis)
