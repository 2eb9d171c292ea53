"""Mistakes in what holds when something goes wrong: outputs, locks, options, damaged and interrupted runs."""

from __future__ import annotations

from mutants import Mutant

FILES, CLI, CACHE = "lart_mini/files.py", "lart_mini/cli.py", "lart_mini/data/cache.py"
RUNS, LOOP, STORE = "lart_mini/runs", "lart_mini/training/loop.py", "lart_mini/tracklets/conversion.py"
OF_FILES, OF_CLI, OF_RUNS = "tests/test_files.py", "tests/test_cli_trouble.py", "tests/test_runs_trouble.py"
OF_TRAINING, OF_CACHE = "tests/test_train_trouble.py", "tests/test_mini_ava.py"

MUTANTS = [
    Mutant(
        "a file replaces a link",
        FILES,
        "Path(os.path.realpath(path))\n        target.parent.mkdir",
        "Path(path)\n        target.parent.mkdir",
        (f"{OF_FILES}::test_a_link_stays_a_link_and_its_target_is_written",),
    ),
    Mutant(
        "a file replaces a device",
        FILES,
        "return not stat.S_ISREG(mode)",
        "return False",
        (f"{OF_FILES}::test_a_fifo_and_a_terminal_are_written_to",),
    ),
    Mutant(
        "the own output is opened anew",
        FILES,
        "if STREAM.fullmatch(Path(path).as_posix()):\n        return True",
        "if False:\n        return True",
        (f"{OF_FILES}::test_the_own_output_gets_its_place_in_the_order",),
    ),
    Mutant(
        "what was found is told whole",
        FILES,
        "return text if len(text) <= MOST_TOLD else",
        "return text if True else",
        (f"{OF_FILES}::test_telling_takes_no_longer_for_more",),
    ),
    Mutant(
        "what was found may break the line",
        FILES,
        'text = printable(" ".join',
        'text = str(" ".join',
        (
            f"{OF_FILES}::test_bad_input_is_one_line_of_bounded_length",
            f"{OF_FILES}::test_what_is_short_is_told_as_it_is_printed",
        ),
    ),
    Mutant(
        "the temporary file is named in an error",
        FILES,
        "and not temporary_name(trouble.filename)\n",
        "\n",
        (f"{OF_FILES}::test_what_cannot_be_written_is_told_before_and_changes_nothing",),
    ),
    Mutant(
        "a lock that was removed counts as taken",
        FILES,
        "(taken and _same_file(handle, path))",
        "taken",
        (f"{OF_FILES}::test_threads_too_come_one_after_the_other",),
    ),
    Mutant(
        "what is forked keeps the lock",
        FILES,
        "os.register_at_fork(after_in_child=_let_go)",
        "pass",
        (f"{OF_FILES}::test_what_is_forked_holds_no_lock",),
    ),
    Mutant(
        "sweeping takes the lock, too",
        FILES,
        "if temporary_name(path) and path.is_file():",
        "if path.is_file():",
        (f"{OF_FILES}::test_sweeping_takes_what_was_not_finished_and_nothing_else",),
    ),
    Mutant(
        "predict finds out at its end where it cannot write",
        CLI,
        "    writable(out)\n    model, statistics = read_model(checkpoint, stats)",
        "    model, statistics = read_model(checkpoint, stats)",
        (f"{OF_CLI}::test_outputs_are_tried_before_the_work",),
    ),
    Mutant(
        "the keyboard ends with the code of bad input",
        CLI,
        'return _tell_problem("stopped", code=130)',
        'return _tell_problem("stopped")',
        (f"{OF_CLI}::test_what_stops_a_command_is_one_line",),
    ),
    Mutant(
        "every RuntimeError is taken for too little memory",
        CLI,
        'and "memory" not in str(problem):',
        "and False:",
        (f"{OF_CLI}::test_a_mistake_of_ours_is_still_a_traceback",),
    ),
    Mutant(
        "nothing in sha256.json makes a data set whole",
        CACHE,
        "return read_json(path / DIGESTS) == {name: sha256(path / name) for name in files}",
        "return all(sha256(path / name) == digest for name, digest in read_json(path / DIGESTS).items())",
        (f"{OF_CACHE}::test_what_is_not_known_to_be_whole_is_composed_again",),
    ),
    Mutant(
        "whoever waited composes again",
        CACHE,
        "if not intact(path, files)]  # after the wait",
        "if True]  # after the wait",
        (f"{OF_CACHE}::test_several_at_once_get_the_same_whole_data_set",),
    ),
    Mutant(
        "what another is composing is swept away",
        CACHE,
        "if alone else ()",
        "if True else ()",
        (f"{OF_CACHE}::test_several_at_once_get_the_same_whole_data_set",),
    ),
    Mutant(
        "a step that is no number is taken",
        LOOP,
        "    if not math.isfinite(value) or not",
        "    if False and not",
        (f"{OF_TRAINING}::test_what_is_no_number_ends_it_with_the_last_good_state",),
    ),
    Mutant(
        "a gradient that is no number is taken",
        LOOP,
        " or not math.isfinite(norm):",
        ":",
        (f"{OF_TRAINING}::test_what_is_no_number_ends_it_with_the_last_good_state",),
    ),
    Mutant(
        "two trainings share a state",
        LOOP,
        "if state is None or not fabric.is_global_zero:",
        "if True:",
        (f"{OF_TRAINING}::test_the_same_training_is_done_once_at_a_time",),
    ),
    Mutant(
        "notebooks run on Jupyter's own python3",
        f"{RUNS}/kernel.py",
        "        manager.kernel_spec_manager = OwnKernel()\n",
        "",
        (f"{OF_RUNS}::test_notebooks_run_on_this_python_with_this_package_in_any_folder",),
    ),
    Mutant(
        "the report comes before the results",
        f"{RUNS}/reproduce.py",
        '    with atomic_path(run_dir / "results.json") as temporary:',
        '    write_report(results, [], run_dir / "report.html")\n'
        '    with atomic_path(run_dir / "results.json") as temporary:',
        (f"{OF_RUNS}::test_results_are_there_when_the_report_cannot_be_drawn",),
    ),
    Mutant(
        "a second run goes into the same folder",
        f"{RUNS}/reproduce.py",
        'with locked(run_dir, "run"):',
        "if True:",
        (f"{OF_RUNS}::test_a_second_run_is_refused_and_changes_nothing",),
    ),
    Mutant(
        "notebooks of another command stay",
        f"{RUNS}/kept.py",
        "        if notebook.stem not in kept.notebooks:\n            notebook.unlink()",
        "        pass",
        (f"{OF_RUNS}::test_what_stays_was_made_by_one_command",),
    ),
    Mutant(
        "a file's name stands in the page as it is",
        f"{RUNS}/report.py",
        "place, body = escape(notebook.stem), ",
        "place, body = notebook.stem, ",
        (f"{OF_RUNS}::test_a_notebooks_name_puts_nothing_into_the_page",),
    ),
    Mutant(
        "a dollar begins a formula",
        "lart_mini/figures/base.py",
        'return name.replace("$", r"\\$")',
        "return name",
        ("tests/test_plots.py::test_names_with_dollars_are_drawn_as_they_are",),
    ),
    Mutant(
        "two conversions write one store",
        STORE,
        'with locked(destination, "store", LOCK):',
        "if True:",
        ("tests/test_convert.py::test_two_processes_never_write_one_store",),
    ),
    Mutant(
        "a plan of parts of nothing is followed",
        STORE,
        'size = whole_number(path, "part_size", found.pop("part_size", None), 1)',
        'size = found.pop("part_size", None)',
        ("tests/test_convert.py::test_a_plan_that_is_none_is_one_line",),
    ),
]
