"""Mistakes in the blanks of 02_smpl_tokens."""

from __future__ import annotations

MISTAKES: dict[str, list[tuple[str, str, str]]] = {
    "rodrigues": [
        ("np.sin(angle) * K", "-np.sin(angle) * K", "the other way round"),
        ("* K @ K", "* K * K", "a product of matrices"),
        ("vector / angle", "vector", "a unit axis"),
        ("if angle == 0:\n        return np.eye(3)\n    ", "", "example 3"),
    ],
    "joints_of": [
        ("G, x = [pose[0]], [place]", "G, x = [pose[0]], [rest[0]]", "has to be at `place`"),
        ("x[parent] + G[parent] @", "x[parent] + G[j] @", "not by its own"),
        ("x[parent] + G[parent] @", "x[parent] + pose[parent] @", "the whole chain"),
        ("G[parent] @ pose[j]", "pose[j] @ G[parent]", "in this order"),
    ],
    "in_camera": [
        ("seen[:, 0] = C @ pose[:, 0]", "seen = C @ pose", "all 24 rotations"),
        ("C @ pose[:, 0]", "pose[:, 0] @ C", "from the left"),
        ("(place - position) @ C.T", "place @ C.T - position", "subtract it first"),
        ("C @ pose[:, 0]", "C.T @ pose[:, 0]", "part 0"),
    ],
    "person_vectors": [
        ("[orientation, body,", "[body, orientation,", "equation 4's order"),
        ("betas, place]", "place, betas]", "shape and place"),
        ("body.reshape", "body.swapaxes(-1, -2).reshape", "first at [0, 10]"),
        ("pose[:, :1], pose[:, 1:]", "(p := pose.swapaxes(-1, -2))[:, :1], p[:, 1:]", "column by column"),
    ],
    "normalise_vectors": [
        ("rows.mean(axis=0), rows.std(axis=0)", "rows.mean(), rows.std() * np.ones(229)", "along the frames"),
        ("rows = vectors[detected]", "rows = vectors", "have been counted"),
        ("std[std < 1e-6] = 1", "pass", "never changes"),
        ("(vectors - mean)", "vectors", "not subtracted"),
    ],
}
