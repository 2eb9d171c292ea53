"""Mistakes in reading what others wrote: evaluation files, class lists, MOT, PHALP, depth, names."""

from __future__ import annotations

from mutants import Mutant

TABLES, CSV = "lart_mini/reading/tables.py", "lart_mini/evaluation/ava_csv.py"
MAP, DIAGNOSIS = "lart_mini/evaluation/frame_map.py", "lart_mini/evaluation/diagnosis.py"
REMARKS, CLASSES = "lart_mini/evaluation/remarks.py", "lart_mini/evaluation/class_list.py"
MOT, PHALP, TRACKS = (f"lart_mini/tracking/{name}.py" for name in ("mot", "phalp", "tracks"))
READ, AVA = "tests/test_reading_tables.py", "tests/test_ava.py"
SAME = "tests/test_evaluation.py::test_other_class_ids_fractions_of_seconds_and_smaller_pieces_change_nothing"
CLI, TOLD, TRACKING = "tests/test_cli_evaluate.py", "tests/test_diagnosis.py", "tests/test_tracking.py"
ANY_ORDER = f"{TRACKING}::test_lines_of_a_text_come_in_any_order"

MUTANTS = [
    Mutant("a gzip may unpack to anything", TABLES, "if size > most:", "if False:", (READ,)),
    Mutant(
        "bytes as many as may be, at once",
        "lart_mini/reading/budget.py",
        "file.read(min(Path(path).stat().st_size, most) + 1)",
        "file.read(most + 1)",
        (READ,),
    ),
    Mutant("UTF-16 is taken for bytes", TABLES, "if content.startswith(UTF_16):", "if False:", (READ, AVA)),
    Mutant("zero bytes are text", TABLES, 'if b"\\0" in content:', "if False:", (READ,)),
    Mutant("\\r alone is no end of a line", TABLES, 'if b"\\r" in start and', "if False and", (AVA,)),
    Mutant(
        "blanks behind a number are an error", CSV, '_TRAILING_BLANKS.sub(b"", content)', "content", (AVA,)
    ),
    Mutant("seconds with all their decimals", CSV, "round(value, 6)", "value", (AVA,)),
    Mutant("an empty score counts as none", CSV, "if fault:\n            raise fault", "pass", (AVA,)),
    Mutant("an empty list of excluded frames is refused", CSV, "if allowed == (2,):", "if False:", (AVA,)),
    Mutant(
        "seconds are cut to whole ones", CSV, '        schema["second"] = pl.Float64', "        pass", (AVA,)
    ),
    Mutant(
        "lines count from each piece on", CSV, "start, line = end, line + len(lines)", "start = end", (AVA,)
    ),
    Mutant(
        "seconds compared with their last bits",
        MAP,
        '(pl.col("second").cast(pl.Float64) * 1e6).round()',
        '(pl.col("second").cast(pl.Float64) * 1e9).round()',
        (SAME,),
    ),
    Mutant(
        "no score counts as nothing",
        MAP,
        'pl.col("score").fill_null(1) >',
        'pl.col("score").fill_null(0) >',
        (SAME,),
    ),
    Mutant("a box is claimed again in the next piece", MAP, "claimed[target] = True", "pass", (SAME,)),
    Mutant(
        "all pairs at once",
        MAP,
        "start + 1, int(np.searchsorted",
        "len(ends), int(np.searchsorted",
        ("tests/test_evaluation.py::test_pieces_hold_no_more_pairs_than_they_may",),
    ),
    Mutant(
        "own classes of AVA's ids get AVA's categories",
        MAP,
        "known = ava.NAMES.get(action) == self.classes[action]",
        "known = action in ava.NAMES",
        (SAME,),
    ),
    Mutant(
        "--classes is not heard",
        MAP,
        "names = None if classes is None else read_classes(classes)",
        "names = None",
        (CLI,),
    ),
    Mutant(
        "ids above AVA's 80 are refused whatever the classes",
        MAP,
        "highest = ava.CLASS_COUNT if names is None else ava_csv.MOST_CLASSES",
        "highest = ava.CLASS_COUNT",
        (CLI,),
    ),
    Mutant("left-out classes are not told", REMARKS, "if len(others):", "if False:", (TOLD,)),
    Mutant("corners outside are not told", REMARKS, "if least is None or", "if True or", (TOLD,)),
    Mutant("missing scores are not told", REMARKS, "    if missing:", "    if False:", (TOLD,)),
    Mutant("repeated rows are not told", DIAGNOSIS, "if once.height == found.height:", "if True:", (TOLD,)),
    Mutant("a crowd is tried", DIAGNOSIS, "if crowds.is_empty():", "if True:", (TOLD,)),
    Mutant("an id may stand twice in a label map", CLASSES, "if number in names:", "if False:", (CLI,)),
    Mutant("label_id is none", CLASSES, "(?:label_)?id", "id", (CLI,)),
    Mutant(
        "names are cut",
        TRACKS,
        "digest = hashlib.sha256(name.encode(",
        "digest = hashlib.sha256(name[:11].encode(",
        (TRACKING,),
    ),
    Mutant("filled up and full names are the same", TRACKS, ' and not name.endswith("_")', "", (TRACKING,)),
    Mutant("gt.txt is the video's name", MOT, 'if path.stem in ("gt", "det")', "if False", (TRACKING,)),
    Mutant(
        "poses in the order of the text",
        MOT,
        "    )[order].validate(path)",
        "    ).validate(path)",
        (ANY_ORDER,),
    ),
    Mutant("frames count from 1 always", MOT, "min(1, int(table[:, 0].min()))", "1", (ANY_ORDER,)),
    Mutant(
        "confidence −1 is a number",
        MOT,
        "np.where(table[:, 6] == NOT_GIVEN, 1, table[:, 6])",
        "table[:, 6]",
        (ANY_ORDER,),
    ),
    Mutant(
        "nobody is somebody",
        MOT,
        "np.flatnonzero(table[:, 1] != NOT_GIVEN)",
        "np.arange(len(table))",
        (ANY_ORDER,),
    ),
    Mutant(
        "the last entry of an id counts",
        PHALP,
        "first.setdefault(int(one), i)",
        "first[int(one)] = i",
        (TRACKING,),
    ),
    Mutant(
        "a smoothed place is in metres",
        "lart_mini/tracklets/released.py",
        "told / 2 < depth < 2 * told and",
        "False and",
        ("tests/test_released_files.py",),
    ),
    Mutant(
        "the key frames of clips begin at second 902",
        "lart_mini/evaluation/key_boxes.py",
        'first = 0 if which == "clip" else FIRST\n    rows',
        "first = FIRST\n    rows",
        ("tests/test_predict.py",),
    ),
]
