"""Mistakes in boxes, scenes, the detector, the tracker and the data set made of them."""

from __future__ import annotations

from mutants import Mutant

BOXES, SCENE, STAGING = "lart_mini/boxes.py", "lart_mini/scenes/scene.py", "lart_mini/scenes/staging.py"
DETECTOR, KALMAN, TRACKER = (f"lart_mini/tracking/{name}.py" for name in ("detector", "kalman", "tracker"))
FAULTS, BODIES = (f"lart_mini/tracking/{name}.py" for name in ("faults", "reconstruction"))
DATA, VIDEOS = "lart_mini/data/mini_ava.py", "lart_mini/data/videos.py"
IN_BOXES, IN_SCENES, IN_DETECTIONS, IN_TRACKING, IN_DATA = (
    f"tests/test_{name}.py::test_" for name in ("boxes", "scenes", "detections", "tracking", "mini_ava")
)
RECIPE = f"{IN_DATA}the_recipe_is_the_size_the_seed_the_tracker_the_version_the_motion_and_the_body"
SEEDS = f"{IN_DATA}every_video_has_a_seed_of_its_own"
HANDED = f"{IN_DATA}who_is_scored_is_detected_as_anywhere_and_only_training_is_handed_boxes"
ACROSS = f"{IN_DETECTIONS}noise_across_the_view_is_as_stated_and_leaves_the_distance_alone"

