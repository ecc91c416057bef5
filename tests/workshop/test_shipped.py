"""What is shipped: each network scores what its card and the table say; the curves end there."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmarks import ladder as scored
from deeplab_lite import ask, checkpoints, metrics, photos
from deeplab_lite.models.zoo import FAMILY
from deeplab_lite.scenes import CLASSES, normalize
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import camvid
from deeplab_lite.workshop.evaluate import open_samples
from deeplab_lite.workshop.segment import Segmenter, Settings
from deeplab_lite.workshop.train import Config, log, recipes
from tools import camvid as streets
from tools import family as trained

ASSETS = Path(__file__).resolve().parents[2] / "assets"
NAMES = [f"{model}-scenes" for model in FAMILY]
STREETS, SOURCE = streets.SHIPPED, streets.SOURCE


def test_the_whole_family_is_shipped():
    assert checkpoints.names(CLASSES) == sorted(NAMES)
    assert checkpoints.names(camvid.CLASSES) == [STREETS]
    assert checkpoints.names() == sorted([*NAMES, STREETS])
    shipped = [path.stat().st_size for path in ASSETS.rglob("*.safetensors")]
    assert sum(shipped) <= 40e6


@pytest.mark.parametrize("name", NAMES)
def test_a_network_scores_what_its_card_says(name):
    """Ten of the two hundred scenes: their interval holds the card's score."""
    network, test = checkpoints.load(name), scored.test_scenes(10)
    labels = np.stack([ask.label(network, image) for image in test.images])
    matrices = metrics.confusion_matrices(labels, test.banded, len(CLASSES))
    _, low, high = metrics.confidence_interval(matrices, level=0.998)
    card = checkpoints.card(name)
    assert card["metrics"]["test"]["images"] == scored.COUNT
    assert low < card["metrics"]["test"]["miou"] < high


def test_the_cards_say_what_the_table_says():
    """Of the seed that is shipped; the table's are means over seeds."""
    rows = {row["rung"]: row for row in scored.read()}
    for rung in scored.LADDER:
        alone = rung.name in rows and rows[rung.name]["seeds"] == "1"
        if rung.run in FAMILY and rung.how == scored.AS_IS and alone:
            test = checkpoints.card(f"{rung.run}-scenes")["metrics"]["test"]
            assert float(rows[rung.name]["miou"]) == test["miou"]


@pytest.mark.parametrize("model", FAMILY)
def test_curves_end_where_the_card_begins(model):
    """A card tells the command and the score of the seed that is shipped."""
    card, config = checkpoints.card(f"{model}-scenes"), trained.RUNS[model]
    with trained.curve(model, 0).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["images"]) == config.steps * config.batch
    assert card["seed"] == 0 and card["command"] == config.command()
    assert card["metrics"]["val"]["miou"] == float(rows[-1]["val_miou"])


def test_a_curve_is_loss_and_score_by_images(tmp_path):
    config = Config(out=str(tmp_path), batch=16, progress=False, tensorboard=False)
    run = log.Log(config, tmp_path)
    run.open(0)
    for step, score in ((5, None), (10, 0.25)):
        run.step(1.5)
        run.row(step, 1e-3, score)
    trained.save_curve(tmp_path, tmp_path / "curve.csv")
    curve = (tmp_path / "curve.csv").read_text().split()
    assert curve == ["images,loss,val_miou", "80,1.5,", "160,1.5,0.2500"]


@pytest.mark.parametrize("name", ["v3-scenes", "v3plus-scenes"])
def test_the_output_stride_can_change_after_training(name):
    model = checkpoints.load(name)
    x = normalize(scored.test_scenes(2).images)
    coarse = model(x)
    model.output_stride = 8
    fine = model(x)
    assert fine.shape == coarse.shape and not torch.equal(fine, coarse)
    assert (fine.argmax(1) == coarse.argmax(1)).float().mean() > 0.8
    model.output_stride = 16
    assert torch.equal(model(x), coarse)


def test_every_card_has_its_note():
    assert {name: checkpoints.card(f"{name}-scenes")["notes"] for name in FAMILY} == scored.NOTES


# ---- CamVid --------------------------------------------------------------------------------------


def street_table():
    with (ASSETS / "camvid.csv").open(newline="") as file:
        return {(row["model"], row["how"]): row for row in csv.DictReader(file)}


def test_the_street_network_is_whole_in_float32():
    model = checkpoints.load(STREETS)
    state = model.state_dict()
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in state.values() if t.ndim)
    assert sum(p.numel() for p in model.parameters()) == 3_861_339
    assert (ASSETS / "checkpoints" / f"{STREETS}.safetensors").stat().st_size < 8e6


def test_the_street_card_says_what_the_table_says():
    rows = {how: row for (name, how), row in street_table().items() if name == SOURCE}
    cards = checkpoints.card(STREETS)["metrics"]
    assert list(cards) == ["val" if how == "single scale" else f"val, {how}" for how in rows]
    assert "val" in cards
    for row, scores in zip(rows.values(), cards.values(), strict=True):
        keys = ("miou", "low", "high", "accuracy", "mean_accuracy")
        mean, low, high, accuracy, recall = (float(row[key]) for key in keys)
        assert (mean, [low, high]) == (scores["miou"], scores["interval"])
        assert (accuracy, recall) == (scores["accuracy"], scores["mean_accuracy"])
        assert {name: float(row[name]) for name in camvid.CLASSES} == scores["iou"]
        assert {w: float(row[f"trimap_{w}"]) for w in scores["trimap_miou"]} == scores[
            "trimap_miou"
        ]
        assert int(row["images"]) == scores["images"] == camvid.SPLITS["val"]
        assert mean == pytest.approx(sum(scores["iou"].values()) / len(camvid.CLASSES), abs=1e-4)


