"""The command `lart-mini`: thin commands over the package. Bad input: one line on stderr, exit code 2."""

from __future__ import annotations

import math
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lart_mini import __version__
from lart_mini.files import BadInput, atomic_path, printable, whole_number, writable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from lart_mini.lart.recipe import Trained
    from lart_mini.tracklets.store import Store
    from lart_mini.tracklets.tracklet import Tracklet

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Action recognition by following people in 3D: run, evaluate and look into lart_mini.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def reproduce(
    profile: Annotated[
        str, typer.Option(help="smoke (5 minutes), laptop (21 minutes), gpu or gpu-long.")
    ] = "laptop",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; ./runs/<profile> if not given.")
    ] = None,
    notebooks: Annotated[
        Path | None, typer.Option(help="Folder of the notebooks, if not this project's.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Notebooks by number or name, such as 05,07.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Notebooks side by side; as many as there are cores if not given.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: remove all that has run.")] = False,
) -> None:
    """Run every notebook, then write report.html and results.json. Stopped, it goes on where it was."""
    from lart_mini.runs.plan import NotebookFailed
    from lart_mini.runs.reproduce import reproduce as run
    from lart_mini.runs.reproduce import summary

    try:
        results = run(profile, out, notebooks, only=only, jobs=jobs, fresh=fresh)
    except NotebookFailed as problem:
        raise typer.Exit(_tell_problem(str(problem), code=1)) from None
    typer.echo(f"\n{summary(results)}")
    folder = out or Path("runs") / profile
    if (folder / "results.json").exists():
        typer.echo(f"report: {folder / 'report.html'}")
    else:
        typer.echo(f"report: once all notebooks have run ({len(results['notebook_seconds'])} have)")


@app.command()
def evaluate(
    groundtruth: Annotated[Path, typer.Option(help="AVA ground truth, .csv or .csv.gz, without header.")],
    detections: Annotated[Path, typer.Option(help="AVA detections with scores, .csv or .csv.gz.")],
    policy: Annotated[str, typer.Option(help="activitynet (LART's), slowfast or mmaction2.")] = "activitynet",
    excluded: Annotated[Path | None, typer.Option(help="CSV of excluded video,second rows.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes other than AVA's 60: a label map (.pbtxt, or id,name lines), or 1,2,3."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the result to this JSON file.")] = None,
) -> None:
    """Score detections as AVA does: mAP at IoU 0.5, per class and category, with a diagnosis."""
    from lart_mini.evaluation.frame_map import evaluate_files
    from lart_mini.evaluation.report import report_text

    if json:
        writable(json)
    evaluation = evaluate_files(groundtruth, detections, policy=policy, excluded=excluded, classes=classes)
    typer.echo(report_text(evaluation))
    if json:
        with atomic_path(json) as temporary:
            temporary.write_text(evaluation.to_json() + "\n", encoding="utf-8")
    if math.isnan(evaluation.mean_ap):
        raise typer.Exit(1)


@app.command()
def info(
    size: Annotated[str, typer.Option(help="smoke, laptop or gpu.")] = "laptop",
    seed: Annotated[int, typer.Option(help="Seed the scenes are composed from.")] = 0,
) -> None:
    """Print what is in mini_ava: videos, tracklets, frames, boxes per class and split."""
    import polars

    from lart_mini.data.mini_ava import mini_ava

    data = mini_ava(size, seed)
    with polars.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=120,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        float_precision=3,
    ):
        typer.echo(f"{data.summary()}\n\nGround-truth boxes a class\n{data.boxes_per_class()}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Folder of released tracklets (.pkl), searched throughout.")],
    destination: Annotated[Path, typer.Argument(help="Folder of the store; what is there is finished.")],
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one a core.")] = -1,
) -> None:
    """Pack released tracklets into a memory-mapped store; corrupt files are listed and skipped."""
    from lart_mini.tracklets.conversion import convert as run

    converted = run(source, destination, jobs=jobs)
    for file, why in sorted(converted.refused.items()):
        typer.echo(f"skipped {file}: {why}", err=True)
    skipped = f"{len(converted.refused):,} files skipped"
    typer.echo(f"{converted.tracklets:,} tracklets, {converted.frames:,} frames, {skipped}: {destination}")


