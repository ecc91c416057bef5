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

from benchmarks import family as scored
from deeplab_lite import checkpoints, metrics, photos
from deeplab_lite.models import zoo
from deeplab_lite.models.zoo import FAMILY
from deeplab_lite.receptive_field import receptive_fields
from deeplab_lite.scenes import CLASSES
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


def table():
    with (ASSETS / "family.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def some():
    """The first hundred test scenes."""
    return scored.TestSet(100)


def test_the_whole_family_is_shipped():
    assert checkpoints.names(CLASSES) == sorted(NAMES)
    assert checkpoints.names(camvid.CLASSES) == [STREETS]
    assert checkpoints.names() == sorted([*NAMES, STREETS])
    weights = [path.stat().st_size for path in (ASSETS / "checkpoints").glob("*.safetensors")]
    assert len(weights) == len(FAMILY) + 1 and sum(weights) <= 40e6


@pytest.mark.parametrize("name", NAMES)
def test_a_network_scores_what_its_card_says(name, some):
    """A hundred of the thousand scenes: their interval holds the card's score."""
    found = scored.predict(checkpoints.load(name), some.images)
    matrices = metrics.confusion_matrices(found, some.banded, len(CLASSES))
    _, low, high = metrics.confidence_interval(matrices, level=0.998)
    card = checkpoints.card(name)
    assert card["metrics"]["test"]["images"] == 1000
    assert low < card["metrics"]["test"]["miou"] < high


def test_the_best_of_the_family_is_good():
    assert max(float(row["miou"]) for row in table().values()) >= 0.85


def test_the_table_says_what_the_cards_say():
    rows = table()
    names = [scored.label_of(key) for key in scored.VARIANTS]
    assert list(rows) == [*names, *(f"labels at stride {stride}" for stride in (16, 8, 4))]
    for (name, output_stride), row in zip(scored.VARIANTS, rows.values(), strict=False):
        test = json.loads((ASSETS / "checkpoints" / f"{name}-scenes.json").read_text("utf-8"))
        result = test["metrics"]["test at OS8" if output_stride else "test"]
        assert float(row["miou"]) == result["miou"]
        assert [float(row[f"trimap_{w}"]) for w in metrics.WIDTHS] == [
            result["trimap_miou"][str(w)] for w in metrics.WIDTHS
        ]
        assert int(row["multiply_adds"]) == scored.multiply_adds(name, output_stride)
        parameters = sum(p.numel() for p in checkpoints.load(f"{name}-scenes").parameters())
        assert int(row["parameters"]) == parameters


@pytest.mark.parametrize("model", FAMILY)
def test_curves_end_where_the_card_begins(model):
    """The shipped seed is the one that is named; its card tells its command and its score."""
    card = checkpoints.card(f"{model}-scenes")
    last = {}
    for config in trained.runs(model):
        with (ASSETS / "curves" / f"{config.name}-{config.seed}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert int(rows[-1]["images"]) == config.steps * config.batch
        last[config.seed] = float(rows[-1]["val_miou"])
        if config.seed == card["seed"]:
            assert card["command"] == config.command()
    assert card["seed"] == trained.KEPT.get(model, 0)
    assert card["metrics"]["val"]["miou"] == last[card["seed"]]


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


@pytest.mark.parametrize("name", trained.VARIANTS)
def test_curves_of_variants_are_whole_trainings(name):
    (config,) = trained.runs(name)
    with (ASSETS / "curves" / f"{name}-scenes-0.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["images"]) == config.steps * config.batch and 0 < float(last["val_miou"]) < 1


@pytest.mark.parametrize("name", ["v3-scenes", "v3plus-scenes"])
def test_the_output_stride_can_change_after_training(name, some):
    model = checkpoints.load(name)
    x = scored.normalize(some.images[:2])
    coarse = model(x)
    model.output_stride = 8
    fine = model(x)
    assert fine.shape == coarse.shape and not torch.equal(fine, coarse)
    assert (fine.argmax(1) == coarse.argmax(1)).float().mean() > 0.8
    model.output_stride = 16
    assert torch.equal(model(x), coarse)


def test_the_readme_shows_the_table():
    rows, shown = table(), 0
    for line in (ASSETS.parent / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip(" `*") for cell in line.split("|")[1:-1]]
        if cells and cells[0] in rows and len(cells) == 6:
            row, shown = rows[cells[0]], shown + 1
            assert cells[2:4] == [f"{float(row[key]):.3f}" for key in ("miou", "trimap_2")]
            if row["parameters"]:
                sizes = (int(row[key]) / 1e6 for key in ("parameters", "multiply_adds"))
                assert cells[4:] == [f"{millions:.{2 - i}f} M" for i, millions in enumerate(sizes)]
    assert shown == len(rows)


# ---- What the notes of the cards say -------------------------------------------------------------


def test_large_fov_cannot_help_where_the_field_is_larger_than_the_scene():
    field = receptive_fields(zoo.build("v1-small").eval(), 129)["fc8"].size
    assert field == (259, 259)
    rows = table()
    assert float(rows["v1-small"]["miou"]) >= float(rows["v1"]["miou"])


def test_most_is_lost_to_the_output_stride():
    rows = {name: float(row["miou"]) for name, row in table().items()}
    assert rows["labels at stride 16"] < rows["v3"] < rows["labels at stride 8"]
    assert max(rows["v1"], rows["v2"]) < rows["labels at stride 8"] < rows["v3plus"]
    assert rows["v3plus"] < rows["labels at stride 4"]
    assert abs(rows["v3"] - rows["v3 at OS8"]) < 0.05
    assert abs(rows["v3plus"] - rows["v3plus at OS8"]) < 0.01


@pytest.mark.parametrize("better, worse", [("v2", "v1"), ("v3 at OS8", "v3")])
def test_more_of_the_shapes_of_every_radius_is_named(better, worse):
    rows = table()
    radii = [key for key in rows[worse] if key.startswith("radius")]
    assert len(radii) == 4
    assert all(float(rows[better][key]) > float(rows[worse][key]) for key in radii)


def test_every_card_has_its_note():
    assert {name: checkpoints.card(f"{name}-scenes")["notes"] for name in FAMILY} == trained.NOTES


def test_labels_through_a_stride_keep_what_is_larger_than_it():
    label = torch.zeros(1, 65, 65, dtype=torch.uint8)
    label[:, :32, 20:] = 3
    assert torch.equal(scored.through_stride(label, 1), label)
    kept = scored.through_stride(label, 8)
    assert (kept != label).float().mean() < 0.06
    label[0, 50, 10] = 5
    assert 5 not in scored.through_stride(label, 8)


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
    assert card["published"][0]["miou"] == "66.9" and "test" in card["published"][0]["split"]
    assert "research" in card["licence"] and "void" in card["notes"]
    before, after = card["halved"].values()
    assert abs(before - after) <= 1e-3 and after == card["metrics"]["val"]["miou"]
    text = (ASSETS / "checkpoints" / f"{STREETS}.json").read_text("utf-8")
    assert not re.search(r"""["'\s=(](?:/|~|[A-Z]:\\)\w""", text)


def test_streets_reach_their_goal():
    """The mIoU of FC-DenseNet103, which is of test: of val, that says less, and the card tells."""
    assert float(street_table()[SOURCE, "single scale"]["miou"]) > 0.669
    assert "not val" in checkpoints.card(STREETS)["published"][0]["split"]


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