MUTANTS = [
    Mutant(
        "labels where the key frame is outside the window",
        VIDEOS,
        "known = (frame[at] == key) & person.detected[at]",
        "known = person.detected[at]",
        (f"{IN_DATA}labels_end_with_the_window_whose_key_frame_they_are_of",),
    ),
    Mutant(
        "validation is handed ground-truth boxes",
        VIDEOS,
        'given=annotated_frames(scene) if split == "ava-train" else ()',
        "given=annotated_frames(scene)",
        (HANDED,),
    ),
    Mutant(
        "training is not handed ground-truth boxes",
        VIDEOS,
        'given=annotated_frames(scene) if split == "ava-train" else ()',
        "given=()",
        (HANDED,),
    ),
    Mutant("all videos on one seed", DATA, "action, (*seed, index), model", "action, seed, model", (SEEDS,)),
    Mutant(
        "all splits on one seed",
        DATA,
        "(split, pool, count, (*chance, i))",
        "(split, pool, count, (*chance, 0))",
        (SEEDS,),
    ),
    Mutant("the cache does not know the version", DATA, "json.dumps([VERSION, ", "json.dumps([", (RECIPE,)),
    Mutant(
        "the cache does not know the seed",
        DATA,
        "asdict(size), seed, tracker]",
        "asdict(size), tracker]",
        (RECIPE,),
    ),
    Mutant(
        "the cache does not know the tracker",
        DATA,
        "asdict(size), seed, tracker]",
        "asdict(size), seed]",
        (RECIPE,),
    ),
    Mutant("the cache does not know the motion", DATA, "digest.update(path.read_bytes())", "pass", (RECIPE,)),
    Mutant(
        "the cache does not know the body's vertices by name",
        DATA,
        "digest.update(json.dumps(model.vertex_ids, sort_keys=True).encode())",
        "pass",
        (RECIPE,),
    ),
    Mutant(
        "the cache does not know the body's weights",
        DATA,
        "model.joint_regressor, model.weights)",
        "model.joint_regressor)",
        (RECIPE,),
    ),
    Mutant(
        "brief tracks become tracklets",
        VIDEOS,
        ">= min(FEWEST, length)",
        ">= 1",
        (f"{IN_DATA}few_detections_make_no_tracklet_and_missed_ones_no_label",),
    ),
    Mutant(
        "ground truth only of who is wholly visible",
        SCENE,
        "ANNOTATED_FROM = 0.25",
        "ANNOTATED_FROM = 0.9",
        (
            f"{IN_SCENES}who_is_a_quarter_visible_is_ground_truth",
            f"{IN_DATA}who_is_hardly_visible_is_no_ground_truth",
        ),
    ),
    Mutant(
        "all purposes draw the same",
        SCENE,
        "spawn_key=(PURPOSES[purpose],)",
        "spawn_key=(0 * PURPOSES[purpose],)",
        (f"{IN_SCENES}every_purpose_has_a_stream_of_its_own",),
    ),
    Mutant(
        "outfits out of the camera's stream",
        SCENE,
        'stream(seed, "outfits")',
        'stream(seed, "camera")',
        (f"{IN_SCENES}one_stage_that_draws_more_moves_no_other",),
    ),
    Mutant(
        "nobody dresses alike",
        SCENE,
        "if copies and outfits else own",
        "if False and outfits else own",
        (f"{IN_SCENES}some_dress_like_the_one_before_them",),
    ),
    Mutant(
        "what is shown is drawn from one end of a take",
        STAGING,
        "int(rng.choice(np.flatnonzero(shows)))",
        "int(np.flatnonzero(shows)[0])",
        (f"{IN_SCENES}what_is_shown_is_cut_from_anywhere_in_a_take",),
    ),
    Mutant(
        "a captured pair is cut from one end",
        STAGING,
        "start = int(rng.integers(first, max(first + 1, last - frames)))",
        "start = first",
        (f"{IN_SCENES}a_captured_pair_is_cut_from_anywhere",),
    ),
    Mutant(
        "nobody passes anybody",
        STAGING,
        "if passes and attempt < 10",
        "if False",
        (f"{IN_SCENES}people_cross_more_often_where_they_pass_each_other",),
    ),
    Mutant(
        "who passes walks into the other",
        STAGING,
        "way[moment, ::-1] * [1, -1]",
        "way[moment]",
        (f"{IN_SCENES}who_passes_somebody_does_so_at_arms_length",),
    ),
    Mutant("no noise across the view", BODIES, "place += aside - _along(aside, sight)", "pass", (ACROSS,)),
    Mutant(
        "noise across the view moves the depth too",
        BODIES,
        "place += aside - _along(aside, sight)",
        "place += aside",
        (ACROSS,),
    ),
    Mutant(
        "no noise of shapes",
        BODIES,
        "rng.normal(0, faults.betas_noise, 10)",
        "0 * rng.normal(0, faults.betas_noise, 10)",
        (f"{IN_DETECTIONS}noise_of_shapes_is_of_the_person_and_never_changes",),
    ),
    Mutant(
        "noise forgets at once",
        "lart_mini/tracking/faults.py",
        "noise[t] += memory * last",
        "noise[t] += 0 * last",
        (f"{IN_DETECTIONS}noise_has_the_stated_size_and_drifts",),
    ),
    Mutant(
        "noise of one number does not drift",
        "lart_mini/tracking/faults.py",
        """    for t in range(len(noise)):
        noise[t] += memory * last
        last = noise[t]
""",
        """    for now in noise:
        now += memory * last
        last = now
""",
        (f"{IN_DETECTIONS}noise_has_the_stated_size_and_drifts",),
    ),
    Mutant(
        "who was found starts another track",
        TRACKER,
        "left[columns] = False",
        "left[columns] = True",
        (f"{IN_TRACKING}an_occlusion_is_bridged",),
    ),
    Mutant(
        "limbs turn together by their own noise",
        BODIES,
        "faults.orientation_noise * drift",
        "faults.pose_noise * drift",
        (f"{IN_DETECTIONS}limbs_turn_each_for_itself_or_all_together",),
    ),
    Mutant(
        "limbs are as wrong across the picture as out of it",
        BODIES,
        "unseen + faults.across * (angles - unseen)",
        "angles",
        (f"{IN_DETECTIONS}what_the_picture_shows_of_a_limb_is_kept",),
    ),
    Mutant(
        "a larger body stands no farther",
        BODIES,
        "np.eye(3) - np.einsum",
        "np.eye(3) - 0 * np.einsum",
        (f"{IN_DETECTIONS}a_body_is_put_where_its_picture_was",),
    ),
    Mutant(
        "mean poses of people in full view",
        BODIES,
        "person.visible < faults.half_hidden",
        "person.visible < 2",
        (f"{IN_DETECTIONS}who_is_half_hidden_gets_a_mean_pose_in_bursts",),
    ),
    Mutant(
        "false positives stand on the wrong side",
        DETECTOR,
        "translation[:, 0] += (shift",
        "translation[:, 0] -= (shift",
        (f"{IN_DETECTIONS}false_positives_stand_where_their_boxes_are",),
    ),
    Mutant(
        "hidden parts show their own colours",
        DETECTOR,
        "outfits[_hider(scene.filmed, actor)]",
        "outfits[np.full(frames, actor)]",
        (f"{IN_DETECTIONS}colours_tell_people_apart_and_hidden_parts_show_who_stands_before",),
    ),
    Mutant(
        "a key frame's boxes are of the wholly visible",
        DETECTOR,
        "HANDED_OUT_FROM = 0.1",
        "HANDED_OUT_FROM = 0.9",
        (f"{IN_DETECTIONS}ground_truth_boxes_replace_detections_at_key_frames",),
    ),
    Mutant(
        "a little more noise, and the version stays",
        FAULTS,
        "depth_noise: float = 0.01 ",
        "depth_noise: float = 0.0105 ",
        (f"{IN_DATA}data_that_move_have_another_version",),
    ),
    Mutant(
        "poses never go back to the usual",
        TRACKER,
        "tracks.pose += (1 - config.pose_kept) * (tracks.usual - tracks.pose)",
        "pass",
        (f"{IN_TRACKING}an_unusual_pose_goes_back_to_the_usual_one_by_a_share_a_frame",),
    ),
    Mutant(
        "the first look weighs as much as twenty",
        TRACKER,
        "np.maximum(config.memory, 1 / tracks.hits[rows])[:, None]",
        "np.full((len(rows), 1), config.memory)",
        (f"{IN_TRACKING}what_is_usual_is_the_mean_at_first_and_a_fading_one_later",),
    ),
    Mutant(
        "what moved before a cut goes on after it",
        TRACKER,
        "if fresh.any():",
        "if False:",
        (f"{IN_TRACKING}who_is_found_after_a_cut_starts_anew_where_they_are",),
    ),
    Mutant(
        "speeds grow no surer",
        KALMAN,
        "speed_spread - speed_gain * covariance",
        "speed_spread",
        (f"{IN_TRACKING}filters_are_kalman_filters",),
    ),
    Mutant(
        "two points overlap by 0 / 0",
        BOXES,
        "where=union > 0",
        "where=union > -1",
        (f"{IN_BOXES}overlap_counts_pixels",),
    ),
    Mutant(
        "boxes cut to nothing",
        BOXES,
        "low + 1, most",
        "low, most",
        (f"{IN_BOXES}cut_boxes_are_inside_a_pixel_wide_and_cut_but_once",),
    ),
    Mutant(
        "fractions of the other side",
        BOXES,
        "height, width = np.asarray(size)",
        "width, height = np.asarray(size)",
        (f"{IN_BOXES}conventions_by_hand",),
    ),
]
