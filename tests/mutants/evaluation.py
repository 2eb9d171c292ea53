"""Mistakes in the evaluator, its sort, its heap, its reader and its diagnosis."""

from __future__ import annotations

from mutants import Mutant

PACKED = "lart_mini/evaluation/packed_sort.py"
MAP, CSV = "lart_mini/evaluation/frame_map.py", "lart_mini/evaluation/ava_csv.py"
TABLES = "lart_mini/reading/tables.py"
HEAP, DIAGNOSIS = "lart_mini/evaluation/activitynet_heap.py", "lart_mini/evaluation/diagnosis.py"
TEST = "tests/test_evaluation.py::"
LITERAL, BY_HAND = f"{TEST}test_equals_the_literal_version", f"{TEST}test_average_precision_by_hand"
HEAPS, FIFTY = (
    f"{TEST}test_heap_keeps_the_readers_rows_in_its_order",
    f"{TEST}test_which_of_equal_rows_the_cap_keeps",
)
SORT = f"{TEST}test_packed_sort_is_the_plain_one"

MUTANTS = [
    Mutant(
        "half an overlap is not enough",
        MAP,
        "(overlap >= IOU_THRESHOLD)",
        "(overlap > IOU_THRESHOLD)",
        (LITERAL,),
    ),
    Mutant("51 rows of a frame count", MAP, "cap=50)", "cap=51)", (FIFTY,)),
    Mutant("frames of one second are one frame", MAP, "frame=video * 2**32 + ", "frame=", (LITERAL,)),
    Mutant(
        "equal scores in no order of arrival",
        PACKED,
        "np.lexsort((order[member], ",
        "np.lexsort((-order[member], ",
        (SORT,),
    ),
    Mutant(
        "of equal scores the first comes first",
        MAP,
        "order = len(score) - 1 - by_group_and_score(rows.action[::-1], score[::-1])",
        "order = by_group_and_score(rows.action, score)",
        (LITERAL,),
    ),
    Mutant(
        "scores that differ in their last bits are equal",
        PACKED,
        "if np.any(score[order[first + 1]] > score[order[first]]):",
        "if False:",
        (SORT,),
    ),
    Mutant(
        "a negative score sorts by its bits",
        PACKED,
        "falling ^= (falling >> 63)",
        "falling ^= 0 * (falling >> 63)",
        (SORT,),
    ),
    Mutant(
        "labels of excluded frames count as missed",
        MAP,
        "if not rules.excluded_truth:",
        "if False:",
        (f"{TEST}test_excluded_frames",),
    ),
    Mutant(
        "excluded frames stay",
        MAP,
        "frames = frames.filter(~frames.is_in(keys.implode()))",
        "pass",
        (LITERAL,),
    ),
    Mutant(
        "a class without ground truth counts as 0",
        MAP,
        "result = dict.fromkeys(self.classes, math.nan)",
        "result = dict.fromkeys(self.classes, 0.0)",
        (BY_HAND,),
    ),
    Mutant(
        "rank counted from 0", MAP, "place = 1 + np.flatnonzero", "place = 0 + np.flatnonzero", (BY_HAND,)
    ),
    Mutant(
        "a box is found as often as it is claimed",
        MAP,
        "hits[row[part][claimer[winner[new]]]] = True",
        "hits[row[part][claimer]] = True",
        (LITERAL,),
    ),
    Mutant(
        "an equal score drives out the smallest",
        HEAP,
        "elif row[0] > heap[0][0]:",
        "elif row[0] >= heap[0][0]:",
        (FIFTY, HEAPS),
    ),
    Mutant(
        "a tie at the cut is not played",
        HEAP,
        "return np.concatenate((at_cut, frame[member[first[size > 1]]]))",
        "return frame[member[first[size > 1]]]",
        (HEAPS,),
    ),
    Mutant(
        "blank lines at the end are rows",
        TABLES,
        " and not _ends_blank(end)",
        "",
        ("tests/test_ava.py",),
    ),
    Mutant("a name in brackets is a pattern", CSV, "glob=False", "glob=True", ("tests/test_ava.py",)),
    Mutant(
        "not a number lies in the frame",
        CSV,
        "faults = [(pl.col(corner).is_between(LEAST, MOST).not_(), corner, inside)",
        "faults = [((pl.col(corner) < LEAST) | (pl.col(corner) > 1e9), corner, inside)",
        ("tests/test_ava.py",),
    ),
    Mutant(
        "a repair is told wherever it helps a little",
        DIAGNOSIS,
        "MUCH = 0.1",
        "MUCH = -1",
        ("tests/test_diagnosis.py",),
    ),
]
