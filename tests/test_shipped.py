"""What is shipped: each network scores what its card and the table say; the curves end there."""

import csv
import json
from pathlib import Path

import pytest
import torch

from benchmarks import family as scored
from deeplab_lite import checkpoints, metrics
from deeplab_lite.models.lite import FAMILY
from deeplab_lite.scenes import CLASSES
from tools import family as trained

ASSETS = Path(__file__).resolve().parents[1] / "assets"
NAMES = [f"{model}-scenes" for model in FAMILY]


def table():
    with (ASSETS / "family.csv").open(newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def some():
    """The first hundred test scenes."""
    return scored.TestSet(100)


def test_the_whole_family_is_shipped():
    assert checkpoints.names() == sorted(NAMES)
    weights = [path.stat().st_size for path in (ASSETS / "checkpoints").glob("*.safetensors")]
    assert len(weights) == len(FAMILY) and sum(weights) <= 40e6


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
    assert list(rows) == [scored.label_of(key) for key in scored.VARIANTS]
    for (name, output_stride), row in zip(scored.VARIANTS, rows.values(), strict=True):
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
    """The shipped seed is the best of those that were trained, and its card names its command."""
    card = checkpoints.card(f"{model}-scenes")
    last = {}
    for config in trained.runs(model):
        with (ASSETS / "curves" / f"{config.name}-{config.seed}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert int(rows[-1]["images"]) == config.steps * config.batch
        last[config.seed] = float(rows[-1]["val_miou"])
        if config.seed == card["seed"]:
            assert card["command"] == config.command()
    assert card["seed"] == max(last, key=lambda seed: last[seed])
    assert card["metrics"]["val"]["miou"] == last[card["seed"]]


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
