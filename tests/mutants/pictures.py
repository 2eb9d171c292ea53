"""Mistakes in what is drawn, in the trunk, and in what is looked at of people."""

from __future__ import annotations

from mutants import Mutant

RENDER, WORLD, CARTONS = (f"lart_mini/scenes/{name}.py" for name in ("render", "world", "cartons"))
RENDERED = "lart_mini/data/rendered.py"
TRUNK, POOLING, LOOKS, FEATURES, FRAMES = (
    f"lart_mini/appearance/{name}.py" for name in ("trunk", "pooling", "looks", "features", "frames")
)
VIDEOS = "lart_mini/reading/videos.py"
IN_RENDER, IN_RENDERED, IN_TRUNK, IN_LOOKS, IN_VIDEOS = (
    f"tests/test_{name}.py::test_"
    for name in ("render", "rendered", "trunk", "appearance", "appearance_videos")
)
CHAIR = f"{IN_RENDER}a_chair_behind_the_camera_and_one_through_its_near_plane_leave_a_right_picture"
CARRYING = f"{IN_RENDERED}carrying_is_what_is_in_hand_and_seen"
CARTON = f"{IN_RENDERED}a_carton_waits_on_the_floor_then_goes_with_the_hands"
SECONDS = f"{IN_LOOKS}each_second_is_looked_at_where_somebody_is_detected"
COMPONENTS = f"{IN_LOOKS}components_keep_the_largest_spreads_and_bring_them_half_way_to_equal"
KEPT = f"{IN_VIDEOS}maps_are_drawn_once_and_kept_apart"
RATES = f"{IN_VIDEOS}tracklets_may_count_at_another_rate_and_from_another_second"

