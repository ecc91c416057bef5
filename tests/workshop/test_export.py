"""Exported files: they say what their network says, where none of this package is installed."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from deeplab_lite import checkpoints, metrics
from deeplab_lite.models import DeepLabV1, DeepLabV3, DeepLabV3Plus, zoo
from deeplab_lite.scenes import CLASSES, SPLITS, normalize, scene
from deeplab_lite.workshop import export
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.export import command, program

ROOT = Path(__file__).parents[2]
FAMILY = ("v1-scenes", "v2-scenes", "v3-scenes", "v3plus-scenes")
SIZES = ((97, 97), (65, 129))  # height, width
NOISE = 1e-4  # of logits, which reach 10 to 20: float32 in another order of summation


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """shelf(name, suffix): the exported file, written once."""
    folder = tmp_path_factory.mktemp("exported")

    def write(name, suffix):
        path = folder / f"{name}{suffix}"
        if not path.exists():
            {".onnx": export.onnx, ".pt2": export.pt2}[suffix](name, path)
        return path

    return write


def tiny(**options):
    """A network with random weights that is traced in a second."""
    torch.manual_seed(0)
    options = {"num_classes": 3, "width": 0.03, "batch_norm": True, "rate": 2} | options
    return DeepLabV1(**options).eval()


def photos(count, sizes=SIZES):
    return command.scenes("test", count, sizes)


def python(code, *arguments):
    """What a fresh process prints that imports nothing of ours."""
    code = f"import sys\n{code}\nassert 'deeplab_lite' not in sys.modules"
    words = [sys.executable, "-W", "error::UserWarning", "-c", code, *map(str, arguments)]
    run = subprocess.run(words, capture_output=True, text=True, cwd="/")
    assert run.returncode == 0, run.stderr
    return run.stdout


# ---- The same labels -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_onnxruntime_gives_the_same_labels_on_10_images(shelf, name):
    """One file, two sizes, alone and in threes; labels differ only where two logits all but tie."""
    run, network = export.load(shelf(name, ".onnx")), checkpoints.load(name)
    seen = 0
    for size in SIZES:
        images = np.stack(photos(5, [size]))
        for batch in (images[:1], images[1:2], images[2:]):
            with torch.no_grad():
                expected = network(normalize(batch))
            found = run(torch.from_numpy(batch).movedim(-1, 1) / 255)
            assert (found - expected).abs().max() < NOISE
            first, second = expected.topk(2, dim=1).values.unbind(1)
            same = found.argmax(1) == expected.argmax(1)
            assert same[first - second > 2 * NOISE].all()
            assert same.float().mean() > 0.9999
            seen += len(batch)
    assert seen == 10


def test_an_exported_network_sees_an_image_as_it_was_trained_to():
    image = photos(1)[0]
    image[0, :2] = [[0], [255]]
    (batch,) = program.batches([image])
    assert (batch.min(), batch.max()) == (0, 1)
    torch.testing.assert_close(program.Deployed(nn.Identity())(batch), normalize(image[None]))


def test_pt2_files_run_in_a_process_that_knows_torch_alone(shelf, tmp_path):
    names = ("v1-scenes", "v3plus-scenes")
    batches = [np.stack(photos(count, [size])) for count, size in zip((1, 3), SIZES, strict=True)]
    np.savez(tmp_path / "images.npz", *batches)
    code = (
        "import json, numpy, torch\n"
        "torch.set_num_threads(1)\n"
        "images, out, *files = sys.argv[1:]\n"
        "arrays = numpy.load(images).values()\n"
        "batches = [torch.from_numpy(x).movedim(-1, 1) / 255 for x in arrays]\n"
        "found = []\n"
        "for file in files:\n"
        "    extra = {'card.json': ''}\n"
        "    network = torch.export.load(file, extra_files=extra).module()\n"
        "    found += [network(batch).detach().numpy() for batch in batches]\n"
        "    print(*json.loads(extra['card.json'])['classes'])\n"
        "numpy.savez(out, *found)"
    )
    out = tmp_path / "logits.npz"
    files = [shelf(name, ".pt2") for name in names]
    printed = python(code, tmp_path / "images.npz", out, *files)
    assert [tuple(line.split()) for line in printed.splitlines()] == [CLASSES, CLASSES]
    found = list(np.load(out).values())
    for network in map(checkpoints.load, names):
        for batch in batches:
            with torch.no_grad():
                expected = network(normalize(batch))
            torch.testing.assert_close(torch.from_numpy(found.pop(0)), expected, rtol=0, atol=NOISE)


def test_an_onnx_file_runs_in_a_process_without_torch(shelf, tmp_path):
    image = photos(1)[0]
    np.save(tmp_path / "image.npy", image)
    code = (
        "import json, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "image = numpy.load(sys.argv[2])\n"
        "batch = (image.transpose(2, 0, 1)[None] / 255).astype('float32')\n"
        "labels = session.run(['logits'], {'image': batch})[0].argmax(1)[0]\n"
        "numpy.save(sys.argv[3], labels)\n"
        "assert 'torch' not in sys.modules\n"
        "print(*json.loads(session.get_modelmeta().custom_metadata_map['classes']))"
    )
    out = tmp_path / "labels.npy"
    printed = python(code, shelf("v3plus-scenes", ".onnx"), tmp_path / "image.npy", out)
    assert tuple(printed.split()) == CLASSES
    with torch.no_grad():
        expected = checkpoints.load("v3plus-scenes")(normalize(image[None]))[0].argmax(0)
    assert (np.load(out) == expected.numpy()).mean() > 0.9999


def test_compare_tells_a_file_from_another_network(shelf):
    file = shelf("v3plus-scenes", ".onnx")
    own, other = (export.compare(file, name, photos(2)) for name in ("v3plus-scenes", "v1-scenes"))
    assert own.equal > 0.9999 and own.difference < NOISE
    assert other.equal < 0.999 and other.difference > 1
    assert (own.images, own.pixels) == (2, 97 * 97 + 65 * 129)
    assert str(own).endswith(f"the largest difference of logits is {own.difference:.2g}")


def test_the_difference_is_the_largest_of_all_images(shelf):
    file, images = shelf("v3plus-scenes", ".onnx"), photos(2)
    first, second = (export.compare(file, "v1-scenes", [image]).difference for image in images)
    for order in (images, images[::-1]):
        assert export.compare(file, "v1-scenes", order).difference == max(first, second)


# ---- Sides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network, fit",
    [
        (lambda: zoo.build("v1"), (8, 1)),
        (lambda: zoo.build("v3plus"), (16, 1)),
        (lambda: tiny(fc6="base", rate=1), (8, 2)),
        (lambda: tiny(pools="torchvision"), (8, 0)),
        (lambda: DeepLabV3Plus(3, "resnet18", 32, rates=(1,)), (32, 0)),
    ],
)
def test_which_sides_fit_is_asked_of_the_network(network, fit):
    assert export.sides(network().eval()) == fit


def test_the_least_and_other_sides_run_and_pt2_refuses_those_that_do_not_fit(shelf):
    """Rates reach over the whole map at 33 pixels: that shall not bind the file to larger ones."""
    for suffix in (".onnx", ".pt2"):
        path = shelf("v3plus-scenes", suffix)
        least = export.read_card(path)["sides"]["least"]
        assert least == 33
        assert export.load(path)(torch.rand(1, 3, least, 225)).shape == (1, 9, least, 225)
    with pytest.raises(AssertionError, match=r"size\(\)\[2\] % 16 == 1"):
        export.load(shelf("v3plus-scenes", ".pt2"))(torch.rand(1, 3, 130, 129))


# ---- What travels with a file --------------------------------------------------------------------


def test_the_card_is_the_same_in_both_formats(shelf):
    cards = [export.read_card(shelf("v3plus-scenes", suffix)) for suffix in (".onnx", ".pt2")]
    assert cards[0].pop("opset") == 18
    assert cards[0] == cards[1]
    card, trained = cards[1], checkpoints.card("v3plus-scenes")
    assert card["classes"] == trained["classes"]
    assert card["weights_sha256"] == trained["sha256"]
    assert len(card["palette"]) == 9 and card["palette"][0] == [236, 236, 236]
    assert card["licence"] == "MIT" and card["output_stride"] == 16
    assert card["sides"] == {"multiple_of": 16, "plus": 1, "least": 33}


def test_names_of_inputs_outputs_and_free_dimensions(shelf):
    import onnx

    graph = onnx.load(shelf("v3plus-scenes", ".onnx")).graph
    for value, name, channels in ((graph.input[0], "image", 3), (graph.output[0], "logits", 9)):
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert (value.name, dims) == (name, ["batch", channels, "height", "width"])


def test_a_network_without_a_card_has_numbers_for_classes_and_stays_as_it_was(tmp_path):
    network = (
        DeepLabV3(3, "resnet18", 16, (1, 1), rates=(1, 2), channels=8, aux=True).train().double()
    )
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = export.pt2(network, tmp_path / "mine.pt2")
    assert network.training and network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    card = export.read_card(path)
    assert card["name"] == "DeepLabV3" and card["classes"] == ["0", "1", "2"]
    assert card["licence"] == "not stated"
    assert export.compare(path, network, photos(1, [(64, 96)])).difference < NOISE
    named = {"classes": ["ground", "leaf", "root"], "licence": "CC0", "palette": [[9, 8, 7]] * 3}
    card = export.read_card(export.pt2(tiny(), path, card=named))
    assert named.items() <= card.items()


# ---- Eight bits ----------------------------------------------------------------------------------


def test_int8_keeps_miou_within_a_point_in_a_third_of_the_bytes(shelf, tmp_path):
    import onnx

    path = tmp_path / "int8.onnx"
    export.onnx("v3plus-scenes", path, int8=command.scenes("train", 12, [(321, 321)]))
    whole = shelf("v3plus-scenes", ".onnx")
    assert path.stat().st_size < 0.36 * whole.stat().st_size
    assert export.read_card(path)["precision"] == "int8"
    stored = {
        tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4
    }
    assert stored == {onnx.TensorProto.INT8}

    test = [scene(SPLITS["test"][0] + index) for index in range(8)]
    labels = torch.from_numpy(np.stack([label for _, label in test]))
    batch = torch.from_numpy(np.stack([image for image, _ in test])).movedim(-1, 1) / 255
    scores = []
    for file in (whole, path):
        found = export.load(file)(batch).argmax(1)
        scores.append(float(metrics.miou(metrics.confusion_matrices(found, labels, 9).sum(0))))
    assert scores[0] > 0.8 and scores == pytest.approx([scores[0]] * 2, abs=0.01)


def test_the_table_of_forms_says_that_int8_keeps_miou_within_a_point():
    with (ROOT / "assets" / "export.csv").open() as file:
        rows = {(row["model"], row["form"]): row for row in csv.DictReader(file)}
    models = {model for model, _ in rows}
    assert {name.removesuffix("-scenes") for name in FAMILY} <= models
    for model in models:
        whole, small = rows[model, "eager"], rows[model, "onnxruntime, int8"]
        assert abs(float(small["miou"]) - float(whole["miou"])) < 0.01
        if model != "v3plus-lite0":  # its depthwise convolutions gain little
            assert float(small["to_eager_321"]) < float(rows[model, "onnxruntime"]["to_eager_321"])
        same = [row for (name, form), row in rows.items() if name == model and "int8" not in form]
        for row in same:  # float32 forms to rounding, bfloat16 nearly
            tolerance = 2e-3 if "bfloat16" in row["form"] else 1e-4
            assert float(row["miou"]) == pytest.approx(float(whole["miou"]), abs=tolerance)


# ---- What is wrong is said -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, sentence",
    [
        (lambda: export.onnx(tiny(), "a.pt2"), ValueError, "a.pt2: expected .* --format pt2"),
        (lambda: export.pt2(tiny(), "no/a.pt2"), FileNotFoundError, "no folder no: make it first"),
        (
            lambda: export.pt2(tiny(), "a.pt2", size=(33, 40)),
            ValueError,
            "width 40 .* resize to 41",
        ),
        (lambda: export.pt2(tiny(), "a.pt2", size=(-8, 33)), ValueError, "height -8 is not a"),
        (
            lambda: export.pt2("v3plos-scenes", "a.pt2"),
            ValueError,
            "no checkpoint is called 'v3plos-scenes'",
        ),
        (
            lambda: export.pt2(nn.Conv2d(3, 3, 1), "a.pt2"),
            ValueError,
            "Conv2d has no output_stride",
        ),
        (lambda: export.onnx(tiny(), "a.onnx", int8=[]), ValueError, "there are no images"),
        (
            lambda: export.onnx(tiny(), "a.onnx", int8=[np.zeros((33, 33, 3))]),
            ValueError,
            r"an image of float64 and shape \(33, 33, 3\): expected uint8",
        ),
        (lambda: export.load("a.onnx"), FileNotFoundError, "there is no a.onnx"),
        (lambda: export.load("a.pth"), ValueError, "a.pth: expected .* .onnx or .pt2"),
        (
            lambda: command.fitting(np.zeros((40, 60, 3), np.uint8), 16, 1, (33, 65)),
            ValueError,
            "40 x 60 pixels is smaller than 33 x 65",
        ),
        (lambda: command.paths(["none.png", "*.none"]), ValueError, r"\*.none is a pattern"),
    ],
)
def test_errors_are_a_sentence(tmp_path, monkeypatch, call, error, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=sentence):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "missing, call",
    [
        ("onnxscript", lambda: export.onnx("v1-scenes", "a.onnx")),
        ("torchao", lambda: export.onnx("v1-scenes", "a.onnx", int8=photos(1))),
    ],
)
def test_a_missing_extra_is_told_with_the_line_that_brings_it(monkeypatch, missing, call):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"{missing}.*pip install 'deeplab-lite\[export\]'"
    ):
        call()
    run = CliRunner().invoke(
        app, ["export", "--model", "v3plus-scenes", "--out", "a.onnx", "--format", "int8"]
    )
    assert f"needs {missing}, which is not installed" in str(run.exception)


def test_an_interrupted_export_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.pt2"
    path.write_bytes(b"old")

    def save(graph, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch.export, "save", save)
    with pytest.raises(OSError, match="disk full"):
        export.pt2(tiny(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# ---- The command line ----------------------------------------------------------------------------


def test_the_command_writes_verifies_and_says_so(tmp_path):
    file = tmp_path / "small.pt2"
    words = ["export", "--model", "v1-scenes", "--format", "pt2", "--size", "65", "97"]
    run = CliRunner().invoke(app, [*words, "--out", str(file)])
    assert run.exit_code == 0, run.output
    written, compared = run.stdout.splitlines()
    assert written == f"{file}: {file.stat().st_size / 1e6:.1f} MB"
    assert compared.startswith(
        f"100.0000% of {8 * 65 * 97:,} pixels on 8 images have the network's"
    )
    assert export.read_card(file)["sides"] == [65, 97]
    run_file = export.load(file)
    assert run_file(torch.rand(2, 3, 65, 97)).shape == (2, 9, 65, 97)
    with pytest.raises(AssertionError, match=r"size\(\)\[3\] == 97"):
        run_file(torch.rand(1, 3, 65, 105))


def test_a_network_for_photographs_is_run_on_some_and_int8_asks_for_them(tmp_path, monkeypatch):
    options = {"num_classes": 3, "width": 0.03, "batch_norm": True, "rate": 2}
    card = checkpoints.card("v1-scenes") | {"classes": ["sky", "road", "tree"]}
    card["model"] = {"class": "DeepLabV1", "options": options}
    model = checkpoints.save(tiny(), tmp_path / "street", card)
    with pytest.raises(ValueError, match="name some fifty of them with --photos FOLDER"):
        next(command.run(str(model), "int8", tmp_path / "street.onnx"))

    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index, image in enumerate(photos(3, [(100, 140)])):
        Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "0.png").write_bytes(b"not among those that are looked at")
    monkeypatch.setattr(command, "VERIFY", 2)
    words = ["export", "--model", str(model), "--format", "pt2", "--photos", str(folder)]
    run = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "street.pt2")])
    assert run.exit_code == 0, run.output
    assert f"{2 * 97 * 137:,} pixels on 2 images" in run.stdout


def test_an_unknown_format_is_refused(tmp_path):
    words = ["export", "--out", str(tmp_path / "a.onnx"), "--format", "coreml"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 2 and "Invalid value for '--format'" in run.stderr
