"""Mistakes in folds, in the statistics over takes and seeds, and in what experiments are given and keep."""

from __future__ import annotations

from mutants import Mutant

FOLDS, DATA = "lart_mini/data/folds.py", "lart_mini/data/mini_ava.py"
TAKES, STAGING = "lart_mini/scenes/takes.py", "lart_mini/scenes/staging.py"
INTERVALS = "lart_mini/evaluation/intervals.py"
INPUTS, EXPERIMENT = "lart_mini/claims/inputs.py", "lart_mini/claims/experiment.py"
BOXES, RUNNER = "lart_mini/claims/fold_data.py", "lart_mini/claims/runner.py"
ANSWERS, QUESTIONS = "lart_mini/claims/answers.py", "lart_mini/claims/questions.py"
IN_FOLDS, IN_INTERVALS, IN_CLAIMS = (
    "tests/test_folds.py::",
    "tests/test_intervals.py::",
    "tests/test_claims.py::",
)
WEIGHT_ONE = f"{IN_INTERVALS}test_weight_one_is_the_evaluator"
WHOLE = f"{IN_INTERVALS}test_whole_weights_are_a_table_with_takes_so_many_times"
POOLED = f"{IN_CLAIMS}test_an_answer_is_the_evaluation_of_all_folds_together"
HIDDEN = f"{IN_CLAIMS}test_hidden_frames_are_about_the_key_frame_and_the_egos"

