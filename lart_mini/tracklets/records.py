"""How a store keeps a tracklet: one record a frame, and each appearance vector and label row once.

| kept as | what | what is lost |
|---|---|---|
| float16 | pose: entries of rotation matrices, in [-1, 1] | up to 2.5e-4 |
| float16 | betas | up to 1e-3 below 4 standard deviations, 2e-3 below 8 |
| float16 | joints, relative to the person's place | up to 0.5 mm within 2 m |
| float16 | appearance | a part in 2048 of each number, 3e-8 near 0 |
| float16 | labels in [0, 1] | up to 2.5e-4; 0 and 1 are exact |
| float32, whole numbers | translation, camera, box, confidence, frame numbers, flags | nothing |

Translation and camera stay float32, since half a metre would be lost 1 km away.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.reading.parquet import read_parquet
from lart_mini.tracklets.tracklet import GROUND_TRUTH, PSEUDO_LABEL, Tracklet, parse_name, tables

HalfArray = NDArray[np.float16]

# pose and betas lie side by side, so that a person-vector is read at once. 776 bytes.
RECORD = np.dtype(
    [
        ("pose", "<f2", (216,)),
        ("betas", "<f2", (10,)),
        ("joints", "<f2", (45, 3)),
        ("label_index", "<i2"),  # into the tracklet's label rows, -1 for no class
        ("appearance_index", "<i2"),  # into the tracklet's appearance vectors, -1 for none
        ("detected", "u1"),
        ("label_source", "u1"),
        ("translation", "<f4", (3,)),
        ("camera", "<f4", (3,)),  # Tracklet.camera_vectors()
        ("box", "<f4", (4,)),
        ("confidence", "<f4"),
        ("frame", "<i4"),
    ]
)
MOST_FRAMES = np.iinfo(np.int16).max  # the indices count no further


@dataclass(frozen=True, eq=False)
class Packed:
    """A tracklet as a store keeps it."""

    records: NDArray[Any]  # (T,) of RECORD
    appearance: HalfArray  # (K, D)
    labels: HalfArray  # (L, 80)
    row: dict[str, Any]  # index_row, and in a store where it lies

    def checksum(self) -> int:
        """CRC-32 of all its bytes."""
        sum_of_records = zlib.crc32(self.records.tobytes())
        return zlib.crc32(self.labels.tobytes(), zlib.crc32(self.appearance.tobytes(), sum_of_records))


def pack(tracklet: Tracklet) -> Packed:
    """A tracklet in records. Raises BadInput where a number is too large for float16, or a track too long."""
    if len(tracklet) > MOST_FRAMES:
        raise BadInput(tracklet.name, "length", f"at most {MOST_FRAMES} frames", len(tracklet))
    rounded = {field: _half(tracklet, field) for field in ("pose", "betas", "joints", "labels")}
    labels, appearance = rounded.pop("labels").astype(np.float32), tracklet.appearance
    if appearance is not None:
        appearance = _half(tracklet, "appearance").astype(np.float32)
    # Rows are told apart after rounding, as a reader of the store will tell them apart.
    table = tables(replace(tracklet, labels=labels, appearance=appearance))
    fields = rounded | {
        "pose": rounded["pose"].reshape(-1, 216),
        "camera": tracklet.camera_vectors(),
        "label_index": table.label_index,
        "appearance_index": table.appearance_index,
    }
    records = np.zeros(len(tracklet), RECORD)
    for field in RECORD.names or ():
        records[field] = fields[field] if field in fields else getattr(tracklet, field)
    if (records["frame"] != tracklet.frame).any():
        raise BadInput(tracklet.name, "frame", "numbers of 32 bits", tracklet.frame.max())
    vectors = np.zeros((0, 0), np.float32) if table.appearance is None else table.appearance
    return Packed(records, vectors.astype(np.float16), table.labels.astype(np.float16), index_row(tracklet))


def _half(tracklet: Tracklet, field: str) -> HalfArray:
    with np.errstate(over="ignore"):
        half = getattr(tracklet, field).astype(np.float16)
    if not np.isfinite(half).all():
        largest = np.abs(getattr(tracklet, field)).max()
        raise BadInput(tracklet.name, field, "numbers of at most 65504 (float16)", f"{largest:g}")
    return half


def index_row(tracklet: Tracklet) -> dict[str, Any]:
    """What a store's index says of a tracklet, but for where it lies."""
    height, width = tracklet.frame_size.tolist()
    source = tracklet.label_source[tracklet.detected]
    return {
        "name": tracklet.name,
        "dataset": tracklet.dataset,
        "video": tracklet.video,
        "keyframe": tracklet.keyframe,
        "track": tracklet.track,
        "scene": tracklet.scene,
        "height": height,
        "width": width,
        "depth_unit": tracklet.depth_unit,
        "own_camera": tracklet.camera is not None,
        "appearance_width": 0 if tracklet.appearance is None else tracklet.appearance.shape[1],
        "detected": int(tracklet.detected.sum()),
        "ground_truth": int((source == GROUND_TRUTH).sum()),  # detected frames that have it
        "pseudo": int((source == PSEUDO_LABEL).sum()),
    }


