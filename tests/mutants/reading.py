"""Mistakes in the readers of files that others made."""

from __future__ import annotations

from mutants import Mutant

READING = "lart_mini/reading"
HOSTILE = "tests/test_hostile_files.py"

MUTANTS = [
    Mutant(
        "deep keys are hashed",
        f"{READING}/unpickler.py",
        "if inner is not key or not all(type(one) in FLAT for one in key):",
        "if kind is list:",
        (f"{HOSTILE}::test_hostile_pickles_are_one_line",),
    ),
    Mutant(
        "opcodes cost nothing",
        f"{READING}/unpickler.py",
        "budget.size -= COSTS[code]",
        "budget.size -= 0",
        (f"{HOSTILE}::test_hostile_pickles_are_one_line",),
    ),
    Mutant(
        "a name of numpy may be called",
        f"{READING}/pickles.py",
        '    "numpy.ndarray": None,',
        '    "numpy.ndarray": lambda unpickler, arguments: np.ndarray(*arguments),',
        (f"{HOSTILE}::test_pointers_in_an_smpl_file_are_not_followed",),
    ),
    Mutant(
        "an SMPL file's object that holds itself is followed for ever",
        "lart_mini/people/smpl_file.py",
        'state["x"], depth - 1)',
        'state["x"], depth)',
        (f"{HOSTILE}::test_an_object_that_holds_itself_is_refused",),
    ),
    Mutant(
        "a folder's name is a pattern",
        f"{READING}/parquet.py",
        "glob=False",
        "glob=True",
        ("tests/test_reading_tables.py::test_a_parquet_table_is_the_one_of_its_name",),
    ),
    Mutant(
        "entries are put into anything",
        f"{READING}/unpickler.py",
        "if type(target) is not dict:",
        "if target is None:",
        (f"{HOSTILE}::test_hostile_pickles_are_one_line",),
    ),
    Mutant(
        "what holds itself over and over is handed out",
        f"{READING}/pickles.py",
        "        count_values(content, most // BYTES_A_VALUE, DEEPEST)\n",
        "",
        (f"{HOSTILE}::test_hostile_pickles_are_one_line",),
    ),
    Mutant(
        "tensors are passed over in silence",
        f"{READING}/pickles.py",
        "    if skipped:\n",
        "    if skipped and not warn:\n",
        (f"{HOSTILE}::test_tensors_that_nobody_needs_are_passed_over_with_one_warning",),
    ),
    Mutant(
        "the demo's smoothed depths are taken for metres",
        "lart_mini/tracklets/released.py",
        "near = told / 2 < depth < 2 * told and",
        "near = depth == told and",
        (f"{HOSTILE}::test_tensors_that_nobody_needs_are_passed_over_with_one_warning",),
    ),
    Mutant(
        "a tensor may reach beyond its numbers",
        f"{READING}/torch_files.py",
        "if prod(shape) > len(numbers) or",
        "if",
        (f"{HOSTILE}::test_a_tensor_lies_within_its_numbers",),
    ),
    Mutant(
        "a checkpoint's weights may be anything",
        "lart_mini/training/checkpoints.py",
        "tensor.dtype not in FLOATS or not tensor.isfinite().all()",
        "tensor.dtype not in FLOATS",
        (f"{HOSTILE}::test_weights_and_stats_of_a_checkpoint_are_finite",),
    ),
    Mutant(
        "a YAML alias counts as one value",
        f"{READING}/text.py",
        "self.count += self.sizes[id(node)] if alias else 1",
        "self.count += 1",
        ("tests/test_reading_text.py::test_yaml_that_costs_too_much_or_is_none",),
    ),
]
