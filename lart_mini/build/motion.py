"""Rebuild data_samples/motion/ from registry packages: `python -m lart_mini.build motion`.

Made anew: the `*.npz` files and manifest.json, byte for byte. Read, because people wrote them: takes.csv,
labels.csv.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from lart_mini.build.formats import Motion, read_bvh, read_dae, read_deepmimic
from lart_mini.build.packages import ASSIMP, GAZEBO, MATRIX_ENGINE, PYBULLET, Package, fetch
from lart_mini.build.retarget import resample, retarget
from lart_mini.files import BadInput, atomic_path, sha256, write_npz
from lart_mini.people.body import FREE_BODY, Body, load_body
from lart_mini.people.clips import FRAMES_PER_SECOND, LIBRARY, SPLITS, STORED_JOINTS, read_table

_SIDES = {
    "UpLeg": 1,
    "Leg": 4,
    "Foot": 7,
    "ToeBase": 10,
    "Shoulder": 13,
    "Arm": 16,
    "ForeArm": 18,
    "Hand": 20,
}
_LIMBS = {
    f"{side}{name}": joint + k for name, joint in _SIDES.items() for k, side in enumerate(("Left", "Right"))
}
ACCAD = {"Hips": 0, "ToSpine": 3, "Spine": 6, "Spine1": 9, "Neck": 12, "Head": 15, **_LIMBS}
CMU = {"Hips": 0, "LowerBack": 3, "Spine": 6, "Spine1": 9, "Neck1": 12, "Head": 15, **_LIMBS}
BOXING = {
    "Hips": 0, "LeftHip": 1, "RightHip": 2, "Ab": 3, "LeftKnee": 4, "RightKnee": 5, "LeftAnkle": 7,
    "RightAnkle": 8,
    "Chest": 9, "LeftToes": 10, "RightToes": 11, "Neck": 12, "LeftCollar": 13, "RightCollar": 14, "Head": 15,
    "LeftShoulder": 16, "RightShoulder": 17, "LeftElbow": 18, "RightElbow": 19, "LeftWrist": 20,
    "RightWrist": 21,
}  # fmt: skip
DEEPMIMIC = {
    "root": 0, "left_hip": 1, "right_hip": 2, "spine1": 3, "left_knee": 4, "right_knee": 5, "spine2": 6,
    "left_ankle": 7, "right_ankle": 8, "chest": 9, "neck": 12, "head": 15, "left_shoulder": 16,
    "right_shoulder": 17,
    "left_elbow": 18, "right_elbow": 19, "left_wrist": 20, "right_wrist": 21,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where clips come from: package, folder in it, skeleton, licence (a file of data_samples/licences)."""

    package: Package
    folder: str
    joints: dict[str, int]
    licence: str
    licence_file: str
    attribution: str


SOURCES = {
    "accad": Source(
        MATRIX_ENGINE, "package/public/res/bvh", ACCAD, "CC-BY-3.0", "accad.txt",
        "ACCAD Motion Capture Lab, The Ohio State University: Female1"),
    "deepmimic": Source(
        PYBULLET, "pybullet_data/data/motions", DEEPMIMIC, "Zlib and MIT", "deepmimic.txt",
        "DeepMimic, Xue Bin Peng et al. 2018; distributed with Bullet, Erwin Coumans et al."),
    "cmu": Source(
        ASSIMP, "./usr/share/assimp/models/BVH", CMU, "free to use (CMU)", "cmu.txt",
        "CMU Graphics Lab Motion Capture Database, mocap.cs.cmu.edu"),
    "boxing": Source(
        ASSIMP, "./usr/share/assimp/models/BVH", BOXING, "BSD-3-Clause", "assimp.txt",
        "Open Asset Import Library (assimp) test models; the performer is not named"),
    "gazebo": Source(
        GAZEBO, "./usr/share/gazebo-11/media/models", CMU, "Apache-2.0 and free to use (CMU)", "gazebo.txt",
        "Open Source Robotics Foundation (Gazebo); motion: CMU Graphics Lab Motion Capture Database"),
}  # fmt: skip


@dataclass(frozen=True)
class Take:
    """A row of takes.csv. `floor`: clip and frames that stand on the floor, "" for none."""

    clip: str
    source: str
    file: str
    performer: str
    take: str
    split: str
    split_frame: int | None
    partner: str | None
    gesture: bool
    floor: str


TAKE_COLUMNS = tuple(column.name for column in fields(Take))


def read_takes(path: Path) -> list[Take]:
    """takes.csv; raises BadInput for an unknown source or split and for a time split without its frame."""
    takes = []
    for row in read_table(path, TAKE_COLUMNS):
        if row["source"] not in SOURCES:
            raise BadInput(path, f"{row['clip']}: source", list(SOURCES), row["source"])
        if row["split"] not in SPLITS or (row["split"] == "time") != bool(row["split_frame"]):
            raise BadInput(path, f"{row['clip']}: split", f"{SPLITS}, a split_frame with time", row["split"])
        takes.append(
            Take(
                row["clip"],
                row["source"],
                row["file"],
                row["performer"],
                row["take"],
                row["split"],
                int(row["split_frame"]) if row["split_frame"] else None,
                row["partner"] or None,
                row["gesture"] == "yes",
                row["floor"],
            )
        )
    return takes