def test_the_street_networks_are_those_of_their_recipes():
    for (name, how), row in street_table().items():
        assert {key: int(row[key]) for key in ("parameters", "multiply_adds")} == streets.sizes(
            name, how
        )
        with (ASSETS / "curves" / f"{name}-0.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        config = recipes.read(name).config()
        if int(row["steps"]) < config.steps:  # the table says so; not of what is shipped
            assert name != SOURCE and int(last["images"]) >= int(row["steps"]) * config.batch
            continue
        assert int(row["steps"]) == config.steps
        assert int(last["images"]) == config.steps * config.batch
        if how == "single scale":  # training validates in bfloat16
            assert float(last["val_miou"]) == pytest.approx(float(row["miou"]), abs=0.01)


def test_the_street_card_is_complete_and_of_no_machine():
    card = checkpoints.card(STREETS)
    assert card["recipe"] == SOURCE and card["command"] == recipes.read(SOURCE).config().command()
    assert tuple(map(tuple, card["palette"])) == camvid.PALETTE
    assert "research" in card["licence"] and "void" in card["notes"]
    before, after = card["halved"].values()
    assert abs(before - after) <= 1e-3 and after == card["metrics"]["val"]["miou"]
    text = (ASSETS / "checkpoints" / f"{STREETS}.json").read_text("utf-8")
    assert not re.search(r"""["'\s=(](?:/|~|[A-Z]:\\)\w""", text)


def test_the_street_card_tells_how_val_misled_once():
    """Val promised to beat FC-DenseNet103; on test the earlier network is between the two."""
    card = checkpoints.card(STREETS)
    assert {one["split"] for one in card["published"]} == {"test, not val"}
    scores = {one["what"].partition(" ")[0]: float(one["miou"]) for one in card["published"]}
    earlier, before = "camvid-v3plus-weighted", street_table()
    on_test, on_val = scores[f"{earlier},"], float(before[earlier, "single scale"]["miou"])
    assert scores["DeepLab-LFOV"] < on_test < scores["FC-DenseNet103,"] < 100 * on_val
    assert f"{on_val:.3f} on val, and had {on_test / 100:.3f} on test" in card["notes"]
    assert "This one has not been scored on test." in card["notes"]


def test_weights_for_rare_classes_bring_them_and_the_mean():
    plain, weighted = (
        street_table()[name, "single scale"] for name in ("camvid-v3plus", "camvid-v3plus-weighted")
    )
    gained = {c for c in camvid.CLASSES if float(weighted[c]) > float(plain[c])}
    assert {"Pole", "SignSymbol", "Pedestrian", "Bicyclist"} <= gained
    assert float(weighted["miou"]) > float(plain["miou"])
    assert float(weighted["accuracy"]) < float(plain["accuracy"])  # paid in common ones


@pytest.mark.parametrize("name", photos.photo_names())
def test_labels_of_a_photograph_stand_rounding(name):
    """Weights moved by as much as half precision rounds leave labels as they are."""
    segmenter = Segmenter(Settings(STREETS), "cpu")
    image = photos.photo(name)
    labels = segmenter.labels(image)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in segmenter.network.parameters():
            weights *= 1 + 2**-11 * (2 * torch.rand(weights.shape, generator=noise) - 1)
    assert (segmenter.labels(image) == labels).mean() > 0.99
    assert len(set(labels.flat)) > 2


def test_photographs_are_segmented_into_streets_unless_told_otherwise(tmp_path):
    Image.fromarray(photos.photo("coffee")).save(tmp_path / "coffee.png")
    words = ["segment", str(tmp_path / "coffee.png"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, words).exit_code == 0
    with Image.open(tmp_path / "out" / "coffee.labels.png") as labels:
        assert labels.size == (600, 400) and np.asarray(labels).max() < len(camvid.CLASSES)
        palette = labels.getpalette()
    assert palette[: 3 * len(camvid.CLASSES)] == [part for rgb in camvid.PALETTE for part in rgb]
    record = json.loads((tmp_path / "out" / "coffee.result.json").read_text())
    assert record["settings"]["model"] == STREETS


def test_the_street_network_scores_what_its_card_says():
    """Thirteen of the 101 frames: their interval holds the card's score."""
    try:
        samples = open_samples("camvid", "val")
    except FileNotFoundError:
        pytest.skip("no CamVid here: set DEEPLAB_LITE_DATA to its folder")
    segmenter = Segmenter(Settings(STREETS), "cpu")
    matrices = []
    for index in range(0, samples.length, 8):
        one = samples.sample(index)
        matrices.append(metrics.confusion_matrices(segmenter.labels(one.image), one.label, 11))
    _, low, high = metrics.confidence_interval(torch.cat(matrices), level=0.998)
    assert low < checkpoints.card(STREETS)["metrics"]["val"]["miou"] < high


def test_the_readme_tells_the_scores_of_streets():
    text = " ".join((ASSETS.parent / "README.md").read_text("utf-8").split())
    ours, fov = (
        float(street_table()[name, "single scale"]["miou"]) for name in (SOURCE, "camvid-largefov")
    )
    many = float(street_table()[SOURCE, "multi-scale + flip"]["miou"])
    assert f"mIoU is {ours:.3f}, beside {fov:.3f} for v1's LargeFOV" in text
    assert f"and {many:.3f} with six scales and mirror images" in text
    for one in checkpoints.card(STREETS)["published"]:
        assert f"{float(one['miou']) / 100:.3f}" in text
