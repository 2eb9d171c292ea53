"""Tracking: detections, the tracker that links them, others' tracks, and how good a tracker is (03)."""

from lart_mini.tracking.detections import Detections
from lart_mini.tracking.detector import detect
from lart_mini.tracking.faults import Faults
from lart_mini.tracking.kalman import SPREAD, VALUE, predict, start, update
from lart_mini.tracking.metrics import TRUTH, Observed, judge, score, sequence
from lart_mini.tracking.mot import from_mot
from lart_mini.tracking.phalp import from_phalp
from lart_mini.tracking.tracker import Measured, Tracker, TrackerConfig, costs, track
from lart_mini.tracking.tracks import Track, follow, to_tracklets

__all__ = [
    "SPREAD",
    "TRUTH",
    "VALUE",
    "Detections",
    "Faults",
    "Measured",
    "Observed",
    "Track",
    "Tracker",
    "TrackerConfig",
    "costs",
    "detect",
    "follow",
    "from_mot",
    "from_phalp",
    "judge",
    "predict",
    "score",
    "sequence",
    "start",
    "to_tracklets",
    "track",
    "update",
]
