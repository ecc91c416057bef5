"""tools/camvid.py on a made-up CamVid: what is scored is shipped, once, and told as it is."""

import csv
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from deeplab_lite import checkpoints, metrics
from deeplab_lite.crf import dense_crf
from deeplab_lite.models import zoo
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets.camvid import CLASSES, PALETTE
from deeplab_lite.workshop.evaluate import open_samples
from deeplab_lite.workshop.segment import Segmenter, Settings
from deeplab_lite.workshop.train import recipes
from tools import camvid

V3PLUS, LARGE_FOV, NAME = camvid.SOURCE, "camvid-largefov", camvid.SHIPPED
STEPS = recipes.read(V3PLUS).config().steps
SINGLE, MULTI, FINE = camvid.ways(V3PLUS)
FRAMES = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Frames of 41 x 57 pixels in blocks of the classes' colours, with all classes and void."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    colours = np.array([*PALETTE, (0, 0, 0)], np.uint8)
    for part in ("val", "valannot"):
        (folder / part).mkdir()
    for i in range(FRAMES):
        label = random.integers(0, 12, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)[:41, :57]
        label[0, :12] = np.arange(12)
        noise = random.integers(-20, 20, (41, 57, 3))
        image = np.clip(colours[label] + noise, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "val" / f"{i:02}.png")
        Image.fromarray(label).save(folder / "valannot" / f"{i:02}.png")
    return folder


def stop(runs, recipe, step, seed=0):
    """Leave a run as if it had been stopped after `step`."""
    config = recipes.read(recipe).config()
    torch.manual_seed(seed)
    network = zoo.build(config.model, num_classes=11)
    folder = runs / recipe
    folder.mkdir(parents=True, exist_ok=True)
    state = {"average": network.state_dict(), "step": step, "log": {"seconds": 600.0}}
    torch.save(state, folder / "checkpoint.pt")
    (folder / "log.csv").write_text("step,images,lr,loss,val_miou\n50,400,1,2.5,\n60,480,1,2,0.1\n")
    return network


def finish(runs, recipe, seed=0):
    """Leave a run as if it had come to its end."""
    config = camvid.run(recipe, runs)
    stop(runs, recipe, config.steps, seed)
    path = camvid.early(config)
    card = checkpoints.card(path)
    del card["stopped"]
    return checkpoints.save(checkpoints.load(path), runs / recipe / config.name, card)


