"""The notebooks as a course: blanks with checks, and editions for students, instructors and nbgrader."""

from lart_mini.course.check import Blank, NotAttempted, NotRight, Slip, Wrong, hold_against
from lart_mini.course.registry import BLANKS, check

__all__ = [
    "BLANKS",
    "Blank",
    "NotAttempted",
    "NotRight",
    "Slip",
    "Wrong",
    "check",
    "hold_against",
]
