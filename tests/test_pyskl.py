"""Published ST-GCN++ checkpoints: three forms, every name accounted for, accuracies as published."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import pyskl_input
from skeleton_files import annotation_2d, annotations, checkpoint, dump, kinetics, weights

from lart_mini import cli
from lart_mini.files import BadInput
from lart_mini.skeletr.pyskl import accuracy, class_scores, evaluate_pyskl, load_pyskl, named_streams
from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, STGCNConfig
from lart_mini.skeletr.store import convert_annotations
from lart_mini.skeletr.streams import STREAMS

# The doc's table of names, right column to left, once for each kind of weight there.
PLACES = {
    "norm.weight": "data_bn.weight",
    "blocks.2.space.graph": "gcn.2.gcn.A",
    "blocks.2.space.conv.bias": "gcn.2.gcn.conv.bias",
    "blocks.2.space.norm.running_var": "gcn.2.gcn.bn.running_var",
    "blocks.2.space.short.0.weight": "gcn.2.gcn.down.0.weight",
    "blocks.2.space.short.1.bias": "gcn.2.gcn.down.1.bias",
    "blocks.1.time.branches.0.0.weight": "gcn.1.tcn.branches.0.0.weight",
    "blocks.1.time.branches.4.1.weight": "gcn.1.tcn.branches.4.1.weight",
    "blocks.1.time.branches.3.3.weight": "gcn.1.tcn.branches.3.3.conv.weight",
    "blocks.1.time.branches.5.bias": "gcn.1.tcn.branches.5.bias",
    "blocks.1.time.mix.0.bias": "gcn.1.tcn.transform.0.bias",
    "blocks.1.time.mix.2.weight": "gcn.1.tcn.transform.2.weight",
    "blocks.1.time.mix.3.running_mean": "gcn.1.tcn.bn.running_mean",
    "blocks.2.residual.0.weight": "gcn.2.residual.conv.weight",
    "blocks.2.residual.1.num_batches_tracked": "gcn.2.residual.bn.num_batches_tracked",
}


@pytest.mark.parametrize("form", ["pyskl", "flat", "mmaction2"])
@pytest.mark.parametrize("joints", [17, 25, 18, 21])
def test_all_forms_and_layouts_are_read(tmp_path: Path, form: str, joints: int) -> None:
    backbone, head, layout = load_pyskl(checkpoint(tmp_path / "a.pth", form, joints=joints))
    assert (layout.joints, layout) == (joints, LAYOUTS[layout.name])
    assert backbone.config == STGCNConfig(layout.name, 3, (12, 12, 18), (1, 1, 2), padded="zeros")
    published, ours = weights(joints=joints), backbone.state_dict()
    for name, theirs in PLACES.items():
        assert torch.equal(ours[name], published[f"backbone.{theirs}"]), name
    assert torch.equal(head.weight, published["cls_head.fc_cls.weight"])
    assert torch.equal(head.bias, published["cls_head.fc_cls.bias"])
    assert len(ours) + 2 == len(published)
    assert not backbone.training and not head.training


def test_the_prefix_may_be_missing(tmp_path: Path) -> None:
    bare = {name.removeprefix("backbone."): value for name, value in weights().items()}
    torch.save(bare, tmp_path / "a.pth")
    found = load_pyskl(tmp_path / "a.pth")[0].state_dict()
    wanted = load_pyskl(checkpoint(tmp_path / "b.pth"))[0].state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_published_size(tmp_path: Path) -> None:
    config = STGCNConfig()
    path = checkpoint(tmp_path / "a.pth", widths=config.widths, classes=60)
    backbone, head, _ = load_pyskl(path)
    assert backbone.config.strides == config.strides
    assert sum(x.numel() for x in backbone.parameters()) == 1_377_596
    assert head.out_features == 60


def test_strides_that_no_shape_tells_are_an_argument(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth")
    assert load_pyskl(path, strides=(1, 1, 1))[0].config.strides == (1, 1, 1)
    with pytest.raises(BadInput, match=r"a\.pth: strides: expected 3 numbers"):
        load_pyskl(path, strides=(1, 2))
    with pytest.raises(BadInput, match=r"7 missing: gcn\.1\.residual"):
        load_pyskl(path, strides=(1, 2, 2))


def renamed(old: str, new: str) -> Callable[[Any], Any]:
    return lambda state: {name.replace(old, new): value for name, value in state.items()}


def other(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda state: state | {name: value(state[name]) if callable(value) else value}


def without(*names: str) -> Callable[[Any], Any]:
    return lambda state: {name: value for name, value in state.items() if name not in names}


BN = "backbone.gcn.1.tcn.bn"
BAD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "layout": (lambda state: weights(joints=16), r"gcn\.0\.gcn\.A: expected a layout of 17 \(coco\), .* 16"),
    "missing": (without(f"{BN}.bias"), r"state_dict: .*1 missing: gcn\.1\.tcn\.bn\.bias$"),
    "two": (
        lambda state: without(f"{BN}.bias")(state) | {"backbone.extra": torch.zeros(2)},
        r"1 missing: gcn\.1\.tcn\.bn\.bias; 1 left over: extra$",
    ),
    "another network": (renamed("tcn.transform", "tcn.x"), r"gcn\.0\.tcn\.transform\.0\.weight: expec"),
    "no head": (renamed("cls_head", "head"), r"head: expected cls_head\.fc_cls\.weight or .*found neither"),
    "two heads": (other("cls_head.fc.weight", torch.zeros(2, 2)), r"head: expected .* found \["),
    "shape": (other(f"{BN}.bias", torch.zeros(9)), r"gcn\.1\.tcn\.bn\.bias: expected shape \(12,\)"),
    "channels": (other("backbone.data_bn.weight", torch.zeros(50)), r"data_bn\.\w+: expected shape \(34,\)"),
    "nan": (other(f"{BN}.bias", lambda x: x * torch.nan), r"gcn\.1\.tcn\.bn\.bias: expected finite numbers"),
    "variance": (other(f"{BN}.running_var", lambda x: -x), r"running_var: expected no number below 0"),
    "integers": (other(f"{BN}.bias", lambda x: x.long()), r"gcn\.1\.tcn\.bn\.bias: expected finite numbers"),
    "gap": (renamed("gcn.1.", "gcn.7."), r"blocks: expected gcn\.0 to gcn\.2, found \[0, 2, 7\]"),
    "no tensor": (other("backbone.a", "b"), r"state_dict\['backbone\.a'\]: expected a tensor, found str"),
    "empty": (lambda state: {}, r"state_dict: expected weights by name"),
    "head alone": (other("cls_head.fc_cls.bias", torch.zeros(3)), r"fc_cls\.bias: expected shape \(5,\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_another_checkpoint_is_refused(tmp_path: Path, case: str) -> None:
    changed, message = BAD[case]
    torch.save({"state_dict": changed(dict(weights()))}, tmp_path / "a.pth")
    with pytest.raises(BadInput) as refused:
        load_pyskl(tmp_path / "a.pth")
    assert re.search(rf"a\.pth: {message}|{message}", str(refused.value)), str(refused.value)


class Runs:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("ran",)


def test_nothing_in_a_checkpoint_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": weights(), "message_hub": Runs()}, tmp_path / "a.pth")
    with pytest.raises(BadInput, match=r"torch\.save\(\{'state_dict'.*found (posix|nt)\.mkdir"):
        load_pyskl("a.pth")
    assert not Path("ran").exists()


# ---------------------------------------------------------------------------------------------- evaluation


def test_scores_are_those_of_the_plain_pipeline(tmp_path: Path) -> None:
    """Every person computed, zeros where one is missing; mean over joints, frames, people; softmax; clips."""
    content = annotations("2d", 9, classes=5)
    store = convert_annotations(dump(content, tmp_path / "a.pkl"), tmp_path / "store")
    backbone, head, _ = load_pyskl(checkpoint(tmp_path / "a.pth"))
    assert set(store.people) == {1, 2}
    for stream in STREAMS[:2]:
        found = class_scores(backbone, head, store, np.arange(9), stream, batch_size=2)
        for scores, annotation in zip(found, content["annotations"], strict=True):
            x = torch.from_numpy(pyskl_input.sample(annotation, stream, 10))
            with torch.no_grad():
                wanted = head(backbone(x).mean((3, 4)).mean(1)).softmax(1).mean(0)
            np.testing.assert_allclose(scores, wanted, atol=1e-6)


def test_accuracies_are_counted() -> None:
    scores = np.array([[0.5, 0.4, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    scores = np.concatenate([scores, np.full((4, 3), [0.15, 0.15, 0.05])], axis=1)
    found = accuracy(scores, np.array([0, 0, 1, 5]))
    assert found.top1 == 0.5 and found.top5 == 0.75 and found.mean_class == pytest.approx((0.5 + 1 + 0) / 3)
    text = "top-1 50.00 %, top-5 75.00 %, mean class accuracy 50.00 % of 4 annotations"
    assert found.text() == text


def test_streams_are_fused_by_weight(tmp_path: Path) -> None:
    path = dump(annotations("2d", 12, classes=5), tmp_path / "a.pkl")
    paths = [checkpoint(tmp_path / f"{name}.pth", seed=seed) for seed, name in enumerate(STREAMS)]
    named = named_streams(paths, STREAMS)
    found = evaluate_pyskl(named, path, "xsub_val")
    assert list(found) == [*STREAMS, "fused"] and found["fused"].annotations == 4
    store = convert_annotations(path, tmp_path / "store")
    which = store.split("xsub_val")
    scores = [class_scores(*load_pyskl(one)[:2], store, which, stream) for stream, one in named.items()]
    fused = 2 * scores[0] + 2 * scores[1] + scores[2] + scores[3]
    assert found["fused"] == accuracy(fused, store.label[which])
    assert found["bone"] == accuracy(scores[1], store.label[which])
    one = evaluate_pyskl({"joint": paths[0]}, tmp_path / "store", "xsub_val")
    assert one == {"joint": found["joint"]}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main([str(one) for one in ("skeletons", "evaluate", *arguments)])
    told = capsys.readouterr()
    return end.value.code, told.out, told.err


def test_the_command_prints_a_line_a_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dump(annotations("3d", 6, classes=5), tmp_path / "a.pkl")
    weighed = checkpoint(tmp_path / "a.pth", joints=25)
    both = ("--stream", "joint", "--stream", "bone", "--checkpoint", weighed, "--checkpoint", weighed)
    code, out, _ = run(capsys, *both, "--annotations", path, "--split", "xsub_val")
    assert code == 0 and [line.split(":")[0] for line in out.splitlines()] == ["joint", "bone", "fused"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.pkl", "a.pth"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--split": "xset_val"}, r"a\.pkl: split: expected one of xsub_train, xsub_val, found xset_val"),
        ({"--annotations": "many.pkl"}, r"many\.pkl: S001C003P001R000A005, label: .* 0 to 4, found 5"),
        ({"--annotations": "store"}, r"store: S001C003P001R000A005, label: expected below 5, .*found 5"),
        ({"--annotations": "3d.pkl"}, r"a\.pth: layout: expected 25 joints in 3D .*found 17 .* 2D \(coco\)"),
        ({"--annotations": "3d"}, r"a\.pth: layout: expected 25 joints in 3D .*, found 17 .* 2D \(coco\)"),
        (
            {"--annotations": "flat.pkl", "--checkpoint": "3d.pth"},
            r"3d\.pth: layout: expected 25 joints in 2D as in flat\.pkl, found 25 joints in 3D \(nturgb\+d\)",
        ),
        ({"--annotations": "k.pkl", "--split": "val"}, r"raw_file: .* convert --keypoint-files\), found"),
        ({"--stream": "hands"}, r"--stream: streams: expected one of joint, .*found hands for 1"),
        ({"--checkpoint": "a.pkl"}, r"a\.pkl: file: expected a PyTorch checkpoint"),
        ({"--annotations": "none"}, r"none: store: expected a folder"),
        ({"--weights": "-1"}, r"--weights: weight: expected a finite number from 0"),
        ({"--weights": "0"}, r"--weights: weights: expected one above 0, found \(0\.0,\)"),
        ({"--checkpoint": "a.pth --checkpoint a.pth"}, r"--stream: streams: .*for each checkpoint, .* for 2"),
        (
            {"--checkpoint": "a.pth --checkpoint a.pth", "--stream": "joint --stream bone", "--weights": "1"},
            r"--weights: weights: expected one for each of joint, bone, found \[1\.0\]",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path,
    change: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint(Path("a.pth"))
    dump(annotations("2d", 6, classes=5), Path("a.pkl"))
    convert_annotations(dump(annotations("2d", 6), Path("many.pkl")), "store")
    convert_annotations(dump(annotations("3d", 6, classes=5), Path("3d.pkl")), "3d")
    dump(kinetics(Path()), Path("k.pkl"))
    flat = annotations("2d", 6, classes=5)
    for one in flat["annotations"]:
        one |= annotation_2d(one["frame_dir"], one["label"], 1, 32, 0, joints=25)
    dump(flat, Path("flat.pkl"))
    checkpoint(Path("3d.pth"), joints=25)
    options = {"--checkpoint": "a.pth", "--annotations": "a.pkl", "--split": "xsub_val"} | change
    code, out, err = run(capsys, *" ".join(f"{name} {value}" for name, value in options.items()).split())
    assert code == 2 and out == "" and err.count("\n") == 1
    assert re.search(message, err), err


@pytest.mark.parametrize(
    ("sizes", "split", "message"),
    [
        ({"channels": 2}, "xsub_val", r"channels: expected 3, of a joint, found 2"),
        ({"joints": 25}, "xsub_val", r"layout: expected 17 joints in 2D as in"),
        ({}, "xset_val", r"split: expected one of xsub_train, xsub_val, found xset_val"),
    ],
    ids=["channels", "layout", "split"],
)
def test_what_does_not_fit_is_refused_before_a_file_is_converted(
    tmp_path: Path, sizes: dict[str, int], split: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dump(annotations("2d", 6, classes=5), tmp_path / "a.pkl")
    monkeypatch.setattr("lart_mini.skeletr.pyskl.write_store", lambda *_: pytest.fail("converted"))
    with pytest.raises(BadInput, match=message):
        evaluate_pyskl({"joint": checkpoint(tmp_path / "a.pth", **sizes)}, path, split)


def test_every_weight_of_ours_has_a_published_name() -> None:
    """Its own, at all strides."""
    from lart_mini.skeletr.pyskl import _published_name

    for strides in ((1, 1, 1), (1, 2, 2)):
        names = list(STGCNPP(STGCNConfig(widths=(12, 12, 18), strides=strides)).state_dict())
        published = {_published_name(name) for name in names}
        assert len(published) == len(names)
        assert not [name for name in published if re.search("space|time|short|mix|blocks|norm", name)]