def ship(runs, assets, *words):
    """The command, and the table that it leaves."""
    camvid.main(["--runs", str(runs), "--no-train", *words], assets)
    with (assets / "camvid.csv").open(newline="") as file:
        return {(row["model"], row["how"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module", autouse=True)
def here(data):
    """The made-up data is found; two scales, and sizes that are counted once, to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPLAB_LITE_DATA", str(data))
        patch.setitem(camvid.HOW, MULTI, {"scales": (0.5, 1.0), "flip": True})
        patch.setattr(camvid, "sizes", cache(camvid.sizes))
        yield


@pytest.fixture(scope="module")
def shipped(here, tmp_path_factory):
    """v3+ shipped from its end: the runs, the assets, the table."""
    runs, assets = (tmp_path_factory.mktemp(name) for name in ("runs", "assets"))
    finish(runs, V3PLUS)
    return runs, assets, ship(runs, assets)


def card_of(assets):
    return checkpoints.card(assets / "checkpoints" / NAME)


# ---- What is shipped -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", camvid.ways(V3PLUS))
def test_the_card_s_command_measures_what_table_and_card_say(shipped, how, tmp_path):
    _, assets, table = shipped
    card, row = card_of(assets), table[V3PLUS, how]
    words = card["scored_by"][how].split()
    assert words[:3] == ["python", "-m", "deeplab_lite"] and NAME in words
    words[words.index(NAME)] = str(assets / "checkpoints" / f"{NAME}.json")
    path = tmp_path / "scores.json"
    assert CliRunner().invoke(app, [*words[3:], "--json", str(path)]).exit_code == 0
    report = json.loads(path.read_text())
    assert [float(row[key]) for key in ("miou", "low", "high", "accuracy", "mean_accuracy")] == [
        report["miou"], *report["interval"], report["accuracy"], report["mean_accuracy"]
    ]  # fmt: skip
    assert {name: float(row[name]) for name in CLASSES} == report["iou"]
    assert {w: float(row[f"trimap_{w}"]) for w in report["trimap_miou"]} == report["trimap_miou"]
    assert (row["images"], row["steps"]) == (str(FRAMES), str(STEPS))
    scores = card["metrics"]["val" if how == SINGLE else f"val, {how}"]
    assert scores == {key: report[key] for key in camvid.SCORES}


def test_the_card_says_what_it_is(shipped):
    runs, assets, _ = shipped
    card, text = card_of(assets), (assets / "checkpoints" / f"{NAME}.json").read_text()
    assert str(runs) not in text and str(assets) not in text and "/tmp" not in text
    assert card["recipe"] == V3PLUS and card["classes"] == [*CLASSES]
    assert card["palette"] == [list(colour) for colour in PALETTE]
    assert card["command"] == recipes.read(V3PLUS).config().command()
    assert [one["split"] for one in card["published"]] == ["test, not val"] * 3
    assert "research" in card["licence"] and "stopped" not in card
    before, after = card["halved"].values()
    assert abs(before - after) <= camvid.ROUNDED and after == card["metrics"]["val"]["miou"]


def test_the_crf_is_kept_where_it_helps_on_frames_that_it_was_not_chosen_on(shipped):
    _, assets, _ = shipped
    card = card_of(assets)
    settings = camvid.crf(camvid.finished(camvid.run(V3PLUS, shipped[0])), None)
    assert settings["note"] in card["notes"] and card.get("crf") == settings["crf"]
    samples = open_samples("camvid", "val")
    segmenter = Segmenter(Settings(str(assets / "checkpoints" / f"{NAME}.json")), "cpu")
    chosen = dict(pair.rsplit(" ", 1) for pair in inside(settings["note"]).split(", "))
    chosen = {name: float(value) for name, value in chosen.items()}
    plain, refined = [], []
    for index in (11, 15):
        one = samples.sample(index)
        probs = segmenter.probabilities(one.image)
        for answer, found in ((probs, plain), (dense_crf(probs, one.image, **chosen), refined)):
            found.append(metrics.confusion_matrices(answer, one.label, 11))
    before, after = (float(metrics.miou(torch.cat(x).sum(0))) for x in (plain, refined))
    assert f"from {before:.3f} to {after:.3f}" in settings["note"]
    assert (after > before) == (settings["crf"] is not None) == ("uses it" in settings["note"])
    assert settings["crf"] in (None, chosen)


def inside(text):
    return text[text.index("(") + 1 : text.index(")")]


def test_curves_are_kept_as_the_family_s(shipped):
    with (shipped[1] / "curves" / f"{V3PLUS}-0.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"images": "400", "loss": "2.5", "val_miou": ""}
    assert rows[1]["val_miou"] == "0.1"


def test_sizes_are_those_of_the_network_and_of_all_pixels_that_it_sees():
    single, multi, fine = (camvid.sizes(V3PLUS, how) for how in (SINGLE, MULTI, FINE))
    assert single["parameters"] == fine["parameters"] == multi["parameters"] == 3_861_339
    assert 1.5 < fine["multiply_adds"] / single["multiply_adds"] < 4  # only layers beyond stride 8
    pixels = 2 * math.fsum(scale**2 for scale in camvid.HOW[MULTI]["scales"])
    assert multi["multiply_adds"] / single["multiply_adds"] == pytest.approx(pixels, rel=0.02)


# ---- What goes on --------------------------------------------------------------------------------


def test_what_is_scored_is_not_scored_again(shipped, monkeypatch):
    runs, assets, table = shipped
    data = (assets / "checkpoints" / f"{NAME}.json").read_bytes()
    for name in ("score", "crf_search"):
        monkeypatch.setattr(camvid, name, lambda *_: pytest.fail("asked again"))
    assert ship(runs, assets) == table
    assert (assets / "checkpoints" / f"{NAME}.json").read_bytes() == data


def test_a_network_that_ends_later_gets_its_row_and_the_other_keeps_its_own(shipped, tmp_path):
    runs, _, table = shipped
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / V3PLUS).symlink_to(runs / V3PLUS)
    finish(tmp_path / "runs", LARGE_FOV)
    both = ship(tmp_path / "runs", tmp_path, "--single")
    assert list(both) == [*table, (LARGE_FOV, SINGLE)]
    assert {key: both[key] for key in table} == table
    assert checkpoints.names() and not (tmp_path / "checkpoints" / f"{LARGE_FOV}.json").exists()


def test_an_unfinished_run_is_left_out_or_said_to_be_one(tmp_path, capsys):
    stop(tmp_path, V3PLUS, 700)
    with pytest.raises(FileNotFoundError):
        ship(tmp_path, tmp_path)
    assert f"{V3PLUS}: no weights in {tmp_path / V3PLUS}" in capsys.readouterr().out
    table = ship(tmp_path, tmp_path, "--early", "--single", "--no-crf")
    assert table[V3PLUS, SINGLE]["steps"] == "700" and len(table) == 1
    card = card_of(tmp_path)
    assert card["stopped"] == f"at step 700 of {STEPS}" and card["data"]["images"] == 5600
    assert card["time"] == "10.0 minutes" and "crf" not in card
    other = finish(tmp_path, V3PLUS, seed=1)  # it went on: other weights, other scores
    assert camvid.kept_score(other, SINGLE) is None
    again = ship(tmp_path, tmp_path, "--early", "--single", "--no-crf")
    assert again[V3PLUS, SINGLE]["steps"] == str(STEPS) and again != table
    assert "stopped" not in card_of(tmp_path)


def test_each_stage_goes_on_from_the_one_before_in_any_folder(tmp_path):
    first, *later = (camvid.run(name, tmp_path) for name in camvid.STAGES)
    assert first.init == "imagenet"
    assert [config.init for config in later] == [
        str(tmp_path / name / f"{first.name}.safetensors") for name in camvid.STAGES[:-1]
    ]
    assert camvid.run(camvid.SOURCE, Path("runs")).init == recipes.read(camvid.SOURCE).config().init


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    stop(tmp_path, V3PLUS, 700)
    begun = []

    def train(config):
        begun.append(config)
        finish(tmp_path, camvid.RECIPES[len(begun) - 1])

    monkeypatch.setattr(camvid, "train", train)
    words = ["--runs", str(tmp_path), "--single", "--no-crf", "--threads", "1"]
    for _ in range(2):  # and nothing is trained twice
        camvid.main(words, tmp_path)
    assert [config.folder for config in begun] == [str(tmp_path / name) for name in camvid.RECIPES]
    assert all(config.resume and config.threads == 1 for config in begun)


# ---- What is wrong -------------------------------------------------------------------------------


def test_halves_that_are_not_those_of_the_run_are_refused(tmp_path):
    path = finish(tmp_path, V3PLUS)
    stop(tmp_path, V3PLUS, STEPS, seed=1)
    state = camvid.last_state(camvid.run(V3PLUS, tmp_path))
    with pytest.raises(ValueError, match="is not that of its run's last checkpoint"):
        camvid.in_float32(path, state, open_samples("camvid", "val"))


def test_half_precision_that_costs_too_much_is_not_shipped(tmp_path, monkeypatch):
    finish(tmp_path, V3PLUS)
    monkeypatch.setattr(camvid, "in_float32", lambda *_: 0.9)
    with pytest.raises(ValueError, match=r"half precision takes mIoU from 0\.9 to 0\.\d+"):
        ship(tmp_path, tmp_path, "--single", "--no-crf")
    assert not (tmp_path / "checkpoints").exists()


def test_without_the_data_a_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPLAB_LITE_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"there is no CamVid in .* \(--download\)"):
        camvid.main([], tmp_path)
