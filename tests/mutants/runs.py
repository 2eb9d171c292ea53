"""Mistakes in what runs the notebooks, keeps what they found, and draws it."""

from __future__ import annotations

from mutants import Mutant

REPRODUCE, KEPT, KERNEL = (
    "lart_mini/runs/reproduce.py",
    "lart_mini/runs/kept.py",
    "lart_mini/runs/kernel.py",
)
REPORT, FIGURES = "lart_mini/runs/report.py", "lart_mini/figures/model.py"
TESTS, PLOTS = "tests/test_reproduce.py", "tests/test_plots.py"

MUTANTS = [
    Mutant(
        "reproduce keeps weights of other code",
        KEPT,
        '"parts/*.json", "*.safetensors", ',
        '"parts/*.json", ',
        (f"{TESTS}::test_nothing_of_other_code_is_left",),
    ),
    Mutant(
        "training states of other code stay",
        KEPT,
        '"*.state", ',
        "",
        (f"{TESTS}::test_nothing_of_other_code_is_left",),
    ),
    Mutant(
        "weights go although the same code made them",
        KEPT,
        "if fresh or kept is None or kept.code != code:",
        "if True:",
        (f"{TESTS}::test_nothing_of_other_code_is_left",),
    ),
    Mutant(
        "files of others go from the folder of a run",
        REPRODUCE,
        "            check_own(run_dir)\n",
        "            pass\n",
        ("tests/test_runs_trouble.py::test_files_of_others_are_refused_and_stay",),
    ),
    Mutant(
        "the code's digest passes over folders",
        KEPT,
        "folder.rglob(pattern)",
        "folder.glob(pattern)",
        (f"{TESTS}::test_code_is_known_by_package_data_and_libraries",),
    ),
    Mutant(
        "another source of a notebook is not seen",
        KEPT,
        "[cell.source for cell in cells], ",
        "",
        (f"{TESTS}::test_what_has_changed_runs_again",),
    ),
    Mutant(
        "another parameter is not seen",
        KEPT,
        "[code, plan.threads, parameters, ",
        "[code, plan.threads, ",
        (f"{TESTS}::test_what_has_changed_runs_again",),
    ),
    Mutant(
        "what needs a notebook that changed is kept",
        KEPT,
        "for cell in cells], needed]",
        "for cell in cells]]",
        (f"{TESTS}::test_what_has_changed_runs_again",),
    ),
    Mutant(
        "a part recorded by hand passes for the notebook's",
        KEPT,
        'read_part(file)["notebook"] in kept.notebooks',
        'read_part(file)["notebook"] in (None, *kept.notebooks)',
        (f"{TESTS}::test_what_has_changed_runs_again",),
    ),
    Mutant(
        "a notebook does not wait for what it needs",
        REPRODUCE,
        "if not to_come & self.before(stem)]",
        "if to_come]",
        (f"{TESTS}::test_jobs_are_all_used",),
    ),
    Mutant(
        "notebooks run one after the other whatever --jobs says",
        REPRODUCE,
        "[: jobs - len(running)]",
        "[: 1 - len(running)]",
        (f"{TESTS}::test_jobs_are_all_used",),
    ),
    Mutant(
        "a failed notebook counts as run",
        REPRODUCE,
        '            tell(f"FAILED {failure}")\n            return\n',
        '            tell(f"FAILED {failure}")\n',
        (f"{TESTS}::test_same_command_goes_on_where_it_stopped",),
    ),
    Mutant(
        "what needs a failed notebook is run all the same",
        REPRODUCE,
        "if need in self.failures]",
        "if need in ()]",
        (f"{TESTS}::test_same_command_goes_on_where_it_stopped",),
    ),
    Mutant(
        "results.json is written before all have run",
        REPRODUCE,
        "if len(kept.notebooks) < len(plan.notebooks):",
        "if not kept.notebooks:",
        (f"{TESTS}::test_only_some_are_run_and_results_wait_for_all",),
    ),
    Mutant(
        "a notebook's threads are the machine's",
        KERNEL,
        '"OMP_NUM_THREADS": str(threads), ',
        "",
        (f"{TESTS}::test_threads_of_a_notebook_do_not_depend_on_jobs",),
    ),
    Mutant(
        "a cell that computes in silence is taken for a hang",
        KERNEL,
        "abs(now[0] - moved[0]) > BUSY * self.silence or ",
        "",
        (f"{TESTS}::test_silence_is_a_hang_and_work_is_not",),
    ),
    Mutant(
        "a cell that talks and waits is taken for a hang",
        KERNEL,
        " or now[1] != moved[1]",
        "",
        (f"{TESTS}::test_silence_is_a_hang_and_work_is_not",),
    ),
    Mutant(
        "fractions named by their key stay as they are",
        REPORT,
        "True if key in keys else percent_of",
        "percent_of",
        (f"{TESTS}::test_parts_are_shown_as_tables_that_can_be_read",),
    ),
    Mutant(
        "the ladder's interval is drawn from its value",
        FIGURES,
        "[100 * bottom, 100 * top]",
        "[100 * value, 100 * top]",
        (f"{PLOTS}::test_ladder_draws_its_interval_from_end_to_end_and_the_number_beyond_it",),
    ),
    Mutant(
        "a difference's interval is drawn from its mean",
        FIGURES,
        "[mean - around, mean + around]",
        "[mean, mean + around]",
        (f"{PLOTS}::test_differences_draw_mean_seeds_and_interval_and_name_what_is_far_off",),
    ),
]
