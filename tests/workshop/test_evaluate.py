"""Scores of a checkpoint: those of metrics.py on what the network says, or one clear sentence."""

import json
import re
import tempfile

import numpy as np
import pytest
import torch
from image_sets import voc
from PIL import Image
from small_network import CARD, network
from typer.testing import CliRunner

from benchmarks import ladder
from deeplab_lite import checkpoints, metrics, scenes, tables
from deeplab_lite.workshop import evaluate as scoring
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import VOC, CamVid
from deeplab_lite.workshop.evaluate import evaluate, open_samples
from deeplab_lite.workshop.segment import Settings

MODEL = "v3plus-scenes"
COUNT = 12


def command(*words):
    """Exit status and stdout of `python -m deeplab_lite evaluate ...` in this process."""
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.mark.parametrize("flags, stride", [([], None), (["--output-stride", "8"], 8)])
def test_scores_are_those_of_the_benchmark(flags, stride, tmp_path):
    """The ladder's scenes, with labels and edges of its own making."""
    network = checkpoints.load(MODEL).to(memory_format=torch.channels_last)
    if stride:
        network.output_stride = stride
    test = ladder.test_scenes(COUNT)
    with torch.inference_mode():
        labels = network(scenes.normalize(test.images)).argmax(1)
    expected = tables.report(metrics.confusion_matrices(labels, test.banded, 9), scenes.CLASSES)
    bands = metrics.trimap_matrices(labels, test.exact, 9).sum(1)
    expected["trimap_miou"] = {
        str(width): float(metrics.miou(band))
        for width, band in zip(metrics.WIDTHS, bands, strict=True)
    }
    path = tmp_path / "new" / "scores.json"
    words = ("--model", MODEL, "--split", "test", "--images", COUNT, "--json", path, *flags)
    status, said = command(*words)
    found = json.loads(path.read_text())
    assert status == 0
    for key in ("images", "miou", "interval", "accuracy", "iou", "trimap_miou"):
        assert found[key] == pytest.approx(expected[key], abs=2e-4), key
    assert found["settings"]["output_stride"] == stride and found["seconds_per_image"] > 0
    (shown,) = re.findall(r"mIoU (0\.\d{3}) \[", said)
    assert float(shown) == pytest.approx(expected["miou"], abs=1e-3)
    for name in scenes.CLASSES:
        assert name in said
    near = re.findall(r"within \d px of an edge (0\.\d{3}) \[", said)
    assert list(map(float, near)) == pytest.approx([*expected["trimap_miou"].values()], abs=1e-3)


def test_scales_and_flip_and_crf_are_taken():
    plain, asked = (
        evaluate(Settings(MODEL, **choices), images=4, device="cpu")
        for choices in ({}, {"scales": (1.0, 1.25), "flip": True, "crf": True})
    )
    assert not torch.equal(plain.matrices, asked.matrices)
    assert torch.equal(plain.matrices.sum(-1), asked.matrices.sum(-1))  # of the same pixels
    assert asked.report()["settings"]["scales"] == [1.0, 1.25]


def test_without_a_name_it_is_the_network_of_the_data():
    status, said = command("--images", 2)
    assert status == 0 and said.startswith("v3plus-scenes on scenes, val: 2 images")


# ---- Other data ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Scenes of two sizes as a folder of one's own, with their nine classes."""
    for part in ("images", "masks"):
        (tmp_path / "mine" / part).mkdir(parents=True)
    for seed in range(8):
        size = 321 if seed % 2 else 305
        image, label = scenes.scene(scenes.SPLITS["val"][0] + seed, size)
        label[0, :9] = np.arange(9)  # so that the data has all classes
        Image.fromarray(image).save(tmp_path / "mine" / "images" / f"{seed}.png")
        Image.fromarray(label).save(tmp_path / "mine" / "masks" / f"{seed}.png")
    (tmp_path / "mine" / "classes.txt").write_text("\n".join(scenes.CLASSES))
    return tmp_path / "mine"


@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_scores_of_strips_are_those_of_the_image(rows, monkeypatch):
    monkeypatch.setattr(scoring, "STRIP", rows)
    label, edges = (scenes.scene(3, outline=outline)[1] for outline in (2, 0))
    predicted = scenes.scene(4, outline=0)[1]
    counts = scoring.by_strips(predicted, label, edges, 9)
    assert torch.equal(counts[:1], metrics.confusion_matrices(predicted, label, 9))
    assert torch.equal(counts[1:, None], metrics.trimap_matrices(predicted, edges, 9))


def test_classes_without_names_are_told(folder):
    (folder / "classes.txt").unlink()
    found = evaluate(Settings(MODEL), str(folder), "val", device="cpu")
    assert "its classes have no names: taken for the network's, in its order" in str(found)


