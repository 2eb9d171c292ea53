"""The evaluator's one sort: rows by frame and score, then by class and score."""

from __future__ import annotations

import numpy as np


def by_group_and_score(group: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Indices by ascending group and falling score, of equal scores in order of arrival; all (n,).

    group holds numbers from 0, score float64 without nan. Group, score and index are packed into one number
    of 64 bits each, since numpy sorts numbers several times as fast as it sorts indices by a key. The score
    gets the bits that are left; the few rows which those do not tell apart are sorted once more.
    """
    if not len(score):
        return np.empty(0, np.int64)
    falling = (score + 0.0).view(np.int64)  # + 0.0: of -0.0 and 0.0 the same
    falling ^= (falling >> 63) & np.int64(2**63 - 1)  # as integers the bits now rise with the scores
    np.subtract(falling.max(), falling, out=falling)
    packed = falling.view(np.uint64)  # a difference may take all 64 bits
    index_bits = len(score).bit_length()
    left = 64 - index_bits - int(group.max()).bit_length()
    packed >>= np.uint64(max(0, int(packed.max()).bit_length() - left))
    packed |= group.astype(np.uint64) << np.uint64(left)
    packed <<= np.uint64(index_bits)
    packed |= np.arange(len(score), dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64(2**index_bits - 1)).view(np.int64)
    packed >>= np.uint64(index_bits)
    alike = packed[1:] == packed[:-1]
    first = np.flatnonzero(alike)
    if np.any(score[order[first + 1]] > score[order[first]]):
        member = np.flatnonzero(np.append(alike, False) | np.insert(alike, 0, False))
        again = np.lexsort((order[member], -score[order[member]], packed[member]))
        order[member] = order[member[again]]
    return order
