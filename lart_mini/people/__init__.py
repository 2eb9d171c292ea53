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
from lart_mini.people.clips import LIBRARY, Clip, Contact, load_contacts, load_library, mirror

__all__ = [
    "FREE_BODY",
    "JOINT_NAMES",
    "LIBRARY",
    "PARENTS",
    "Body",
    "Clip",
    "Contact",
    "forward_kinematics",
    "global_rotations",
    "load_body",
    "load_contacts",
    "load_library",
    "local_rotations",
    "mirror",
]