def open_package(path: Path) -> Callable[[str], bytes]:
    """A reader of single files inside a package (.whl, .tgz or .deb)."""
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).read
    content = path.read_bytes()
    archive = tarfile.open(fileobj=io.BytesIO(_deb_data(content, path) if path.suffix == ".deb" else content))

    def read(name: str) -> bytes:
        file = archive.extractfile(name)
        if file is None:
            raise BadInput(path, name, "a file", "something else")
        return file.read()

    return read


def _deb_data(content: bytes, path: Path) -> bytes:
    """The data.tar.* member of a .deb, an `ar` archive: 60-byte headers, members padded to even lengths."""
    place = 8
    while place < len(content):
        name = content[place : place + 16].decode().strip(" /")
        size = int(content[place + 48 : place + 58])
        if name.startswith("data.tar"):
            return content[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise BadInput(path, "data.tar", "a member of that name", "none")


def read_motion(take: Take, read: Callable[[str], bytes]) -> Motion:
    """The take's motion as its file has it, without CMU's first frame (a T-pose nobody performed)."""
    joints, name = SOURCES[take.source].joints, f"{SOURCES[take.source].folder}/{take.file}"
    text = read(name).decode("utf-8", errors="replace")
    if name.endswith(".txt"):
        return read_deepmimic(text, name)
    if name.endswith(".dae"):
        left, right = (next(k for k, joint in joints.items() if joint == hip) for hip in (1, 2))
        return read_dae(text, name, 120, (left, right))
    motion = read_bvh(text, name)
    if joints is not CMU:
        return motion
    return Motion(
        motion.names,
        motion.rotations[1:],
        motion.positions[1:],
        motion.rest_rotations,
        motion.rest_positions,
        motion.times[:-1],
    )


def sole_heights(body: Body, pose: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Height (T,) of the lowest foot vertex above y = 0, metres."""
    feet = np.flatnonzero(body.weights[:, [7, 8, 10, 11]].sum(1) > 0.5)
    return body.points(pose, None, translation, feet)[..., 1].min(1)


def _height_scales(
    takes: list[Take], motions: dict[str, tuple[np.ndarray, np.ndarray]], body: Body
) -> dict[str, float]:
    """Factor on each clip's heights that puts the soles on the floor over the frames that `floor` names.

    The performers' ankles stand higher or lower above the floor than the body's. Moving the whole clip would
    sink or lift whoever lies on the floor; a scale keeps the capture's floor where it is, at y = 0.
    """
    scales = {}
    for take in takes:
        if not take.floor:
            continue
        clip, _, span = take.floor.partition(":")
        first, _, last = span.partition("-")
        pose, translation = (values[int(first) : int(last) + 1] for values in motions[clip])
        soles = sole_heights(body, pose, translation)
        scales[take.clip] = float(np.median(1 - soles / translation[:, 1]))
    return scales


def convert(takes: list[Take], downloads: Path | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every take as pose (T,24,3,3) and pelvis (T,3) at 30 frames a second, on the floor."""
    body = load_body(FREE_BODY)  # always the free one, so that a user's SMPL file does not change the library
    rest = body.rest_joints().astype(np.float64)
    readers = {
        package: open_package(fetch(package, downloads))
        for package in dict.fromkeys(SOURCES[take.source].package for take in takes)
    }
    motions = {}
    for take in takes:
        source = SOURCES[take.source]
        motion = read_motion(take, readers[source.package])
        motions[take.clip] = resample(*retarget(motion, source.joints, rest), motion.times)
    scales = _height_scales(takes, motions, body)
    return {
        clip: (pose, translation * [1.0, scales.get(clip, 1.0), 1.0])
        for clip, (pose, translation) in motions.items()
    }


def manifest(takes: list[Take], frames: dict[str, int], folder: Path) -> dict[str, object]:
    """manifest.json: sources with package, licence and checksum, and clips with their origin."""
    sources = {}
    for name, source in SOURCES.items():
        path = folder / f"{name}.npz"
        sources[name] = {
            "package": asdict(source.package),
            "folder": source.folder,
            "licence": source.licence,
            "licence_file": source.licence_file,
            "attribution": source.attribution,
            "file": path.name,
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
        }
    clips = {take.clip: {**asdict(take), "frames": frames[take.clip]} for take in takes}
    for clip in clips.values():
        del clip["clip"]
    return {"frames_per_second": FRAMES_PER_SECOND, "sources": sources, "clips": clips}


def build(folder: Path = LIBRARY, downloads: Path | None = None) -> dict[str, int]:
    """Make the library's npz files and manifest in `folder` from its takes.csv; frames per clip."""
    takes = read_takes(LIBRARY / "takes.csv")
    motions = convert(takes, downloads)
    for name in SOURCES:
        arrays = {}
        for take in takes:
            if take.source == name:
                pose, translation = motions[take.clip]
                turns = Rotation.from_matrix(pose[:, :STORED_JOINTS].reshape(-1, 3, 3)).as_rotvec()
                arrays[f"{take.clip}/pose"] = turns.reshape(-1, STORED_JOINTS, 3).astype(np.float16)
                # A tenth of a millimetre: last bits in which two machines' arithmetic may differ stay out of
                # the file.
                arrays[f"{take.clip}/translation"] = np.round(translation, 4).astype(np.float32)
        write_npz(folder / f"{name}.npz", arrays)
    frames = {clip: len(pose) for clip, (pose, _) in motions.items()}
    text = json.dumps(manifest(takes, frames, folder), indent=1, ensure_ascii=False) + "\n"
    with atomic_path(folder / "manifest.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return frames
