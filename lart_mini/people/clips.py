"""The motion library: clips of real people's motion as SMPL poses, 30 frames a second, labelled by hand.

World frame: metres, y up, floor at y = 0. data_samples/motion/ holds five things: `*.npz` (the motion, one
file per source), `manifest.json` (where each clip comes from, made by the build), and by hand `takes.csv`
(performer, take and split of each clip), `labels.csv` (AVA ids by frame ranges) and `contacts.csv` (where
hands touch the carton that was in the capture).

`python -m lart_mini.build motion` makes the motion anew from the registry packages it was taken from.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from lart_mini.files import BadInput, shipped
from lart_mini.reading.arrays import Archive, open_npz
from lart_mini.reading.text import read_json

FRAMES_PER_SECOND = 30
LIBRARY: Path = shipped("data_samples") / "motion"
CONTACTS = "contacts.csv"  # where hands touch what was in the capture; pixels alone show it
HANDS = {"both": (True, True), "left": (True, False), "right": (False, True)}
SPLITS = ("train", "val", "test", "time")
STORED_JOINTS = 22  # no source has fingers: SMPL's two hand joints stay unturned and are not stored
# SMPL's left and right joints change places in a mirror.
MIRRORED_JOINTS = np.array(
    [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
)
FLIP = np.array([-1, 1, 1], np.float32)  # what a mirror does to x, y, z
# What a clip takes from the manifest, and of which types.
ENTRY: dict[str, tuple[type, ...]] = {
    "frames": (int,),
    **dict.fromkeys(("source", "performer", "take", "split"), (str,)),
    "split_frame": (int, type(None)),
    "partner": (str, type(None)),
}


@dataclass(frozen=True, eq=False)
class Clip:
    """One person's motion over T frames, for the body with zero betas."""

    name: str
    source: str  # accad, deepmimic, cmu, boxing or gazebo
    performer: str
    take: str  # clips of one take (siblings T2, S2, both people of a pair) share it
    split: str  # train, val, test (other performers), or time: train before split_frame, val after it
    split_frame: int | None
    partner: str | None  # the clip that was captured together with this one, in the same world frame
    pose: np.ndarray  # (T,24,3,3) local rotations, joint 0 = orientation in the world
    translation: np.ndarray  # (T,3) pelvis, metres
    labels: np.ndarray  # (T,80) uint8, AVA ids 1…80 in columns 0…79; a row of zeros is unlabelled

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True)
class Contact:
    """Frames `first` to `last` of a clip, in which hands touch the carton that was in the capture."""

    first: int
    last: int
    hands: tuple[bool, bool]  # left, right
    before: str  # where the carton is until then: on the floor, or held (the clip begins with it)
    after: str  # where it is from then on: on the floor, or held (the clip ends with it)


def mirror(clip: Clip) -> Clip:
    """The clip in a mirror: x turned over, left and right joints exchanged; a sibling of the original."""
    partner = None if clip.partner is None else _mirrored_name(clip.partner)
    return replace(
        clip,
        name=_mirrored_name(clip.name),
        partner=partner,
        pose=mirror_pose(clip.pose),
        translation=clip.translation * FLIP,
    )


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """Local rotations (…,24,3,3) in a mirror: x turned over, left and right joints exchanged."""
    # M R M for M = diag(FLIP): rows and columns of x change sign.
    return (FLIP[:, None] * pose * FLIP)[..., MIRRORED_JOINTS, :, :]


