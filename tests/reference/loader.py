"""A batch put together sample by sample and person by person, as section 3.1 reads; slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lart_mini.lart.assembly import assemble_prepared, collate, prepare


def one_by_one(
    dataset: Any, tracklets: Sequence[Any], stats: Any, **chosen: Any
) -> Callable[[Sequence[int]], Any]:
    """Items of a TrackletDataset to their batch; what of a tracklet never changes is worked out once."""
    width = dataset.appearance_width
    prepared = [prepare(t, stats, width=width, assembly=dataset.assembly, **chosen) for t in tracklets]

    def batch(indices: Sequence[int]) -> Any:
        samples = []
        for draw in map(dataset.draw, indices):
            others = (prepared[other] for other in draw.others)
            room: Any = {"frames": dataset.frames, "people": dataset.people, "assembly": dataset.assembly}
            sample = assemble_prepared(prepared[draw.ego], others, start=draw.start, **room)
            samples.append(sample.with_mask(dataset.masks([draw], sample.detected).get("masked")))
        return collate(samples)

    return batch