@app.command()
def validate(
    path: Annotated[
        Path, typer.Argument(help="A released tracklet file (.pkl), a folder of them, or a store.")
    ],
    jobs: Annotated[int, typer.Option(help="Processes that read a folder; -1 for one a core.")] = 1,
) -> None:
    """Read tracklets safely, print what is in them, and name everything that breaks the format."""
    from lart_mini.tracklets.contents import summary, survey

    found = survey(path, jobs=jobs)
    for line in found.problems:
        typer.echo(line, err=True)
    typer.echo(summary(found))
    if found.problems:
        raise typer.Exit(2)


@app.command()
def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints; what is there already is read.")],
    store: Annotated[Path | None, typer.Option(help="What convert wrote; mini_ava if not given.")] = None,
    stage: Annotated[str, typer.Option(help="pretrain, finetune or both.")] = "both",
    preset: Annotated[
        str | None, typer.Option(help="Of the model: mini, small, paper or released; mini, or as --profile.")
    ] = None,
    pretrain_epochs: Annotated[int | None, typer.Option(help="On all labels, pseudo ones too.")] = None,
    finetune_epochs: Annotated[int | None, typer.Option(help="On ground truth.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Tracklets a step, over all devices.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate at its top.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, crops, masks and dropout.")] = 0,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[str, typer.Option(help="A node's: auto, how many, or 0,2 for these two.")] = "auto",
    nodes: Annotated[int, typer.Option(help="Machines, started by torchrun or SLURM.")] = 1,
    precision: Annotated[
        str | None, typer.Option(help="Such as bf16-mixed (CUDA's default) or 32-true (a CPU's).")
    ] = None,
    size: Annotated[str, typer.Option(help="mini_ava: smoke, laptop or gpu.")] = "smoke",
    profile: Annotated[str, typer.Option(help="Store: train as the paper or as released.")] = "paper",
    stats: Annotated[Path | None, typer.Option(help="Store: .npy of statistics, else taken of it.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Store: checkpoint to start from, ours or the published one.")
    ] = None,
    pose_only: Annotated[bool, typer.Option("--pose-only", help="Store: leave appearance out.")] = False,
    accumulate: Annotated[int, typer.Option(help="Micro-batches a step and device; saves memory.")] = 1,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the model.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Processes a device that load data; on a GPU some, else none.")
    ] = None,
) -> None:
    """Pre-train and fine-tune LART; one checkpoint a stage. Stopped, it goes on where it was."""
    from lart_mini.training.devices import choose_fabric

    if stage not in ("pretrain", "finetune", "both"):
        raise BadInput("--stage", "stage", "pretrain | finetune | both", stage)
    stages = ("pretrain", "finetune") if stage == "both" else (stage,)
    # Options that would do nothing are refused: some are for a store, some for mini_ava.
    if store is None:
        _refuse(context, ("profile", "stats", "start", "pose_only"), "--store", "none")
    else:
        _refuse(context, ("size",), "no --store", "--store")
    if store is not None and (start is not None or stage == "finetune"):
        begun_with = "--start" if start is not None else "--stage finetune"
        _refuse(context, NEW_MODEL_ALONE if start is None else NEW_MODEL_ALONE[:2], "new weights", begun_with)
    if workers is not None:
        whole_number("--workers", "processes", workers, 0)
    writable(out / "checkpoint")
    epochs = {"pretrain": pretrain_epochs, "finetune": finetune_epochs}
    changes = {"seed": seed, "batch_size": batch_size, "lr": lr}
    changes = {key: value for key, value in changes.items() if value is not None}
    fabric = choose_fabric(accelerator, devices, nodes, precision)
    if store is None:
        recipe = {f"{name}_epochs": count for name, count in epochs.items() if count is not None} | changes
        how = {"accumulate": accumulate, "compile": compile, "workers": workers}
        _train_on_mini_ava(out, stages, recipe | {"size": size, "preset": preset or "mini"}, fabric, how)
        return
    from lart_mini.lart.config import StageConfig
    from lart_mini.lart.recipe import new_model, pretrained, train_on_store
    from lart_mini.lart.weights import read_model
    from lart_mini.tracklets.store import Store

    opened = Store(store)
    changes |= {"accumulate": accumulate, "compile": compile}
    begun = None if start is None else read_model(start, stats)
    for name in stages:
        asked = epochs[name]  # of fewer than Table 7's 30 epochs a sixth is warm-up, as there
        own = {} if asked is None else {"epochs": asked, "warmup_epochs": min(5.0, asked / 6)}
        settings = StageConfig.of(name, profile, **changes, **own)
        if begun is None:
            fresh = name == "pretrain"
            begun = new_model(opened, preset or profile, pose_only, seed, stats) if fresh else pretrained(out)
        trained = train_on_store(name, opened, out, begun, settings, fabric=fabric, workers=workers)
        begun = trained.model, trained.stats
        _tell(fabric, trained)


