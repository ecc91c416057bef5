"""The ladder: each rung beside the one that it differs from by one option. Lesson 08.

    python -m benchmarks.ladder              all trained rungs on 200 test scenes: 20 minutes
    python -m benchmarks.ladder --scenes 50  sooner, and not written
    python -m benchmarks.ladder --times      measures the column `ms` anew, nothing else

Writes assets/ladder.csv, predictions.png and curves.png, and the scores into the family's cards.
A step is the paired difference of mIoU on the same scenes, over the answers of all seeds that both
rungs have, with the interval that other scenes would give (`low`, `high`); `step_of_seeds` lists
that of each seed, so luck of the scenes and luck of the seed are seen apart. The last rows are no
networks: perfect labels, shrunk to a stride and enlarged again. Answers are kept in
runs/ladder/answers: a second call scores only what is new. Of second seeds assets/ladder has no
weights, which would fill it, but cards and what the table needs of their answers.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import turns
from deeplab_lite import ask, checkpoints, metrics, tables
from deeplab_lite.ask import Inference
from deeplab_lite.classroom import draw
from deeplab_lite.files import replacing
from deeplab_lite.labels import IGNORE
from deeplab_lite.models.base import resize
from deeplab_lite.models.zoo import FAMILY
from deeplab_lite.receptive_field import effective_receptive_field, receptive_fields
from deeplab_lite.scenes import CLASSES, ORDINARY, SPLITS, full_scene, normalize
from tools.family import ROOT, RUNGS_AT, curve, weights

ASSETS = ROOT / "assets"
TABLE = ASSETS / "ladder.csv"
ANSWERS = ROOT / "runs" / "ladder" / "answers"
SIDE = ORDINARY.side
COUNT = 200
RADII = (20, 35, 60, 90, 141)  # pixels
DISTANCES = (0, 4, 16, 32, 64, 999)  # pixels from the nearest outline
SEEDS = (0, 1)
STRIDES = (16, 8, 4)
SHOWN = (3, 8, 11, 23, 40)  # test scenes of the picture
IN_PICTURE = ("v1-small", "v1", "v2", "v3", "v3+")
V1_CRF: dict[str, Any] = {}  # dense_crf's defaults are those of v1's script
SIX = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
THREE = (0.75, 1.0, 1.25)


# What a card says of its scores beside those of the others; tests hold it to them.
NOTES = {
    "v1-small": "v1 without LargeFOV: fc6 at rate 1. It knows least of "
    "the middles of large shapes.",
    "v1": "LargeFOV: fc6 at rate 12 finds the outlines of large shapes from their middles. Corners "
    "and thin handles are lost at output stride 8.",
    "v2": "ASPP-L: four rates where v1 has one, with nearly twice the weights in all.",
    "v3": "At output stride 16 edges are coarser than v2's at 8; inside large shapes it "
    "is as good.",
    "v3plus": "v3 and a decoder, which brings back what lies within a few pixels of an edge.",
    "v3plus-lite0": "It began from ImageNet, and saw half of the scenes that the others saw.",
}


class Rung(NamedTuple):
    """A trained network and how it is asked.

    `against`: the rung that it differs from by one option; `paper`: the same step there, in points
    of mIoU on VOC 2012, and where it stands.
    """

    name: str
    against: str
    idea: str
    paper: str
    run: str
    how: Inference = Inference()


AS_IS, AT8 = Inference(), Inference(output_stride=8)
MIRROR, CRF = Inference(flip=True), Inference(crf=V1_CRF)
LADDER = (
    Rung("v1-small", "", "", "", "v1-small"),
    Rung("v1", "v1-small", "LargeFOV: fc6 at rate 12", "", "v1"),
    Rung("v1, 4x4", "", "", "", "v1-4x4"),
    Rung("v1, 3x3 at 12", "v1, 4x4", "fc6 3x3 at 12, not 4x4 at 4", "+2.45 (v1, table 1)", "v1"),
    Rung("v2", "v1", "ASPP-L: rates 6, 12, 18, 24", "+3.20 (v2, table 3)", "v2"),
    Rung("v2, ASPP-S", "v1", "ASPP-S: rates 2, 4, 8, 12", "+1.22 (v2, table 3)", "v2-aspp-s"),
    Rung("v2, rates 12", "v1", "four branches, all at 12", "", "v2-equal"),
    Rung("v2, 6 to 24", "v2, rates 12", "rates 6 to 24, not all 12", "", "v2"),
    Rung("v2, max of three sizes", "v2", "sizes 1, .75, .5, in training too", "+2.55 (v2, table 4)",
         "v2-scales", Inference(scales=(1.0, 0.75, 0.5), fuse="max")),
    Rung("v3", "", "", "", "v3"),
    Rung("v3, trained at OS8", "v3", "stride 8 in training", "+1.30 (v3, table 1)", "v3-os8"),
    Rung("v3's head, OS8", "v2", "head: concatenation, image", "", "v3-os8"),
    Rung("v3, asked at OS8", "v3", "stride 8 at test", "+1.30 (v3, table 6)", "v3", AT8),
    Rung("v3, second stage", "v3", "500 steps at stride 8", "", "v3-second-stage", AT8),
    Rung("v3, longer", "v3", "500 steps more, stride 16", "", "v3-longer"),
    Rung("v3, no pooling", "", "", "", "v3-no-pooling"),
    Rung("v3, pooling", "v3, no pooling", "image pooling", "+0.63 (v3, table 5)", "v3"),
    Rung("v3, rates 1", "", "", "", "v3-near"),
    Rung("v3, rates 3 6 9", "v3, rates 1", "rates 3, 6, 9, not all 1", "", "v3"),
    Rung("v3, rates 1, no pooling", "", "", "", "v3-near-no-pooling"),
    Rung("v3, rates 1, pooling", "v3, rates 1, no pooling", "image pooling at rates 1", "",
         "v3-near"),
    Rung("v3, grid 1 2 1", "v3", "multi-grid 1, 2, 1", "+0.57 (v3, table 5)", "v3-mg121"),
    Rung("v3, grid 1 2 4", "v3", "multi-grid 1, 2, 4", "+1.22 (v3, table 5)", "v3-mg124"),
    Rung("v3, rates 6 12 18", "v3", "rates for crops of 513", "", "v3-far"),
    Rung("v3, crop 161", "v3", "small crops", "-9.99 (v3, table 8)", "v3-crop161"),
    Rung("v3+", "v3", "decoder", "+1.64 (v3+, table 3)", "v3plus"),
    Rung("v3+, separable", "v3+", "separable", "-0.14 (v3+, table 5)", "v3plus-separable"),
    Rung("v3+ Lite0", "", "", "", "v3plus-lite0"),
    Rung("v3, mirror", "v3", "mirror image", "+0.32 (v3, table 6)", "v3", MIRROR),
    Rung("v3, three sizes", "v3", "sizes .75 to 1.25", "", "v3", Inference(scales=THREE)),
    Rung("v3, six sizes", "v3", "sizes .5 to 1.75", "+0.94 (v3, table 6)", "v3",
         Inference(scales=SIX)),
    Rung("v3+, mirror", "v3+", "mirror image", "", "v3plus", MIRROR),
    Rung("v1 + CRF", "v1", "CRF", "+4.08 (v2, table 3)", "v1", CRF),
    Rung("v2 + CRF", "v2", "CRF", "+2.61 (v2, table 3)", "v2", CRF),
    Rung("v2, ASPP-S + CRF", "v2, ASPP-S", "CRF", "+2.75 (v2, table 3)", "v2-aspp-s", CRF),
    Rung("v3 + CRF", "v3", "CRF", "", "v3", CRF),
    Rung("v3+ + CRF", "v3+", "CRF", "", "v3plus", CRF),
)  # fmt: skip


class Test(NamedTuple):
    """Test scenes: images, labels with and without 255 on outlines, each pixel's shape's radius and
    its distance from the nearest outline."""

    images: np.ndarray
    banded: Tensor
    exact: Tensor
    radius: Tensor
    distance: Tensor


@cache
def test_scenes(count: int) -> Test:
    drawn = [full_scene(SPLITS["test"][0] + i) for i in range(count)]
    exact, radius = [], []
    for each in drawn:  # owner -1, the background, takes the last
        exact.append(np.array([*(s.label for s in each.shapes), 0], np.uint8)[each.owner])
        radius.append(np.array([*(s.radius for s in each.shapes), 0], np.float32)[each.owner])
    labels = torch.from_numpy(np.stack(exact))
    return Test(
        np.stack([each.image for each in drawn]),
        torch.from_numpy(np.stack([each.label for each in drawn])),
        labels,
        torch.from_numpy(np.stack(radius)),
        metrics.boundary_distance(labels),
    )


class Answers(NamedTuple):
    """Of one network, asked in one way: its labels, N x H x W, and its calibration error."""

    labels: Tensor
    calibration: float


def asked(rung: Rung) -> str:
    """`rung.how` as a part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in f"{rung.how}").strip("-")