MUTANTS = [
    # --------------------------------------------------------------------------------------------- folds
    Mutant(
        "frequent classes are dealt out first",
        FOLDS,
        "key=lambda action: (count[action], action))",
        "key=lambda action: (-count[action], action))",
        (f"{IN_FOLDS}test_rare_classes_are_dealt_out_before_frequent_ones",),
    ),
    Mutant(
        "a fold is chosen by its frames alone",
        FOLDS,
        "return sum(action in shown[take] for take in takes), sum(",
        "return 0, sum(",
        (f"{IN_FOLDS}test_a_class_of_as_many_takes_is_in_every_fold",),
    ),
    Mutant(
        "siblings part: folds of clips",
        FOLDS,
        "fold_of.get(clip.take) == number",
        "fold_of.get(name) == number",
        (f"{IN_FOLDS}test_every_take_is_held_out_once_with_its_siblings",),
    ),
    Mutant(
        "two takes make a headline",
        FOLDS,
        "LEAST_TAKES, LEAST_SOURCES = 3, 2",
        "LEAST_TAKES, LEAST_SOURCES = 2, 2",
        (f"{IN_FOLDS}test_the_headline_rests_on_three_takes_of_two_sources",),
    ),
    Mutant(
        "one source makes a headline",
        FOLDS,
        "LEAST_TAKES, LEAST_SOURCES = 3, 2",
        "LEAST_TAKES, LEAST_SOURCES = 3, 1",
        (f"{IN_FOLDS}test_the_headline_rests_on_three_takes_of_two_sources",),
    ),
    Mutant(
        "all folds share a folder",
        DATA,
        "digest.update(json.dumps(fold).encode())",
        "pass",
        (f"{IN_FOLDS}test_folds_have_folders_of_their_own",),
    ),
    Mutant(
        "an actor shows the first clip all the time",
        STAGING,
        "of = np.repeat(np.arange(len(takes)),",
        "of = np.repeat(np.zeros(len(takes), int),",
        (f"{IN_FOLDS}test_every_scored_box_names_the_clip_that_it_shows",),
    ),
    # ---------------------------------------------------------------------------------------- intervals
    Mutant(
        "no interpolation of precision",
        INTERVALS,
        "envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]",
        "envelope = precision",
        (WEIGHT_ONE,),
    ),
    Mutant(
        "false rows weigh nothing",
        INTERVALS,
        "np.add.at(seen, (between, own), 1)",
        "np.add.at(seen, (between, own), scored.true_positive[rows])",
        (WEIGHT_ONE,),
    ),
    Mutant(
        "ground truth is not weighted",
        INTERVALS,
        "[action, action + 1])), padded @ counted",
        "[action, action + 1])), np.full(len(padded), counted.sum())",
        (WHOLE,),
    ),
    Mutant(
        "rows weigh by their place, not their take",
        INTERVALS,
        "unit[scored.row[rows]]",
        "unit[rows]",
        (WHOLE,),
    ),
    Mutant(
        "hits are not weighted",
        INTERVALS,
        "gained = np.cumsum(weight, axis=1)",
        "gained = np.cumsum(np.ones_like(weight), axis=1)",
        (WHOLE,),
    ),
    Mutant(
        "each system has seeds of its own drawn",
        INTERVALS,
        "drawn = (self.seeds[:, : len(values)] * len(values))",
        "drawn = (np.random.random((len(self.seeds), len(values))) * len(values))",
        (f"{IN_INTERVALS}test_a_system_minus_itself_is_nothing",),
    ),
    Mutant(
        "seeds are not drawn",
        INTERVALS,
        "values[drawn, rows].mean(axis=1)",
        "values[:, 1:].mean(axis=0)",
        (f"{IN_INTERVALS}test_seeds_are_drawn_too",),
    ),
    Mutant(
        "one seed is drawn instead of as many as there are",
        INTERVALS,
        "values[drawn, rows].mean(axis=1)",
        "values[drawn[:, 0], rows[:, 0]]",
        (f"{IN_INTERVALS}test_seeds_are_drawn_too",),
    ),
    Mutant(
        "the interval is one of 90 %",
        INTERVALS,
        "[0.025, 0.975]",
        "[0.05, 0.95]",
        (f"{IN_INTERVALS}test_the_interval_is_that_of_the_draws",),
    ),
    Mutant(
        "weights are squared shares",
        INTERVALS,
        "rng.dirichlet(np.ones(len(takes)), count)",
        "rng.dirichlet(np.full(len(takes), 9.0), count)",
        (f"{IN_INTERVALS}test_draws_are_of_whole_takes_and_sum_to_their_number",),
    ),
    Mutant(
        "the draws are of boxes' videos in the order of the table",
        INTERVALS,
        'tuple(sorted(groundtruth["take"].drop_nulls().unique().to_list()))',
        'tuple(groundtruth["take"].drop_nulls().unique(maintain_order=True).to_list())',
        (f"{IN_INTERVALS}test_the_order_of_boxes_does_not_matter",),
    ),
    # ------------------------------------------------------------------------------------- experiments
    Mutant(
        "keypoints keep their depth",
        INPUTS,
        "flat = points[..., :2] / np.maximum(points[..., 2:], NEAREST)",
        "flat = points[..., :2]",
        ("tests/test_claims_inputs.py::test_keypoints_do_not_know_how_far_a_figure_is",),
    ),
    Mutant(
        "no place, but its shape is gone",
        INPUTS,
        '("place", "translation")',
        '("place", "betas")',
        ("tests/test_claims_inputs.py::test_what_is_taken_away_says_nothing",),
    ),
    Mutant(
        "bursts are single tokens",
        "lart_mini/claims/augment.py",
        "np.minimum(piece * burst, frames[-1])",
        "np.minimum(frames + 0 * piece, frames[-1])",
        ("tests/test_claims_inputs.py::test_a_data_set_of_bursts_masks_them",),
    ),
    Mutant(
        "others are hidden",
        EXPERIMENT,
        "detected[:, 0] &= ~gone.to(",
        "detected[:, :] &= ~gone[:, None].to(",
        (HIDDEN,),
    ),
    Mutant(
        "hidden poses stay in the tokens",
        EXPERIMENT,
        "pose=batch.pose * detected[..., None]",
        "pose=batch.pose",
        (HIDDEN,),
    ),
    Mutant(
        "a frame too many is hidden",
        EXPERIMENT,
        "(since < frames - frames // 2)",
        "(since <= frames - frames // 2)",
        (HIDDEN,),
    ),
    Mutant(
        "a window starts at its key frame",
        EXPERIMENT,
        "starts = (boxes.t - config.frames // 2)",
        "starts = (boxes.t - 0 * config.frames // 2)",
        (f"{IN_CLAIMS}test_centred_scores_are_the_packages_where_all_is_in_one_window",),
    ),
    Mutant(
        "scores of a batch stand in the order of its people",
        EXPERIMENT,
        "found[number, rows] = ",
        "found[number, np.sort(rows)] = ",
        (f"{IN_CLAIMS}test_no_score_depends_on_what_stands_beside_it",),
    ),
    Mutant(
        "the control learns true labels",
        EXPERIMENT,
        "learnt = shuffled_labels(learnt, experiment.seed)",
        "shuffled_labels(learnt, experiment.seed)",
        (f"{IN_CLAIMS}test_an_experiment_depends_on_its_parameters_alone",),
    ),
    Mutant(
        "the teacher sees all scenes",
        EXPERIMENT,
        'learnt = first_scenes(fold.tracklets("ava-train"), scenes)',
        'learnt = fold.tracklets("ava-train")',
        (f"{IN_CLAIMS}test_the_first_scenes_are_learnt_from_alone",),
    ),
    Mutant(
        "scenes are counted as tracklets",
        BOXES,
        "videos = list(dict.fromkeys(tracklet.video for tracklet in tracklets))",
        "videos = [tracklet.video for tracklet in tracklets]",
        (f"{IN_CLAIMS}test_the_first_scenes_are_learnt_from_alone",),
    ),
    Mutant(
        "any overlap names a person",
        BOXES,
        'pl.col("overlap") >= IOU_THRESHOLD',
        'pl.col("overlap") >= 0',
        (f"{IN_CLAIMS}test_boxes_name_who_they_show",),
    ),
    Mutant(
        "whoever overlaps least is whom a box shows",
        BOXES,
        'best = best.sort("overlap", descending=True, maintain_order=True)',
        'best = pairs.sort("overlap", maintain_order=True)',
        (f"{IN_CLAIMS}test_boxes_name_who_they_show",),
    ),
    Mutant(
        "an annotated box is the detector's",
        BOXES,
        'pl.col(f"true_{corner}").alias(corner)',
        "pl.col(corner)",
        (f"{IN_CLAIMS}test_annotated_boxes_are_the_annotations_one_a_person",),
    ),
    # ------------------------------------------------------------------------------- runs and answers
    Mutant(
        "runs of other data pass for these",
        RUNNER,
        "told = json.dumps([changed(experiment), data], sort_keys=True)",
        "told = json.dumps([changed(experiment)], sort_keys=True)",
        (f"{IN_CLAIMS}test_other_parameters_and_other_data_have_other_files",),
    ),
    Mutant(
        "what is kept runs again",
        RUNNER,
        "if not one.path.exists()]",
        "]",
        (f"{IN_CLAIMS}test_each_run_is_made_once",),
    ),
    Mutant(
        "videos of all folds have one name",
        ANSWERS,
        'pl.format("{}/{}", pl.lit(fold), pl.col("video"))',
        'pl.col("video")',
        (POOLED,),
    ),
    Mutant(
        "the weights of late fusion are exchanged",
        ANSWERS,
        "system.weights[0] / sum(system.weights)",
        "system.weights[1] / sum(system.weights)",
        (POOLED,),
    ),
    Mutant("the first variant whatever was asked", ANSWERS, "variants.index(system.variant)", "0", (POOLED,)),
    Mutant(
        "averaged seeds are the first seed",
        ANSWERS,
        "np.mean(of_fold, axis=0) for of_fold",
        "of_fold[0] for of_fold",
        (f"{IN_CLAIMS}test_answers_are_in_order_of_what_is_known",),
    ),
    Mutant(
        "a claim holds where its middle is above nothing",
        ANSWERS,
        "HOLDS if self.estimate.low > 0",
        "HOLDS if self.estimate.value > 0",
        (f"{IN_CLAIMS}test_a_claim_holds_where_its_whole_interval_is_above_nothing",),
    ),
    Mutant(
        "a size of other boxes is judged beside the base's",
        ANSWERS,
        "if not truth.equals(self.groundtruth):",
        "if False:",
        (f"{IN_CLAIMS}test_a_system_may_learn_from_more_scenes_and_not_be_scored_on_others",),
    ),
    Mutant(
        "videos learnt beside show takes that are held out",
        "lart_mini/claims/skeletons.py",
        "fold=(fold.fold, fold.folds)",
        "fold=None",
        (f"{IN_CLAIMS}test_a_second_task_beside_is_of_the_same_fold_and_changes_nothing_else",),
    ),
    Mutant(
        "masked systems are trained for longer",
        QUESTIONS,
        '"from scratch, no mask": {"steps": 2.0}',
        '"from scratch, no mask": {"steps": 1.0}',
        (f"{IN_CLAIMS}test_hidden_systems_are_matched_in_steps",),
    ),
    Mutant(
        "pictures are judged by the ground truth of what was composed",
        ANSWERS,
        'replace(base, looks="unseen") if question.rendered else base',
        "base",
        (f"{IN_CLAIMS}test_a_question_on_pictures_is_judged_by_what_they_show",),
    ),
    Mutant(
        "the best is chosen on the fold that it is for",
        ANSWERS,
        'others = ~pl.col("video").str.starts_with(f"{fold}/")',
        'others = pl.col("video").str.starts_with(f"{fold}/")',
        (f"{IN_CLAIMS}test_the_best_of_some_is_chosen_without_the_fold_that_it_is_for",),
    ),
]