NEW_MODEL_ALONE = ("preset", "pose_only", "stats")  # the last stands in for a checkpoint's own, too


def _refuse(context: typer.Context, names: tuple[str, ...], wanted: str, found: str) -> None:
    """Raise BadInput for the first of these options that was given."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise BadInput(option, "option", f"{wanted} beside it", found)


def _train_on_mini_ava(
    out: Path, stages: tuple[str, ...], recipe: dict[str, Any], fabric: Fabric, how: dict[str, Any]
) -> None:
    from lart_mini.lart.recipe import Recipe, finetune, labelled, pretrain

    made = Recipe(**recipe)
    with fabric.rank_zero_first():  # one process composes the data
        labelled(made.size, made.data_seed)
    runs = {"pretrain": pretrain, "finetune": finetune}
    for name in stages:
        _tell(fabric, runs[name](made, out, fabric=fabric, **how))


def _tell(fabric: Fabric, trained: Trained) -> None:
    history = trained.history
    if not fabric.is_global_zero or not history.loss:
        return
    speed = f"{history.seconds:.0f} s, {history.tokens_per_second:,.0f} tokens/s"
    loss = f"loss {history.loss[0]:.4f} to {history.loss[-1]:.4f} in {len(history.loss)} steps"
    typer.echo(f"{trained.checkpoint}: {loss}, {speed}")


@app.command()
def folds(
    count: Annotated[int, typer.Option("--folds", help="K: each take is held out by one of K folds.")] = 4,
    action: Annotated[int | None, typer.Option("--class", help="Its takes alone: an AVA id.")] = None,
) -> None:
    """Print which takes each fold holds out, and on how many takes and sources each class rests."""
    from lart_mini.data.folds import takes_text

    typer.echo(takes_text(count, action))


@app.command()
def ablate(
    claims: Annotated[
        list[str],
        typer.Argument(
            help="ladder, inputs, direction, hidden, scenes, people, tracking, pose, pretraining, masking, "
            "pooling, parts, skeletr, skeletr-parts, skeletr-steps, skeletr-joint, appearance."
        ),
    ],
    size: Annotated[str, typer.Option(help="mini_ava: smoke, laptop or gpu.")] = "laptop",
    count: Annotated[int, typer.Option("--folds", help="K folds of takes.")] = 4,
    seeds: Annotated[int, typer.Option(help="Models of each system and fold, with seeds 0, 1, …")] = 3,
    steps: Annotated[int | None, typer.Option(help="Of a training; 300 at the laptop's size.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what is found; ./runs/claims-<size> if not given.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trainings side by side, one thread each; -1: one a core.")] = -1,
    backend: Annotated[
        str | None, typer.Option(help="Trainings on a cluster: dask=ADDRESS of its scheduler.")
    ] = None,
) -> None:
    """Answer the ladder or claims of the paper in folds of takes, with intervals. Stopped, it goes on."""
    from lart_mini.claims.answers import ask

    for line in ask(claims, size, count, seeds, steps, out, jobs, backend):
        typer.echo(line)


@app.command()
def course(
    out: Annotated[Path, typer.Option(help="Folder of the course.")] = Path("course"),
    notebooks: Annotated[
        Path | None, typer.Option(help="Folder of the notebooks, if not this project's.")
    ] = None,
) -> None:
    """Write the notebooks' editions for students, instructors and nbgrader."""
    from lart_mini.course.editions import write_course
    from lart_mini.runs.plan import find_notebooks

    for line in write_course(find_notebooks(notebooks), out):
        typer.echo(line)