def digest(rung: Rung, seed: int) -> str:
    """Which weights answer: the first of their sha256, as on the card."""
    return str(checkpoints.card(weights(rung.run, seed))["sha256"][:12])


def answers(rung: Rung, seed: int, count: int) -> Answers:
    """What the network of this seed says of the test scenes; kept, since a CRF takes its time."""
    kept = ANSWERS / f"{rung.run}-{seed}-{digest(rung, seed)}-{asked(rung)}-{count}.npz"
    if not kept.exists():
        network = checkpoints.load(weights(rung.run, seed)).to(memory_format=torch.channels_last)
        test = test_scenes(count)
        probs = (ask.probabilities(network, image, rung.how) for image in test.images)
        labels, table = [], np.zeros((15, 3))
        for each, label in zip(probs, test.banded.numpy(), strict=True):
            labels.append(each.argmax(0).astype(np.uint8))
            counted = label != IGNORE
            confidence, right = each.max(0)[counted], (labels[-1] == label)[counted]
            bins = np.minimum((confidence * 15).astype(int), 14)
            for column, value in enumerate((np.ones_like(confidence), confidence, right)):
                table[:, column] += np.bincount(bins, value, 15)
        error = np.abs(table[:, 1] - table[:, 2]).sum() / table[:, 0].sum()
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, labels=np.stack(labels), error=error)
    with np.load(kept) as stored:
        return Answers(torch.from_numpy(stored["labels"]), float(stored["error"]))


