"""Evaluation: AVA's files, the boxes that are scored, frame mAP, and what is wrong with a file (07)."""

from lart_mini.evaluation.accuracy import Accuracy, accuracy, draw_takes
from lart_mini.evaluation.answers import ANSWERS, asked, read_answers
from lart_mini.evaluation.ava_csv import (
    CORNERS,
    csv_schema,
    read_detections,
    read_excluded,
    read_groundtruth,
    write_detections,
    write_groundtruth,
)
from lart_mini.evaluation.class_list import read_classes
from lart_mini.evaluation.diagnosis import diagnose
from lart_mini.evaluation.frame_map import (
    POLICIES,
    Evaluation,
    Policy,
    average_precision,
    compare,
    evaluate,
    evaluate_files,
    iou,
    mean,
    precision_recall,
)
from lart_mini.evaluation.fusion import fuse_files
from lart_mini.evaluation.intervals import (
    Draws,
    Estimate,
    Resampled,
    draw,
    estimate,
    half_interval,
    resample,
    weighted_ap,
)
from lart_mini.evaluation.key_boxes import KeyBoxes, at_key_boxes, ava_rows, key_boxes, pooled
from lart_mini.evaluation.pose_error import align, heading_error, mpjpe, p_mpjpe
from lart_mini.evaluation.remarks import remarks
from lart_mini.evaluation.report import report_text

__all__ = [
    "ANSWERS",
    "CORNERS",
    "POLICIES",
    "Accuracy",
    "Draws",
    "Estimate",
    "Evaluation",
    "KeyBoxes",
    "Policy",
    "Resampled",
    "accuracy",
    "align",
    "asked",
    "at_key_boxes",
    "ava_rows",
    "average_precision",
    "compare",
    "csv_schema",
    "diagnose",
    "draw",
    "draw_takes",
    "estimate",
    "evaluate",
    "evaluate_files",
    "fuse_files",
    "half_interval",
    "heading_error",
    "iou",
    "key_boxes",
    "mean",
    "mpjpe",
    "p_mpjpe",
    "pooled",
    "precision_recall",
    "read_answers",
    "read_classes",
    "read_detections",
    "read_excluded",
    "read_groundtruth",
    "remarks",
    "report_text",
    "resample",
    "weighted_ap",
    "write_detections",
    "write_groundtruth",
]
