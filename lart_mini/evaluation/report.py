"""An evaluation as text: the classes, the categories, the counts, and what is wrong."""

from __future__ import annotations

import math

from lart_mini import ava
from lart_mini.evaluation.diagnosis import diagnose
from lart_mini.evaluation.frame_map import Evaluation


def report_text(evaluation: Evaluation) -> str:
    """Per-class table in percent, the categories, the counts and the diagnosis, as lines to print."""
    lines = [f"{'class':<42}{'group':>6}{'AP %':>8}"]
    for action, value in evaluation.per_class.items():
        known = ava.CLASSES[action - 1]
        lines.append(f"{action:>2} {known.name:<39}{known.category:>6}{_percent(value):>8}")
    lines.append("")
    for category, value in evaluation.by_category.items():
        lines.append(f"{category} {ava.CATEGORIES[category]:<45}{_percent(value):>8}")
    lines.append(f"{'mAP, policy ' + evaluation.policy:<48}{_percent(evaluation.mean_ap):>8}")
    lines.append("")
    lines += [f"{name.replace('_', ' '):<44}{value:>12,}" for name, value in evaluation.counts.items()]
    findings = diagnose(evaluation)
    return "\n".join([*lines, *([""] if findings else []), *(f"! {finding}" for finding in findings)])


def _percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"