def test_a_folder_of_your_own(folder):
    found = evaluate(Settings(MODEL), str(folder), "val", device="cpu")
    assert found.samples.name == "mine, val" and len(found.matrices) == found.samples.length >= 1
    assert float(metrics.miou(found.matrices.sum(0))) > 0.3  # three scenes do not show all classes


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda names: [*names[:4], names[5], names[4], *names[6:]], "in another order: where the"),
        (
            lambda names: [*names[:8], "kite"],
            f"of other names: where the network has {scenes.CLASSES[8]}, the",
        ),
    ],
)
def test_a_folder_whose_classes_go_by_other_names_is_refused(folder, change, words):
    (folder / "classes.txt").write_text("\n".join(change(scenes.CLASSES)))
    with pytest.raises(ValueError, match="have 9 classes each, ") as error:
        evaluate(Settings(MODEL), str(folder), "val", device="cpu")
    assert words in str(error.value)


def test_classes_without_names_are_taken_in_their_order(folder):
    (folder / "classes.txt").unlink()
    assert evaluate(Settings(MODEL), str(folder), "val", device="cpu").samples.length == 2


def test_images_of_data_sets_are_seen_as_their_files_hold_them(tmp_path):
    for part in ("val", "valannot"):
        (tmp_path / part).mkdir()
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    mask = np.full((20, 30), 11, np.uint8)
    mask[5:] = 3
    Image.fromarray(image).save(tmp_path / "val" / "a.png")
    Image.fromarray(mask).save(tmp_path / "valannot" / "a.png")
    samples = open_samples("camvid", "val", tmp_path)
    assert samples.length == 1 and samples.classes == CamVid("val", tmp_path).classes
    sample = samples.sample(0)
    assert np.array_equal(sample.image, image)
    assert (sample.label[:5] == 255).all() and (sample.label[5:] == 3).all()


@pytest.mark.parametrize("split", ["val", "train_aug"])
def test_voc_is_scored_in_its_21_classes(tmp_path, split):
    """By a network that says person everywhere."""
    options = CARD["model"]["options"] | {"num_classes": 21}
    card = {"model": CARD["model"] | {"options": options}, "classes": list(VOC.classes)}
    always = network(**options)
    torch.nn.init.zeros_(always.fc8.weight)
    always.fc8.bias.data = torch.eye(21)[15]
    model = checkpoints.save(always, tmp_path / "always", CARD | card)
    data, path = voc(tmp_path / "data"), tmp_path / "scores.json"
    words = ("--data", "voc", "--root", data, "--split", split, "--model", model, "--json", path)
    status, said = command(*words)
    labels = torch.cat([label.flatten() for _, label in VOC(split, data)])
    counted = labels[labels != 255]
    found, right = json.loads(path.read_text()), (counted == 15).sum() / len(counted)
    assert status == 0 and said.startswith(f"{model} on voc, {split}: ")
    assert found["accuracy"] == found["iou"]["person"] == pytest.approx(float(right), abs=1e-4)
    assert right > 0 == found["iou"]["background"]


def test_classes_that_are_nowhere_are_null_in_the_file(folder, tmp_path):
    """NaN would be no JSON."""
    for mask in (folder / "masks").iterdir():
        label = np.array(Image.open(mask))
        Image.fromarray(np.where(label == 5, 0, label)).save(mask)
    found = evaluate(Settings(MODEL), str(folder), "val", device="cpu")
    kept = found.matrices.clone()
    kept[:, :, 5] = 0  # nor does the network see one
    found._replace(matrices=kept).write(tmp_path / "scores.json")
    ious = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)["iou"]
    assert [name for name, iou in ious.items() if iou is None] == [scenes.CLASSES[5]]


WORDS = {
    "data": (["--data", "ade"], "no data set is called 'ade': there are scenes, camvid, voc"),
    "split": (["--split", "train"], "split 'train' of scenes: expected val or test"),
    "images": (["--images", "1"], "1 images are too few to score: expected 2 or more"),
    "model": (["--model", "v4"], "no checkpoint is called 'v4'"),
    "no camvid": (["--data", "camvid", "--root", tempfile.gettempdir()], "there is no CamVid in"),
}


@pytest.mark.parametrize("name", WORDS)
def test_wrong_choices_end_with_a_sentence(name):
    words, sentence = WORDS[name]
    status, said = command(*words)
    assert status == 1 and sentence in said and "Traceback" not in said


def test_a_network_of_other_classes_is_refused(tmp_path):
    for part in ("val", "valannot"):
        (tmp_path / part).mkdir()
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / part / "a.png")
    status, said = command("--model", MODEL, "--data", "camvid", "--root", tmp_path)
    assert status == 1 and said.strip() == (
        f"{MODEL} knows 9 classes (background, disc, square, triangle and 5 more) and camvid, val "
        "has 11 (Sky, Building, Pole, Road and 7 more): evaluate it on the data that it was "
        "trained on, or fine-tune it to these classes with train --init"
    )