class Tally(NamedTuple):
    """What the table needs of one network's answers: a confusion matrix of each scene, scores."""

    matrices: Tensor
    scores: dict[str, float]


def tally(rung: Rung, seed: int, count: int) -> Tally:
    """Of this network's answers, kept; a second seed's beside its card, which has no weights."""
    kept = (RUNGS_AT if seed else ANSWERS) / f"{rung.run}-{seed}.npz"
    stored = dict(np.load(kept)) if kept.exists() and count == COUNT else {}
    of = digest(rung, seed)
    mine = [f"{of} {asked(rung)} {part}" for part in ("matrices", "names", "scores")]
    if mine[0] not in stored:
        test, (labels, error) = test_scenes(count), answers(rung, seed, count)
        matrices = metrics.confusion_matrices(labels, test.banded, len(CLASSES))
        scores = {"calibration_error": error} | scored(labels, test)
        found = matrices.int().numpy(), np.array(list(scores)), np.array(list(scores.values()))
        stored = {key: value for key, value in stored.items() if key.startswith(of)}
        stored |= dict(zip(mine, found, strict=True))
        if count == COUNT:
            with replacing(kept) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **stored)
    matrices, names, values = (stored[key] for key in mine)
    return Tally(
        torch.from_numpy(matrices).long(),
        dict(zip(names.tolist(), values.tolist(), strict=True)),
    )


def shares(right: Tensor, where: Tensor, edges: tuple[int, ...], what: str) -> dict[str, float]:
    """The share of right pixels, by what `where` says of them."""
    return {
        f"{what}_{low}": round(float(right[(where >= low) & (where < high)].float().mean()), 4)
        for low, high in pairwise(edges)
    }


@cache
def field_sides(run: str) -> dict[str, int | str]:
    """Pixels of the middle score's field: as built, and the square with 95 % of the energy."""
    network = checkpoints.load(weights(run, 0))
    images, middle = normalize(test_scenes(COUNT).images[:16]), SIDE // 2
    energy = effective_receptive_field(network, images, unit=(middle, middle)).numpy()
    away = np.abs(np.arange(SIDE) - middle)
    rings = np.maximum(away[:, None], away).ravel()  # squares around the middle
    half = int(np.searchsorted(np.bincount(rings, energy.ravel()).cumsum(), 0.95))
    field = receptive_fields(network, SIDE)[""]
    return {"field": "all" if field.is_global else field.size[0], "field_95": 2 * half + 1}


def mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(sum(row[key] for row in rows) / len(rows), 4) for key in rows[0]}


def trained(run: str, count: int = COUNT) -> tuple[int, ...]:
    """The seeds that it was trained with and can be scored on so many scenes."""
    suffix = ".json" if count == COUNT else ".safetensors"  # of a second seed the card is enough
    return tuple(s for s in SEEDS if weights(run, s).with_suffix(suffix).exists())


