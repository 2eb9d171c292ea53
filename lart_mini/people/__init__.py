"""People: the body, files of bodies, and the library of captured motion (notebook 02)."""

from lart_mini.people.body import (
    FREE_BODY,
    JOINT_NAMES,
    PARENTS,
    Body,
    forward_kinematics,
    global_rotations,
    load_body,
    local_rotations,
)
from lart_mini.people.clips import LIBRARY, Clip, load_library, mirror

__all__ = [
    "FREE_BODY",
    "JOINT_NAMES",
    "LIBRARY",
    "PARENTS",
    "Body",
    "Clip",
    "forward_kinematics",
    "global_rotations",
    "load_body",
    "load_library",
    "local_rotations",
    "mirror",
]
