"""The ladder on wide scenes: rungs differ by one option, and the table is that of the weights."""

import json

import numpy as np
import pytest
import torch

from benchmarks import wide as scored
from deeplab_lite import ask, checkpoints, metrics
from deeplab_lite.models import DeepLabV1, DeepLabV2
from deeplab_lite.scenes import CLASSES
from deeplab_lite.workshop.train import Config
from deeplab_lite.workshop.train.stream import Stream, open_data
from tools import wide as trained

RUNGS = {rung.name: rung for rung in scored.LADDER}
# what a rung changes; of v1 and v2, see the test below
CHANGES = {
    "LargeFOV": {"rate"},
    "LargeFOV / 4x4": {"fc6", "rate"},  # the paper's two forms, each with its rate
    "ASPP-S": {"rates"},
    "ASPP-L": {"rates"},
    "v3, OS8": {"model"},
    "v3, trained at OS8": {"output_stride"},
    "v3, second stage": {"steps", "lr", "warmup", "freeze_bn", "init"},  # the stage itself
    "v3, pooling": {"image_pooling"},
    "v3, grid 1 2 1": {"multi_grid"},
    "v3, grid 1 2 4": {"multi_grid"},
    "v3, rates 6 12 18": {"rates"},
    "v3, crop 161": {"size"},
    "v3+": {"model"},
    "v3+, separable": {"separable"},
}
# options that only one of two networks has, and what they are worth there
ABSENT = {"image_pooling": True, "multi_grid": [1, 1, 1], "aspp_convs": 1, "separable": False}


def options(run):
    """Everything that decides a run's weights; rates in pixels."""
    config = trained.RUNS[run].exact()
    of_model = ABSENT | json.loads(config.pop("options"))
    if config["model"] == "v2":  # LargeFOV is v2 with one branch
        config["model"], of_model = "v1", {"pool5a": False, "fc6": "largefov"} | of_model
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
        names -= {"rates", "rate", "pool5a", "fc6"}
    return names


@pytest.mark.parametrize("rung", [r for r in scored.LADDER if r.against], ids=lambda r: r.name)
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
    assert scored.markdown(scored.read()) in (trained.ROOT / "README.md").read_text("utf-8")


PLAIN = {row["rung"]: row for row in scored.read() if RUNGS[row["rung"]].how == ask.Inference()}


@pytest.mark.parametrize("name", PLAIN)
def test_the_table_is_that_of_the_weights(name):
    """Ten of the two hundred scenes, whose interval holds the score of all."""
    network = checkpoints.load(scored.WEIGHTS / f"{RUNGS[name].run}-0.safetensors")
    test = scored.test_scenes(10)
    labels = [ask.label(network, image) for image in test.images]
    matrices = metrics.confusion_matrices(np.stack(labels), test.banded, len(CLASSES))
    _, low, high = metrics.confidence_interval(matrices, level=0.998)
    assert low < float(PLAIN[name]["miou"]) < high


@pytest.mark.parametrize("size", [161, 321])
def test_wide_scenes_are_cropped_for_training_and_whole_for_validation(size):
    config = Config(data="wide", size=size)
    train_set, val_set, crop = open_data(config)
    image, label = Stream(train_set, 0, crop)[3]
    assert image.shape[1:] == label.shape == (size, size)
    assert val_set[0][1].shape == (321, 321)
    assert len({int(c) for c in label.unique()} - {255}) > 1 or size == 161