MUTANTS = [
    Mutant(
        "what is behind the camera is drawn",
        RENDER,
        "front = (z > NEAR)[faces]",
        "front = (np.abs(z) > NEAR)[faces]",
        (CHAIR,),
    ),
    Mutant(
        "shadows fall on people and things",
        RENDER,
        "lit = np.where(thing > 0, 0, floor * (1 - shadow)) * share",
        "lit = np.ones_like(shadow) * share",
        (f"{IN_RENDER}no_shadow_of_people_falls_on_things",),
    ),
    Mutant(
        "a picture drawn after masks finds no colours",
        RENDER,
        " or (coloured and self._stills[key].picture is None)",
        "",
        (f"{IN_RENDER}masks_and_pictures_do_not_depend_on_which_was_drawn_first",),
    ),
    Mutant(
        "furniture hides nobody",
        RENDER,
        "self._draw(mesh, codes, axes, focal, numbers, depth, flat=True)",
        "self._draw(mesh, codes, axes, focal, numbers, depth.copy(), flat=True)",
        (f"{IN_RENDER}who_stands_behind_a_thing_is_hidden_by_it",),
    ),
    Mutant(
        "the focal length is not that of the picture's size",
        RENDER,
        "self.focal = camera.focal * size[1] / camera.size[1]",
        "self.focal = camera.focal * size[0] / camera.size[1]",
        (f"{IN_RENDER}boxes_of_the_cameras_film_are_those_of_the_masks",),
    ),
    Mutant(
        "masks take joints for people",
        RENDER,
        "codes[:, 0], codes[:, 1], codes[:, 2] = 1 + piece.person, 1 + piece.joint,",
        "codes[:, 0], codes[:, 1], codes[:, 2] = 1 + piece.joint, 1 + piece.person,",
        (f"{IN_RENDER}body_parts_are_in_their_place",),
    ),
    Mutant(
        "who handles a carton holds a thing besides",
        WORLD,
        "if k not in busy and one.chance < holds",
        "if one.chance < holds",
        (f"{IN_RENDERED}nobody_who_handles_a_carton_holds_another_thing_and_streams_are_apart",),
    ),
    Mutant(
        "a label makes a thing",
        WORLD,
        "if k not in busy and one.chance < holds",
        "if k not in busy and (one.chance < holds or scene.actors[k].labels[60, 16])",
        (f"{IN_RENDERED}pictures_do_not_change_with_the_labels",),
    ),
    Mutant(
        "undrawn things are drawn",
        WORLD,
        "return pieces + (self._handled(t) if self.drawn else [])",
        "return pieces + self._handled(t)",
        (f"{IN_RENDERED}held_things_left_undrawn_change_no_pixel_but_their_own_and_their_shadows",),
    ),
    Mutant(
        "a carton stands in the air before it is taken up",
        CARTONS,
        "    stands[:, 1] = low\n",
        "",
        (CARTON,),
    ),
    Mutant(
        "what is held counts, seen or not",
        RENDERED,
        "if max(counts.get(thing, 0) for thing in things) >= SEEN:",
        "if True:",
        (CARRYING,),
    ),
    Mutant(
        "mini_ava's own carry/hold stays",
        RENDERED,
        "actions = {row[6] for row in group} - {CARRY}",
        "actions = {row[6] for row in group}",
        (CARRYING,),
    ),
    Mutant(
        "padding as PyTorch has it",
        TRUNK,
        "F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))",
        "F.pad(x, (wide - wide // 2, wide // 2, high - high // 2, high // 2))",
        (f"{IN_TRUNK}padding_is_tensorflows",),
    ),
    Mutant(
        "a block never adds its input",
        TRUNK,
        "return found + x if self.added else found",
        "return found",
        (f"{IN_TRUNK}a_block_adds_its_input_where_shapes_allow",),
    ),
    Mutant(
        "pictures are taken to be in [0, 1]",
        TRUNK,
        ".float().sub(127).div(128)",
        ".float().div(255)",
        (f"{IN_TRUNK}scores_are_those_of_the_published_network",),
    ),
    Mutant(
        "weights that are left over are passed over",
        TRUNK,
        "for name in [*wanted, *found]:",
        "for name in wanted:",
        (f"{IN_TRUNK}weights_of_another_network_are_told_in_a_line",),
    ),
    Mutant(
        "a box's samples are those of the map's corners",
        POOLING,
        "align_corners=False",
        "align_corners=True",
        (f"{IN_LOOKS}samples_are_those_of_a_literal_loop",),
    ),
    Mutant(
        "boxes outside the picture are sampled at its edge",
        POOLING,
        ".min(axis=1) <= 0)",
        ".min(axis=1) < -1e9)",
        (f"{IN_LOOKS}a_box_is_cut_at_the_edge_and_refused_outside",),
    ),
    Mutant(
        "right hands hang on left arms",
        POOLING,
        "ELBOWS, WRISTS, FACE = [3, 6], [4, 7]",
        "ELBOWS, WRISTS, FACE = [6, 3], [4, 7]",
        (f"{IN_LOOKS}crops_follow_the_hands_and_shrink_with_distance",),
    ),
    Mutant(
        "boxes that the frame cuts tell of the camera",
        POOLING,
        "for row, own in enumerate((~cut, cut)):",
        "for row, own in enumerate((cut == cut, cut)):",
        (f"{IN_LOOKS}the_focal_length_is_the_cameras",),
    ),
    Mutant(
        "crops are cut with a corner at the hand",
        POOLING,
        "to = CROP / 2 - scale * (middle - low)",
        "to = -scale * (middle - low)",
        (f"{IN_LOOKS}a_crop_has_its_place_in_the_middle",),
    ),
    Mutant(
        "frames without a detection are looked at",
        LOOKS,
        "np.array([-AROUND, 0, AROUND])) & detected",
        "np.array([-AROUND, 0, AROUND]))",
        (SECONDS,),
    ),
    Mutant(
        "boxes are in the tracklets' pixels, whatever the video's",
        LOOKS,
        "corners = corners * (scale * small.shape[1] / picture.shape[1])",
        "corners = corners * (small.shape[1] / picture.shape[1])",
        (f"{IN_LOOKS}neither_order_nor_size_of_the_video_matters",),
    ),
    Mutant(
        "a second without a detection looks like the last",
        LOOKS,
        "padded = np.pad(vectors, ((0, 1), (0, 0)))",
        "padded = vectors",
        (f"{IN_LOOKS}a_second_has_one_vector_and_others_have_none",),
    ),
    Mutant(
        "components are made equal",
        LOOKS,
        "scale = spreads**-0.5",
        "scale = spreads**-1.0",
        (COMPONENTS,),
    ),
    Mutant(
        "maps with and without things are the same",
        FEATURES,
        "split, index, size, step, drawn])",
        "split, index, size, step])",
        (KEPT,),
    ),
    Mutant(
        "a clip takes the map after each frame",
        FEATURES,
        "return after - nearer",
        "return after",
        (f"{IN_VIDEOS}a_clip_takes_the_nearest_maps_and_the_ends_again",),
    ),
    Mutant(
        "tracklets count as the video does",
        FRAMES,
        "own = self.rate or self.video.rate",
        "own = self.video.rate",
        (RATES,),
    ),
    Mutant(
        "a video that ends gives its last frame",
        VIDEOS,
        "                    if not capture.grab():\n"
        '                        raise BadInput(self.path, "frames", f"{number + 1} or more", at + 1)\n',
        "                    capture.grab()\n",
        (f"{IN_VIDEOS}frames_of_a_video_are_those_asked_for",),
    ),
    Mutant(
        "red is taken for blue",
        VIDEOS,
        "np.ascontiguousarray(picture[..., ::-1])",
        "np.ascontiguousarray(picture)",
        (f"{IN_VIDEOS}colours_are_red_green_and_blue",),
    ),
]