@app.command("new-notebook")
def new_notebook(
    name: Annotated[str, typer.Argument(help="NN_topic, such as 10_my_topic.")],
    notebooks: Annotated[
        Path | None, typer.Option(help="Folder of the notebooks, if not this project's.")
    ] = None,
) -> None:
    """Write a notebook in the form that all have, executed, with its blanks and their mistakes."""
    from lart_mini.course.form import write_new
    from lart_mini.runs.plan import find_notebooks

    for path in write_new(name, find_notebooks(notebooks)):
        typer.echo(path)


@app.command()
def render(
    scene: Annotated[str, typer.Argument(help="A split and the number of its video, such as ava-val:3.")],
    out: Annotated[Path, typer.Argument(help="Video to write: .mp4, .gif or .webp.")],
    size: Annotated[str, typer.Option(help="mini_ava: smoke, laptop or gpu.")] = "smoke",
    seed: Annotated[int, typer.Option(help="Seed the scenes are composed from.")] = 0,
    draw: Annotated[
        str, typer.Option(help="plain, truth (boxes, actions), tracks, or scores (LART's, of each track).")
    ] = "truth",
    first: Annotated[int, typer.Option(help="First frame; 30 are a second.")] = 0,
    stop: Annotated[int | None, typer.Option(help="Frame after the last one; the end if not given.")] = None,
    every: Annotated[int, typer.Option(help="Only each so manieth frame, at the same pace.")] = 1,
    zoom: Annotated[int, typer.Option(help="Times 216 x 384 pixels.")] = 2,
) -> None:
    """Draw a scene of mini_ava as a video, with who is where and what they do written on it."""
    from lart_mini import ava
    from lart_mini.figures.films import film_scene
    from lart_mini.figures.pictures import video_kind, write_video

    video_kind(out)
    writable(out)
    pictures = film_scene(scene, size=size, seed=seed, draw=draw, frames=(first, stop, every), zoom=zoom)
    write_video(pictures, out, ava.FRAMES_PER_SECOND / every)
    typer.echo(out)


