"""Mistakes in the blanks of 03_detections_to_tracklets."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "kalman_predict": [
        (" + np.outer(q, q)", "", "q qᵀ to the covariance"),
        ("np.outer(q, q)", "np.diag(q * q)", "one unrest moves"),
        ("damping]]", "1]]", "keeps all of itself"),
        ("F @ P @ F.T", "F.T @ P @ F", "wrong sides"),
        ("[[1, 1], [0, damping]]", "[[1, 0], [1, damping]]", "turned over"),
    ],
    "kalman_update": [
        ("noise**2", "noise", "has its square"),
        (" + noise**2", "", "taken for the truth"),
        ("(measured - s[0])", "(s[0] - measured)", "surprise is turned round"),
        (" - np.outer(K, P[0])", "", "surer afterwards"),
        ("P[:, 0] / (", "P[0, 0] / (", "first at [1]"),
    ],
    "distance_cost": [
        ("ours - strangers", "strangers - ours", "changed places"),
        ("/ freedom)", ")", "mean / k"),
        (" + failure", "", "below −ln ε"),
        ("-np.log(", "np.log(", "sign is turned round"),
    ],
    "assign_pairs": [
        ("np.minimum(cost - gate, 0)", "cost - gate", "after the choice"),
        (" if worth[k, n] < 0", "", "beyond the gate is made"),
        ("linear_sum_assignment(worth)", "np.arange(len(worth)), worth.argmin(axis=1)", "two tracks have"),
        ("cost - gate", "cost", "compared with 0"),
    ],
}
