"""An evaluation as text: the classes, the categories, the counts, and what is wrong."""

from __future__ import annotations

import math

from lart_mini import ava
from lart_mini.evaluation.diagnosis import diagnose
from lart_mini.evaluation.frame_map import Evaluation
from lart_mini.evaluation.remarks import remarks


def report_text(evaluation: Evaluation) -> str:
    """Per-class table in percent, the categories, the counts, remarks and diagnosis, as lines to print."""
    lines = [f"{'class':<42}{'group':>6}{'AP %':>8}"]
    for action, value in evaluation.per_class.items():
        name, category = evaluation.classes[action], evaluation.category(action)
        lines.append(f"{action:>2} {name:<39}{category:>6}{_percent(value):>8}")
    lines.append("")
    present = {evaluation.category(action) for action in evaluation.classes}
    for category, value in evaluation.by_category.items():
        if category not in present:
            continue
        lines.append(f"{category} {ava.CATEGORIES[category]:<45}{_percent(value):>8}")
    lines.append(f"{'mAP, policy ' + evaluation.policy:<48}{_percent(evaluation.mean_ap):>8}")
    lines.append("")
    lines += [f"{name.replace('_', ' '):<44}{value:>12,}" for name, value in evaluation.counts.items()]
    findings = remarks(evaluation) + diagnose(evaluation)
    return "\n".join([*lines, *([""] if findings else []), *(f"! {finding}" for finding in findings)])


def _percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.2f}"