@app.command()
def appearance(
    context: typer.Context,
    tracklets: Annotated[Path, typer.Argument(help="A folder of released tracklets, a store, or an .npz.")],
    videos: Annotated[
        str,
        typer.Argument(
            help="Folder of their videos, each named as its tracklets name it; one video; or rendered:SIZE, "
            "for tracklets of the rendered mini_ava."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(help="An .npz, or a new folder of released tracklets (for convert, then train).")
    ],
    projection: Annotated[
        Path | None, typer.Option(help="Of --fit, fitted on training tracks: for validation and test.")
    ] = None,
    fit: Annotated[
        Path | None, typer.Option(help="Fit a projection on these very tracks, and write it to this .npz.")
    ] = None,
    pooling: Annotated[
        str, typer.Option(help="With --fit: box (the paper's), hands, head, or several with +.")
    ] = "hands",
    dims: Annotated[int, typer.Option(help="With --fit: width of the vectors.")] = 32,
    rate: Annotated[
        float | None, typer.Option(help="Frames a second that the tracklets count; the video's if not given.")
    ] = None,
    start: Annotated[float, typer.Option(help="Second of the video that is the tracklets' frame 0.")] = 0.0,
) -> None:
    """Look at people in their videos, and write the tracklets with an appearance vector for each second."""
    from lart_mini.appearance.looks import load_projection, with_appearance
    from lart_mini.appearance.trunk import load_trunk
    from lart_mini.appearance.videos import find_videos, named_apart, vectors_of, write_folder
    from lart_mini.tracklets.npz import save_tracklets

    if (projection is None) == (fit is None):
        raise BadInput("lart-mini appearance", "projection", "one of --projection and --fit", "both or none")
    if projection:
        _refuse(context, ("pooling", "dims"), "--fit", "--projection")
    if os.path.realpath(out) in [os.path.realpath(path) for path in (projection, fit) if path]:
        raise BadInput(out, "output", "another file than the projection's", "the same")
    packed = out.suffix == ".npz"
    if not packed and out.exists():
        raise BadInput(out, "output", "an .npz, or a folder that is not there yet", "something there")
    for path in [path for path in (fit, out if packed else out / "tracklets.pkl") if path]:
        writable(path)
    known = load_projection(projection) if projection else (pooling, dims)
    members = list(_read_tracklets(tracklets))
    if not packed:
        named_apart(members, out)
    looks, vectors, used = vectors_of(members, find_videos(members, videos, rate, start), load_trunk(), known)
    dressed = with_appearance(members, looks, vectors)
    if packed:
        save_tracklets(dressed, out)
    else:
        write_folder(dressed, out)
    if fit:
        used.save(fit)
    typer.echo(f"{len(vectors):,} vectors of {vectors.shape[1]} for {len(dressed):,} tracklets: {out}")


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Option(help="Of train (.safetensors), or LART's published one.")],
    tracklets: Annotated[Path, typer.Option(help="A folder of released tracklets, a store, or an .npz.")],
    out: Annotated[Path, typer.Option(help="AVA detections to write, .csv.")],
    stats: Annotated[
        Path | None, typer.Option(help="mean_std.npy; a published checkpoint needs it beside it.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="How samples are built: paper or released; as the checkpoint's model.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Least of a box; 0.8 in the released profile, else 0.")
    ] = None,
    keyframes: Annotated[
        str | None,
        typer.Option(
            help="all (AVA's, from second 902 on), named by the tracklet (released profile), or clip: "
            "each second from frame 0 on, for a clip that is not AVA's."
        ),
    ] = None,
) -> None:
    """Score detections at key frames with a trained model, and write the rows as AVA does."""
    from lart_mini.evaluation import ava_csv
    from lart_mini.evaluation.key_boxes import ava_rows, key_boxes, no_key_boxes
    from lart_mini.lart.config import assembly_for
    from lart_mini.lart.predict import box_scores, samples_of
    from lart_mini.lart.weights import read_model
    from lart_mini.training.devices import usual_device

    writable(out)
    model, statistics = read_model(checkpoint, stats)
    model.to(usual_device())
    members = _read_tracklets(tracklets)
    assembly, profile = assembly_for(model.config, profile), profile or model.config.profile
    samples = samples_of(members, model.config, statistics, assembly)
    which = keyframes or ("named" if profile == "released" else "all")
    least = (0.8 if profile == "released" else 0.0) if confidence is None else confidence
    boxes = key_boxes(members, which, least)
    if len(boxes.table) == 0:
        raise no_key_boxes(tracklets, members, which, least)
    ava_csv.write_detections(ava_rows(boxes, box_scores(model, samples, boxes)), out)
    typer.echo(f"{len(boxes.table):,} boxes of {len(members):,} tracklets: {out}")