def row(rung: Rung, count: int) -> dict[str, Any]:
    """A line of the table but for its time; scores are means over seeds."""
    base = next((r for r in LADDER if r.name == rung.against), None)
    seeds = trained(rung.run, count)
    if base is not None:
        seeds = tuple(s for s in seeds if s in trained(base.run, count))
    tallies = {seed: tally(rung, seed, count) for seed in seeds}
    line: dict[str, Any] = {"rung": rung.name, "against": rung.against, "idea": rung.idea}
    line |= {"paper": rung.paper, "seeds": len(seeds)} | field_sides(rung.run) | work(rung)
    scores = mean([t.scores for t in tallies.values()])
    if base is None:
        return line | dict.fromkeys(("step", "low", "high", "step_of_seeds"), "") | scores
    pairs = [(tallies[s].matrices, tally(base, s, count).matrices) for s in seeds]
    each = [metrics.paired_difference(*pair).value for pair in pairs]
    # both seeds' matrices of a scene are drawn together: the interval is that of other scenes
    mine, theirs = (torch.stack(matrices).sum(0) for matrices in zip(*pairs, strict=True))
    step, low, high = metrics.paired_difference(mine, theirs)
    line |= {"step": round(step, 4), "low": round(low, 4), "high": round(high, 4)}
    line["step_of_seeds"] = " ".join(f"{value:+.4f}" for value in each)
    return line | scores


def scored(labels: Tensor, test: Test) -> dict[str, float]:
    """mIoU, that within 4 pixels of an outline, and the share of right pixels by radius and by
    distance."""
    near = test.exact.masked_fill(test.distance > 4, IGNORE)
    matrices = (
        metrics.confusion_matrices(labels, truth, len(CLASSES)) for truth in (test.banded, near)
    )
    names = ("miou", "trimap_4")
    right, shape = labels == test.exact, test.exact > 0
    return (
        {n: float(metrics.miou(matrix.sum(0))) for n, matrix in zip(names, matrices, strict=True)}
        | shares(right[shape], test.radius[shape], RADII, "radius")
        | shares(right[shape], test.distance[shape], DISTANCES, "distance")
    )


def through_stride(label: Tensor, stride: int) -> Tensor:
    """What a perfect map at `stride`, enlarged as the networks do it, would say: N x H x W.

    The true classes are averaged with the tent that bilinear enlargement spreads a position over.
    """
    classes = len(CLASSES)
    tent = 1 - (torch.arange(2 * stride - 1) - (stride - 1)).abs() / stride
    kernel = (tent[:, None] * tent / stride**2).expand(classes, 1, -1, -1)
    enlarged = []
    for part in label.split(20):
        exact = F.one_hot(part.long(), classes).permute(0, 3, 1, 2).float()
        padded = F.pad(exact, (stride - 1,) * 4, mode="replicate")
        small = F.conv2d(padded, kernel, stride=stride, groups=classes)
        logits = resize(small, part.shape[-2:], align_corners=True)
        enlarged.append(logits.argmax(1).to(torch.uint8))
    return torch.cat(enlarged)


def stride_row(stride: int, count: int) -> dict[str, Any]:
    """Perfect labels at a stride: what no network without finer maps can pass."""
    test = test_scenes(count)
    perfect = scored(through_stride(test.exact, stride), test)
    return {"rung": f"labels at stride {stride}"} | {k: round(v, 4) for k, v in perfect.items()}


# ---- What it costs -------------------------------------------------------------------------------