def _mirrored_name(name: str) -> str:
    return name.removesuffix("_mirrored") if name.endswith("_mirrored") else f"{name}_mirrored"


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file (UTF-8) with exactly these columns; lines that begin with # are comments.

    Raises BadInput for a missing file, for what is no text, and for other columns or fields than these.
    """
    if not path.is_file():
        raise BadInput(path, "file", "a CSV table", "nothing")
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = (line for line in text.splitlines() if not line.startswith("#"))
        rows = [row for row in csv.reader(lines) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(path, "file", "a CSV table in UTF-8", error) from None
    if rows[0] != list(columns):
        raise BadInput(path, "columns", list(columns), rows[0])
    for row in rows[1:]:
        if len(row) != len(columns):
            raise BadInput(path, f"row {','.join(row)}", f"{len(columns)} fields", len(row))
    return [dict(zip(columns, row, strict=True)) for row in rows[1:]]


def _number(text: str) -> int:
    """The whole number that a text is, -1 where it is none or longer than any here."""
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def read_labels(path: Path, lengths: dict[str, int]) -> dict[str, np.ndarray]:
    """labels.csv -> clip name -> (T,80) uint8, zeros in unlabelled frames; `lengths`: frames per clip.

    Raises BadInput for an unknown clip or AVA id and for a range outside the clip or over another.
    """
    labels = {name: np.zeros((length, 80), np.uint8) for name, length in lengths.items()}
    for row in read_table(path, ("clip", "first_frame", "last_frame", "actions")):
        name = row["clip"]
        if name not in labels:
            raise BadInput(path, "clip", "a clip of the manifest", name)
        first, last = _number(row["first_frame"]), _number(row["last_frame"])
        if first < 0 or last < 0:
            raise BadInput(path, name, "whole frame numbers", f"{row['first_frame']}…{row['last_frame']}")
        if not 0 <= first <= last < len(labels[name]):
            raise BadInput(path, name, f"frames within 0…{len(labels[name]) - 1}", f"{first}…{last}")
        if labels[name][first : last + 1].any():
            raise BadInput(path, name, "ranges that do not overlap", f"{first}…{last}")
        for action in row["actions"].split(";"):
            if not 1 <= _number(action) <= 80:
                raise BadInput(path, name, "AVA ids 1…80, parted by ;", row["actions"])
            labels[name][first : last + 1, _number(action) - 1] = 1
    return labels


def load_contacts(path: str | Path | None = None) -> dict[str, tuple[Contact, ...]]:
    """contacts.csv (default: of data_samples/motion) -> clip name -> its contacts, in their order.

    Raises BadInput for hands, places or frames that are none, and for ranges that overlap.
    """
    file = LIBRARY / CONTACTS if path is None else Path(path)
    found: dict[str, tuple[Contact, ...]] = {}
    for row in read_table(file, ("clip", "first_frame", "last_frame", "hands", "before", "after")):
        name, numbers = row["clip"], (row["first_frame"], row["last_frame"])
        first, last = map(_number, numbers)
        if not 0 <= first <= last:
            raise BadInput(file, name, "whole frame numbers, the first before the last", "…".join(numbers))
        if row["hands"] not in HANDS:
            raise BadInput(file, f"{name}: hands", " | ".join(HANDS), row["hands"])
        for field in ("before", "after"):
            if row[field] not in ("floor", "held"):
                raise BadInput(file, f"{name}: {field}", "floor | held", row[field])
        one = Contact(first, last, HANDS[row["hands"]], row["before"], row["after"])
        earlier = found.get(name, ())
        if earlier and one.first <= earlier[-1].last:
            raise BadInput(file, name, "ranges in their order that do not overlap", "…".join(numbers))
        found[name] = (*earlier, one)
    return found


def load_library(path: str | Path | None = None) -> dict[str, Clip]:
    """All clips of a motion library folder (default: data_samples/motion), by name, in the manifest's order.

    Raises BadInput naming file and field where the folder's files are missing or do not fit together.
    """
    folder = LIBRARY if path is None else Path(path)
    manifest_path = folder / "manifest.json"
    if not manifest_path.is_file():
        raise BadInput(manifest_path, "file", "the manifest of a motion library", "nothing")
    entries = _entries(manifest_path)
    labels = read_labels(folder / "labels.csv", {name: entry["frames"] for name, entry in entries.items()})
    clips = {}
    for source in sorted({entry["source"] for entry in entries.values()}):
        with open_npz(folder / f"{source}.npz") as stored:
            for name, entry in entries.items():
                if entry["source"] == source:
                    clips[name] = _clip(name, entry, stored, labels[name])
    return {name: clips[name] for name in entries}


def _entries(manifest: Path) -> dict[str, dict[str, Any]]:
    """The manifest's clips by name, each with all that a Clip takes from it."""
    content = read_json(manifest)
    entries = content.get("clips") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise BadInput(manifest, "clips", "entries by name", type(entries).__name__)
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not entry.keys() >= ENTRY.keys():
            raise BadInput(manifest, name, f"a dict with {', '.join(ENTRY)}", "others, or none")
        for field, kinds in ENTRY.items():
            if type(entry[field]) not in kinds:
                found = type(entry[field]).__name__
                raise BadInput(manifest, f"{name}: {field}", f"{kinds[0].__name__}", found)
        if entry["frames"] < 1 or Path(entry["source"]).name != entry["source"]:
            found = f"{entry['frames']} of {entry['source']}"
            raise BadInput(manifest, f"{name}: frames, source", "a number from 1 on, a file's name", found)
    return entries


def _clip(name: str, entry: dict[str, Any], stored: Archive, labels: np.ndarray) -> Clip:
    frames = entry["frames"]
    turns = stored.read(f"{name}/pose", (frames, STORED_JOINTS, 3)).astype(np.float64)  # axis-angle
    pose = np.tile(np.eye(3, dtype=np.float32), (frames, 24, 1, 1))
    pose[:, :STORED_JOINTS] = (
        Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(-1, STORED_JOINTS, 3, 3)
    )
    translation = stored.read(f"{name}/translation", (frames, 3))
    told = {field: entry[field] for field in ENTRY if field != "frames"}
    return Clip(name=name, pose=pose, translation=translation, labels=labels, **told)
