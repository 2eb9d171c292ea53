"""Logistic regression, literally: one class at a time, in double precision, by a general minimiser."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


def fit_class(inputs: np.ndarray, targets: np.ndarray, decay: float) -> tuple[np.ndarray, float]:
    """Weight (F,) and bias that minimise mean cross-entropy of targets (N,) + decay · |weight|²."""
    inputs, targets = inputs.astype(np.float64), targets.astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = parameters[:-1], parameters[-1]
        logits = inputs @ weight + bias
        chance = 1 / (1 + np.exp(-logits))
        entropy = np.logaddexp(0, logits) - targets * logits
        error = (chance - targets) / len(targets)
        slope = np.append(inputs.T @ error + 2 * decay * weight, error.sum())
        return float(entropy.mean() + decay * weight @ weight), slope

    start = np.zeros(inputs.shape[1] + 1)
    tight = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=tight)
    return found.x[:-1], float(found.x[-1])