def work(rung: Rung) -> dict[str, int]:
    """Parameters, and multiply-adds of all passes for one scene."""
    network = checkpoints.load(weights(rung.run, 0))
    how = replace(rung.how, crf=False)  # which fetches and adds
    with FlopCounterMode(display=False) as counter:
        ask.probabilities(network, test_scenes(1).images[0], how)
    count = sum(p.numel() for p in network.parameters())
    return {"parameters": count, "multiply_adds": counter.get_total_flops() // 2}


def milliseconds(rounds: int = 9) -> dict[str, float]:
    """Of each trained rung, from a picture to its labels; all take turns."""
    image = test_scenes(1).images[0]
    calls: dict[str, Any] = {}
    for rung in LADDER:
        if 0 in trained(rung.run):
            network = checkpoints.load(weights(rung.run, 0)).to(memory_format=torch.channels_last)
            calls[rung.name] = lambda n=network, how=rung.how: ask.label(n, image, how)
    return {name: round(1000 * spent, 1) for name, spent in turns(calls, rounds).items()}


# ---- What is written -----------------------------------------------------------------------------


def write_cards(count: int) -> None:
    """Put the scores of the family's first seed into its cards; what a card holds stays."""
    test = test_scenes(count)
    for rung in LADDER:
        path = weights(rung.run, 0).with_suffix(".json")
        if rung.run not in FAMILY or 0 not in trained(rung.run) or rung.how not in (AS_IS, AT8):
            continue
        matrices = metrics.confusion_matrices(
            answers(rung, 0, count).labels, test.banded, len(CLASSES)
        )
        card = json.loads(path.read_text("utf-8"))
        name = "test" if rung.how == AS_IS else "test at OS8"
        card["metrics"][name] = tables.report(matrices, CLASSES)
        card["notes"] = NOTES[rung.run]
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")


def predictions(count: int) -> None:
    """Five scenes, their labels, and what the networks of the first seed say: predictions.png."""
    import matplotlib.pyplot as plt

    test = test_scenes(count)
    maps = {"label": test.banded} | {
        rung.name: answers(rung, 0, count).labels
        for rung in LADDER
        if rung.name in IN_PICTURE and 0 in trained(rung.run)
    }
    size = (1.7 * (1 + len(maps)), 1.75 * len(SHOWN) + 0.3)
    figure, axes = plt.subplots(len(SHOWN), 1 + len(maps), figsize=size)
    for index, line in zip(SHOWN, axes, strict=True):
        pictures = {"scene": test.images[index]}
        pictures |= {name: draw.paint(labels[index].numpy()) for name, labels in maps.items()}
        for ax, (title, picture) in zip(line, pictures.items(), strict=True):
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if index == SHOWN[0]:
                ax.set_title(title, fontsize=10, loc="center")
    figure.savefig(ASSETS / "predictions.png", dpi=90)


def curves() -> None:
    """Validation mIoU over the scenes that each network has seen, all seeds: curves.png."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5))
    for number, run in enumerate((*FAMILY, "v3-crop161")):
        for seed in trained(run):
            curve_rows = tables.measured(f"curves/{curve(run, seed).name}")
            rows = [r for r in curve_rows if r["val_miou"]]
            points = [[float(r[key]) for r in rows] for key in ("images", "val_miou")]
            style = {"color": f"C{number % 6}", "ls": ("-", "--")[number // 6], "lw": 1.3}
            ax.plot(*points, alpha=1 - 0.4 * seed, label=run if seed == 0 else None, **style)
    ax.set(xlabel="scenes seen", ylabel="mIoU of 100 validation scenes")
    ax.legend(fontsize=8, loc="lower right", ncols=2)
    figure.savefig(ASSETS / "curves.png", dpi=90)


def read() -> list[dict[str, str]]:
    return tables.measured(TABLE.name)


def write(rows: list[dict[str, Any]]) -> None:
    with replacing(TABLE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table as README shows it."""
    lines = [
        "| | against | mIoU | step | of each seed | in the papers |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        step = seeds = ""
        if each.get("against"):
            value, low, high = (f"{float(each[key]):+.3f}" for key in ("step", "low", "high"))
            step = f"{value} [{low}, {high}]"
            if " " in each["step_of_seeds"]:
                seeds = ", ".join(f"{float(of):+.3f}" for of in each["step_of_seeds"].split())
        miou = f"{float(each['miou']):.3f}"
        cells = (each["rung"], each.get("against"), miou, step, seeds, each.get("paper"))
        lines.append("".join(f"| {cell} " if cell else "| " for cell in cells) + "|")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=COUNT)
    parser.add_argument("--times", action="store_true", help="measure the times anew, only")
    arguments = parser.parse_args()
    count = arguments.scenes
    if arguments.times:
        spent = milliseconds()
        write([line | {"ms": spent.get(line["rung"], "")} for line in read()])
        return
    times = {line["rung"]: line.get("ms", "") for line in read()} if TABLE.exists() else {}
    rows = []
    for rung in LADDER:
        base = next((r for r in LADDER if r.name == rung.against), rung)
        if not set(trained(rung.run)) & set(trained(base.run)):
            print(f"{rung.name}: not trained yet")
            continue
        rows.append(row(rung, count) | {"ms": times.get(rung.name, "")})
        print("  ".join(str(value) for value in rows[-1].values()), flush=True)
    rows += [stride_row(stride, count) for stride in STRIDES]
    if count == COUNT:
        write(rows)
        write_cards(count)
        matplotlib.use("Agg")
        draw.style()
        predictions(count)
        curves()


if __name__ == "__main__":
    main()