@app.command()
def fuse(
    first: Annotated[Path, typer.Argument(help="AVA detections with scores, .csv or .csv.gz.")],
    second: Annotated[Path, typer.Argument(help="Another model's, of the same boxes.")],
    weights: Annotated[tuple[float, float], typer.Option(help="Of the first's scores and the second's.")] = (
        1,
        1,
    ),
    out: Annotated[Path, typer.Option(help="Fused detections to write, .csv.")] = Path("/dev/stdout"),
) -> None:
    """Add two models' scores of the same boxes by weight; boxes that are not equal are refused."""
    from lart_mini.evaluation.ava_csv import write_detections
    from lart_mini.evaluation.fusion import fuse_files

    writable(out)
    write_detections(fuse_files(first, second, weights), out)


skeletons = typer.Typer(no_args_is_help=True, help="Skeletons of pyskl's annotation files, and its weights.")
app.add_typer(skeletons, name="skeletons")


@skeletons.command("convert")
def convert_skeletons(
    source: Annotated[Path, typer.Argument(help="pyskl's annotation file, .pkl.")],
    destination: Annotated[Path, typer.Argument(help="Folder of the store; a new one.")],
    keypoint_files: Annotated[
        Path | None, typer.Option(help="Folder of the files that Kinetics' annotations name.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="How many there are: labels must lie below.")] = None,
    least_score: Annotated[
        float, typer.Option(help="Joints at or below it are taken as not found; -1: none, as MMAction2.")
    ] = 0.01,
) -> None:
    """Convert an annotation file once into memory maps, as the published networks read it."""
    from lart_mini.skeletr.store import convert_annotations

    store = convert_annotations(
        source, destination, classes=classes, keypoint_files=keypoint_files, least_score=least_score
    )
    splits = ", ".join(f"{name} {len(members):,}" for name, members in store.splits.items())
    told = f"{len(store):,} annotations, {int(store.frames.sum()):,} frames, {store.joints} joints"
    typer.echo(f"{told}; splits {splits}: {destination}")


@skeletons.command("evaluate")
def evaluate_skeletons(
    checkpoint: Annotated[
        list[Path], typer.Option(help="ST-GCN++ of pyskl or MMAction2, .pth; once for each stream.")
    ],
    annotations: Annotated[Path, typer.Option(help="An annotation file, .pkl, or what convert made of it.")],
    split: Annotated[str, typer.Option(help="Such as xsub_val.")],
    stream: Annotated[
        list[str] | None,
        typer.Option(help="Of each checkpoint: joint (if not given), bone, joint_motion or bone_motion."),
    ] = None,
    weights: Annotated[
        list[float] | None, typer.Option(help="Of each stream; as published, 2 : 2 : 1 : 1, if not given.")
    ] = None,
) -> None:
    """Accuracy of published weights on a split: ten clips an annotation, as published."""
    from lart_mini.skeletr.pyskl import evaluate_pyskl, named_streams
    from lart_mini.skeletr.streams import FUSION
    from lart_mini.training.devices import usual_device

    named = named_streams(checkpoint, stream or ["joint"])
    if weights is not None and len(weights) != len(named):
        raise BadInput("--weights", "weights", f"one for each of {', '.join(named)}", weights)
    shares = FUSION if weights is None else dict(zip(named, weights, strict=True))
    for name, found in evaluate_pyskl(named, annotations, split, shares, usual_device()).items():
        typer.echo(f"{name}: {found.text()}")


@app.command()
def lift(
    checkpoint: Annotated[Path, typer.Option(help="A UPS that learnt lifting (.safetensors).")],
    detections: Annotated[Path, typer.Option(help="Human3.6M's 2D detections, .npz with positions_2d.")],
    out: Annotated[Path, typer.Option(help="Poses to write, .npz: one array (T,17,3) a clip and camera.")],
    clip: Annotated[str | None, typer.Option(help='One clip, as "S9/Walking 1"; all if not given.')] = None,
    rate: Annotated[float, typer.Option(help="Frames a second of the detections.")] = 50.0,
    focal: Annotated[float, typer.Option(help="The camera's focal length in pixels.")] = 1145.0,
    centre: Annotated[tuple[float, float], typer.Option(help="Its principal point.")] = (513.0, 509.0),
) -> None:
    """Lift 2D joints to 3D poses about the hip, in metres in the camera's frame, word by word with UPS.

    Each person is lifted as if seen in the middle, by --focal and --centre; the camera must not roll.
    """
    from lart_mini.files import write_npz
    from lart_mini.ups.human36m import detection_views, read_detections_2d
    from lart_mini.ups.recipe import load_ups
    from lart_mini.ups.scores import answers

    writable(out)
    model, vocabulary, _ = load_ups(checkpoint)
    clips = read_detections_2d(detections)
    if clip is not None and clip not in clips:
        raise BadInput(detections, "clip", " | ".join(clips), clip)
    poses, malformed = {}, 0
    for name in clips if clip is None else [clip]:
        for camera, pixels in enumerate(clips[name]):
            seen, turns = detection_views(pixels, rate, focal, centre)
            said = answers(model, vocabulary, seen)
            poses[f"{name}/{camera}"] = said.mean_pose @ turns
            malformed += int(said.malformed.sum())
    count = sum(map(len, poses.values()))
    share = f"{malformed / count:.1%} of its sentences malformed"
    if 2 * malformed > count:
        raise BadInput(checkpoint, "lifting", "a UPS that learnt it", share)
    write_npz(out, poses, compress=True)
    told = f", {share}" if malformed else ""
    typer.echo(f"{count:,} poses of {len(poses):,} clips{told}: {out}")


def _read_tracklets(path: Path) -> Store | list[Tracklet]:
    from lart_mini.tracklets.npz import load_tracklets
    from lart_mini.tracklets.released import read_released, released_files
    from lart_mini.tracklets.store import Store, is_store

    if is_store(path):
        return Store(path)
    if not path.is_dir():
        return load_tracklets(path)
    return [read_released(file) for file in released_files(path)]


UsageError: Any = typer.BadParameter.__base__  # typer brings a click of its own, or not, by its version


def main(arguments: list[str] | None = None) -> Any:
    """Run the command and leave with its code; what goes wrong outside of the package is one line, too.

    0 on success; 1 when a notebook or a score fails; 2 on bad input, wrong options, what the system refuses
    and where memory is too small; 130 when stopped by the keyboard.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # a code page without a character must not end the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        sys.exit(_run(given))


def _run(arguments: list[str]) -> int:
    """Run the command; gives the exit code."""
    command: Any = typer.main.get_command(app)
    try:
        with command.make_context("lart-mini", arguments) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as left:
        return left.exit_code
    except UsageError as problem:
        if not arguments:  # for which typer shows the help
            problem.show()
            return 2
        return _tell_problem(problem.format_message().replace("\n", " "))
    except BadInput as problem:
        return _tell_problem(str(problem))
    except (KeyboardInterrupt, typer.Abort):
        return _tell_problem("stopped", code=130)
    except BrokenPipeError:  # whoever read has had enough; python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as problem:
        file = problem.filename2 or problem.filename or " ".join(arguments[:1])
        return _tell_problem(printable(f"{os.fsdecode(file)}: {problem.strerror or problem}"))
    except (MemoryError, RuntimeError) as problem:
        if not isinstance(problem, MemoryError) and "memory" not in str(problem):  # as torch says it
            raise
        return _tell_problem(f"{arguments[0]}: more memory is needed than there is")
    return 0


def _tell_problem(text: str, code: int = 2) -> int:
    for line in text.splitlines():
        typer.echo(f"lart-mini: {line}", err=True)
    return code


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"lart-mini: {printable(' '.join(str(message).split()))}", err=True)


if __name__ == "__main__":
    main()
