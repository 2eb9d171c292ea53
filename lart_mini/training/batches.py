"""Batches of items with like sizes, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from lart_mini.lart.tokens import TokenBatch


def whole(batch: Any) -> TokenBatch:
    """`collate_fn` of a DataLoader over a data set that makes whole batches itself (`__getitems__`)."""
    return batch


class BucketSampler(Sampler[list[int]]):
    """Batches of items with like counts (of people, or tokens), for DataLoader's `batch_sampler`.

    Deterministic in (seed, epoch). Every item comes once an epoch; at most one batch is short. With
    `world` processes, process `rank` gets every world-th item of each batch: together they see the batches
    that one process would see, and a share of the short batch may be empty.
    """

    def __init__(
        self,
        counts: Sequence[int],
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is outside a world of {world}")
        self.counts, self.batch_size, self.shuffle = np.asarray(counts), batch_size, shuffle
        self.seed, self.epoch, self.rank, self.world, self.skip = seed, 0, rank, world, skip

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch whose order __iter__ gives, and how many of its batches were done before."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        """Batches of a whole epoch, those to be skipped too."""
        return -(-len(self.counts) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.counts)) if self.shuffle else np.arange(len(self.counts))
        order = order[np.argsort(self.counts[order], kind="stable")]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        if self.shuffle:
            batches = [batches[i] for i in generator.permutation(len(batches))]
        for batch in batches[self.skip :]:
            yield batch[self.rank :: self.world]
