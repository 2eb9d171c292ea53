"""What a model is shown of people beside their poses, on rendered scenes."""

from __future__ import annotations

from functools import lru_cache

from lart_mini.appearance.looks import fit_projection, rendered_looks, with_appearance
from lart_mini.claims.fold_data import Fold
from lart_mini.data.rendered import Rendered
from lart_mini.tracklets.tracklet import Tracklet

WIDTH = 32  # of the vectors; chosen on folds of the laptop's training takes (benchmarks/appearance.py)
# Where people are looked at, and whether held things are drawn; None: they are not looked at. The first is
# mini_ava itself, with its own ground truth; all others have the rendered set's.
LOOKS: dict[str, tuple[str, bool] | None] = {
    "": None,
    "unseen": None,
    "box": ("box", True),
    "hands": ("hands", True),
    "hands, undrawn": ("hands", False),
}


@lru_cache(maxsize=4)
def looked_at(fold: Fold, split: str, looks: str) -> list[Tracklet]:
    """The fold's tracklets with the vectors of one of LOOKS, projected as its training tracks say."""
    data, tracklets, how = fold.data(), fold.tracklets(split), LOOKS[looks]
    if how is None:
        return tracklets
    assert isinstance(data, Rendered)
    pooling, drawn = how
    own = rendered_looks(data, split, drawn=drawn, jobs=1)
    learnt = own if split == "ava-train" else rendered_looks(data, "ava-train", drawn=drawn, jobs=1)
    return with_appearance(tracklets, own, fit_projection(learnt, pooling, WIDTH)(own))
