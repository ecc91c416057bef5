"""The ladder: rungs differ by one option, and the table is that of the weights."""

import json

import numpy as np
import pytest
import torch

from benchmarks import ladder
from deeplab_lite import ask, checkpoints, metrics
from deeplab_lite.models import DeepLabV1, DeepLabV2, zoo
from deeplab_lite.scenes import CLASSES
from deeplab_lite.workshop.train import Config
from deeplab_lite.workshop.train.stream import Stream, open_data
from tools import family

RUNGS = {rung.name: rung for rung in ladder.LADDER}
# what a rung changes; of v1 and v2, see the test below
CHANGES = {
    "v1": {"rate"},
    "v1, 3x3 at 12": {"fc6", "rate"},  # the paper's two forms, each with its rate
    "v2, ASPP-S": {"rates"},
    "v2": {"rates"},
    "v2, rates 12": {"rates"},
    "v2, 6 to 24": {"rates"},
    "v2, max of three sizes": {"scales"},
    "v3's head, OS8": {"model"},
    "v3, trained at OS8": {"output_stride"},
    "v3, second stage": {"steps", "lr", "warmup", "freeze_bn", "init"},  # the stage itself
    "v3, longer": {"steps", "lr", "warmup", "freeze_bn", "init"},
    "v3, pooling": {"image_pooling"},
    "v3, rates 3 6 9": {"rates"},
    "v3, rates 1, pooling": {"image_pooling"},
    "v3, grid 1 2 1": {"multi_grid"},
    "v3, grid 1 2 4": {"multi_grid"},
    "v3, rates 6 12 18": {"rates"},
    "v3, crop 161": {"size"},
    "v3+": {"model"},
    "v3+, separable": {"separable"},
}
# options that only one of two networks has, and what they are worth there
ABSENT = {"image_pooling": True, "multi_grid": [1, 1, 1], "aspp_convs": 1, "separable": False}
ABSENT |= {"scales": [1.0]}


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def options(run):
    """Everything that decides a run's weights; rates in pixels."""
    config = family.RUNS[run].exact()
    kind, built = zoo.find(config.pop("model"))
    changes = json.loads(config.pop("options") or "{}")
    of_model = ABSENT | {name: _plain(value) for name, value in (built | changes).items()}
    config["model"] = kind
    if run == family.SCALED:
        of_model["scales"] = [1.0, 0.75, 0.5]  # MultiScale's own
    if kind == "DeepLabV2":  # LargeFOV is v2 with one branch
        config["model"], of_model = "DeepLabV1", {"pool5a": False, "fc6": "largefov"} | of_model
    stride = of_model.pop("output_stride", 8)
    if "rates" in of_model:
        of_model["rates"] = [stride * rate for rate in of_model["rates"]]
    return config | of_model | {"output_stride": stride}


def changed(first, second):
    one, other = options(first), options(second)
    names = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    if {"rate", "rates"} <= names:  # 12 against several
        names -= {"rate"}
    if "model" in names:  # another head: its own rates are part of it
        names -= {"rates", "rate", "pool5a", "fc6", "backbone", "channels", "low_channels"}
    return names


@pytest.mark.parametrize("rung", [r for r in ladder.LADDER if r.against], ids=lambda r: r.name)
def test_a_rung_differs_from_its_base_by_one_option(rung):
    base = RUNGS[rung.against]
    if rung.name in CHANGES:
        assert changed(rung.run, base.run) == CHANGES[rung.name]
        return
    assert rung.run == base.run  # the same weights, asked in another way
    how, other = (vars(r.how) for r in (rung, base))
    assert sum(how[name] != other[name] for name in how) == 1


def test_large_fov_is_v2_with_one_branch():
    common = {"num_classes": 9, "width": 0.125, "batch_norm": True, "dropout": 0.0}
    one = DeepLabV1(fc6="largefov", pool5a=False, **common).eval()
    other = DeepLabV2(rates=(12,), **common).eval()
    state = {k.replace("head.", "branches.0."): v for k, v in one.state_dict().items()}
    state = {k.replace("fc8.", "branches.0.fc8."): v for k, v in state.items()}
    other.load_state_dict(state)
    image = torch.randn(1, 3, 161, 161)
    with torch.inference_mode():
        torch.testing.assert_close(one(image), other(image))


