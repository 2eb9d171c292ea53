"""How sure a mean is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def half_interval(values: Sequence[float]) -> float | None:
    """Half the width of the 95 % t-interval of the mean of two or more values, as of seeds; None of one."""
    from scipy.stats import t as student_t  # takes a second to import

    n = len(values)
    return float(student_t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