def unpack(packed: Packed, file: object) -> Tracklet:
    """The tracklet of these records and the index's row. Raises BadInput (naming `file`) on a wrong field."""
    records, row = packed.records, packed.row
    width = row["appearance_width"]
    appearance = _gather(file, "appearance_index", packed.appearance, records["appearance_index"])
    return Tracklet(
        name=row["name"],
        **parse_name(row["name"], file),
        frame=records["frame"].astype(np.int64),
        pose=records["pose"].astype(np.float32).reshape(-1, 24, 3, 3),
        betas=records["betas"].astype(np.float32),
        translation=records["translation"].copy(),
        joints=records["joints"].astype(np.float32),
        detected=records["detected"].astype(np.bool_),
        box=records["box"].copy(),
        frame_size=np.array([row["height"], row["width"]], np.int64),
        confidence=records["confidence"].copy(),
        labels=_gather(
            file, "label_index", packed.labels.reshape(-1, ava.CLASS_COUNT), records["label_index"]
        ),
        label_source=records["label_source"].astype(np.int8),
        appearance=appearance if width else None,
        camera=records["camera"].copy() if row["own_camera"] else None,
        depth_unit=row["depth_unit"],
    ).validate(file)


def _gather(file: object, field: str, table: HalfArray, index: NDArray[np.int16]) -> NDArray[np.float32]:
    """Rows table[index] (T, D), zero where the index is -1."""
    if index.min(initial=0) < -1 or index.max(initial=-1) >= len(table):
        raise BadInput(file, field, f"-1 to {len(table) - 1}", f"{index.min()} to {index.max()}")
    padded = np.concatenate([table, np.zeros((1, table.shape[1]), table.dtype)])
    return padded[index].astype(np.float32)


INDEX_SCHEMA: dict[str, Any] = {
    "name": pl.String,
    "dataset": pl.String,
    "video": pl.String,
    "keyframe": pl.Int32,
    "track": pl.Int32,
    "scene": pl.String,
    "height": pl.Int32,
    "width": pl.Int32,
    "depth_unit": pl.Float64,
    "own_camera": pl.Boolean,
    "appearance_width": pl.Int32,
    "detected": pl.Int32,
    "ground_truth": pl.Int32,
    "pseudo": pl.Int32,
    "length": pl.Int32,
    "frame_row": pl.Int64,  # its first record in the part
    "label_row": pl.Int64,
    "label_rows": pl.Int32,
    "appearance_start": pl.Int64,  # its first number in the part's appearance.npy
    "appearance_rows": pl.Int32,
    "checksum": pl.UInt32,
    "part": pl.Int32,
}


def read_index(path: Path, advice: str = "") -> pl.DataFrame:
    """The list of a store's tracklets, or of a part's. Raises BadInput for a damaged one, with `advice`."""
    return read_parquet(path, INDEX_SCHEMA, advice)


def part_name(number: int) -> str:
    """Folder of a part inside `parts`."""
    return f"part-{number:05d}"