def test_the_readme_shows_the_ladder():
    assert ladder.markdown(ladder.read()) in (family.ROOT / "README.md").read_text("utf-8")


ROWS = ladder.read()
PLAIN = {
    row["rung"]: row for row in ROWS if row["seeds"] and RUNGS[row["rung"]].how == ladder.AS_IS
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_table_is_that_of_the_weights(name):
    """Sixteen of the two hundred scenes, whose interval holds the score of all."""
    network = checkpoints.load(family.weights(RUNGS[name].run, 0))
    test = ladder.test_scenes(16)
    labels = [ask.label(network, image) for image in test.images]
    matrices = metrics.confusion_matrices(np.stack(labels), test.banded, len(CLASSES))
    _, low, high = metrics.confidence_interval(matrices, level=0.998)
    assert low < float(PLAIN[name]["miou"]) < high


def test_second_seeds_are_kept_as_the_counts_that_the_table_needs():
    steps = {row["rung"]: row["step_of_seeds"].split() for row in ROWS if row["step_of_seeds"]}
    second = {name: float(values[1]) for name, values in steps.items() if len(values) > 1}
    assert len(second) > 20
    for name, step in second.items():
        rung = RUNGS[name]
        mine, theirs = (
            float(metrics.miou(ladder.tally(each, 1, ladder.COUNT).matrices.sum(0)))
            for each in (rung, RUNGS[rung.against])
        )
        assert abs(mine - theirs - step) < 1e-4, name


@pytest.mark.parametrize("size", [161, 321])
def test_scenes_are_cropped_for_training_and_whole_for_validation(size):
    config = Config(data="scenes", size=size)
    train_set, val_set, crop = open_data(config)
    image, label = Stream(train_set, 0, crop)[3]
    assert image.shape[1:] == label.shape == (size, size)
    assert val_set[0][1].shape == (321, 321)
    assert len({int(c) for c in label.unique()} - {255}) > 1 or size == 161


def test_the_table_has_every_trained_rung_in_order():
    rungs = [(r.name, r.against, r.idea, r.paper) for r in ladder.LADDER if ladder.trained(r.run)]
    columns = ("rung", "against", "idea", "paper")
    rows = [tuple(row[name] for name in columns) for row in ROWS]
    assert [row for row in rungs if row in rows] == rows[: -len(ladder.STRIDES)]
    assert {row["rung"] for row in ROWS[-len(ladder.STRIDES) :]} == {
        f"labels at stride {stride}" for stride in ladder.STRIDES
    }


def test_labels_through_a_stride_keep_what_is_larger_than_it():
    label = torch.zeros(1, 65, 65, dtype=torch.uint8)
    label[:, :32, 20:] = 3
    assert torch.equal(ladder.through_stride(label, 1), label)
    kept = ladder.through_stride(label, 8)
    assert (kept != label).float().mean() < 0.06
    label[0, 50, 10] = 5
    assert 5 not in ladder.through_stride(label, 8)


# ---- What the cards say of the table -------------------------------------------------------------


def row(name):
    (found,) = (row for row in ROWS if row["rung"] == name)
    return {key: float(value) for key, value in found.items() if _number(value)}


def _number(text):
    try:
        return bool(text) and float(text) is not None
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["v1", "v2", "v3+"])
def test_each_idea_brings_more_than_luck_of_the_scenes(name):
    assert row(name)["low"] > 0


def test_large_fov_is_for_the_middles_of_large_shapes():
    without, with_it = row("v1-small"), row("v1")
    gained = {key: with_it[key] - without[key] for key in with_it if key in without}
    assert gained["radius_90"] > 0.05 > gained["radius_35"]
    assert gained["distance_64"] > 0.05 > gained["distance_0"]
    assert with_it["field_95"] > 1.5 * without["field_95"]


def test_the_decoder_is_for_edges():
    without, with_it = row("v3"), row("v3+")
    assert with_it["distance_0"] - without["distance_0"] > 0.1
    assert abs(with_it["distance_32"] - without["distance_32"]) < 0.01


def test_a_crf_brings_least_to_the_best():
    steps = {name: row(f"{name} + CRF")["step"] for name in ("v1", "v2", "v3", "v3+")}
    assert min(steps, key=steps.get) == "v3+" and steps["v2"] < steps["v1"]
