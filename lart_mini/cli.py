"""The command `lart-mini`: thin commands over the package. Bad input: one line on stderr, exit code 2."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lart_mini import __version__
from lart_mini.errors import BadInput, atomic_path
from lart_mini.reproduce import NotebookFailed

if TYPE_CHECKING:
    from lart_mini.tracklets import Tracklet

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
        str, typer.Option(help="smoke (minutes), laptop (a quarter of an hour) or gpu.")
    ] = "laptop",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; runs/<profile> if not given.")
    ] = None,
    notebooks: Annotated[
        Path | None, typer.Option(help="Folder of the notebooks, if not this project's.")
    ] = None,
) -> None:
    """Run every notebook, then write report.html and results.json."""
    from lart_mini.reproduce import find_notebooks
    from lart_mini.reproduce import reproduce as run

    results = run(profile, out, notebooks)
    folder = out or find_notebooks(notebooks).resolve().parent / "runs" / profile
    typer.echo(f"validation mAP {100 * results['validation']['mAP']:.1f} % in {results['seconds']:.0f} s")
    typer.echo(f"report: {folder / 'report.html'}")


@app.command()
def evaluate(
    groundtruth: Annotated[Path, typer.Option(help="AVA ground truth, .csv or .csv.gz, without header.")],
    detections: Annotated[Path, typer.Option(help="AVA detections with scores, .csv or .csv.gz.")],
    policy: Annotated[str, typer.Option(help="activitynet (LART's), slowfast or mmaction2.")] = "activitynet",
    excluded: Annotated[Path | None, typer.Option(help="CSV of excluded video,second rows.")] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the result to this JSON file.")] = None,
) -> None:
    """Score detections as AVA does: mAP at IoU 0.5, per class and category, with a diagnosis."""
    from lart_mini.evaluation import evaluate_files, report_text

    evaluation = evaluate_files(groundtruth, detections, policy=policy, excluded=excluded)
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

    from lart_mini.mini_ava import mini_ava

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
def validate(
    path: Annotated[Path, typer.Argument(help="A released tracklet file (.pkl) or a folder of them.")],
) -> None:
    """Read released tracklet files safely and name every one that breaks the format."""
    from lart_mini.progress import progress
    from lart_mini.tracklets import read_released

    files = sorted(path.rglob("*.pkl")) if path.is_dir() else [path]
    if not files:
        raise BadInput(path, "folder", "tracklet files *.pkl", "none")
    problems: list[str] = []
    frames = 0
    for file in progress(files, unit="file"):
        try:
            frames += len(read_released(file))
        except BadInput as problem:
            problems.append(str(problem))
    for line in problems:
        typer.echo(line, err=True)
    typer.echo(f"{len(files) - len(problems)} of {len(files)} files are valid, {frames} frames")
    if problems:
        raise typer.Exit(2)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints; what is there already is read.")],
    size: Annotated[str, typer.Option(help="Of mini_ava: smoke, laptop or gpu.")] = "smoke",
    seed: Annotated[int, typer.Option(help="Of weights, crops, masks and dropout.")] = 0,
    preset: Annotated[str, typer.Option(help="Of the model: mini or paper.")] = "mini",
    pretrain_epochs: Annotated[int | None, typer.Option(help="On the teacher's pseudo labels.")] = None,
    finetune_epochs: Annotated[int | None, typer.Option(help="On ground truth.")] = None,
) -> None:
    """Pre-train and fine-tune LART on mini_ava; leaves one checkpoint for each stage."""
    from lart_mini.stages import Recipe, checkpoint_name, finetune, pretrain

    recipe = Recipe(size=size, seed=seed, preset=preset)
    if pretrain_epochs is not None:
        recipe = replace(recipe, pretrain_epochs=pretrain_epochs)
    if finetune_epochs is not None:
        recipe = replace(recipe, finetune_epochs=finetune_epochs)
    for stage, run in (("pretrain", pretrain), ("finetune", finetune)):
        history = run(recipe, out).history
        speed = f"{history.seconds:.0f} s, {history.tokens_per_second:,.0f} tokens/s"
        loss = f"loss {history.loss[0]:.4f} to {history.loss[-1]:.4f} in {len(history.loss)} steps"
        typer.echo(f"{out / checkpoint_name(stage, recipe)}: {loss}, {speed}")


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Option(help="What `train` left, .safetensors.")],
    tracklets: Annotated[Path, typer.Option(help="A folder of released tracklets, or a store, .npz.")],
    out: Annotated[Path, typer.Option(help="AVA detections to write, .csv.")],
) -> None:
    """Score every detection at a key frame with a trained model, and write the rows as AVA does."""
    from lart_mini import ava
    from lart_mini.checkpoints import load_checkpoint
    from lart_mini.predict import at_key_boxes, ava_rows, key_boxes
    from lart_mini.stages import Trained, scores_of
    from lart_mini.train import History

    model, stats, _ = load_checkpoint(checkpoint)
    members = _read_tracklets(tracklets)
    for tracklet in members:
        if len(tracklet) > model.config.frames:
            raise BadInput(tracklet.name, "length", f"at most {model.config.frames} frames", len(tracklet))
    boxes = key_boxes(members)
    if len(boxes.table) == 0:
        raise BadInput(tracklets, "boxes", "a detection at a key frame", "none")
    scores = scores_of(Trained(model, stats, History([], [], 0, 0.0, 0.0)), members)
    ava.write_detections(ava_rows(boxes, at_key_boxes(scores, boxes)), out)
    typer.echo(f"{len(boxes.table)} boxes of {len(members)} tracklets: {out}")


def _read_tracklets(path: Path) -> list[Tracklet]:
    from lart_mini.tracklets import load_tracklets, read_released

    if not path.is_dir():
        return load_tracklets(path)
    files = sorted(path.rglob("*.pkl"))
    if not files:
        raise BadInput(path, "folder", "tracklet files *.pkl", "none")
    return [read_released(file) for file in files]


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; 0 on success, 1 when a notebook or a score fails, 2 on bad input."""
    try:
        return app(args=arguments)
    except NotebookFailed as problem:
        typer.echo(f"lart-mini: {problem}", err=True)
        sys.exit(1)
    except (BadInput, FileNotFoundError) as problem:
        typer.echo(f"lart-mini: {problem}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
