"""predict.py beside an export: segment's labels, in a process that has neither torch nor us."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.ImageCms import ImageCmsProfile, createProfile
from typer.testing import CliRunner

from deeplab_lite import image_files, scenes
from deeplab_lite.workshop import export
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.export import predict
from deeplab_lite.workshop.segment.segmenter import Segmenter, Settings

MODEL = "v3plus-scenes"
ALONE = """
import runpy, sys

class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "deeplab_lite"):
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(script, *words):
    """A script in an isolated process in which torch and deeplab_lite cannot be imported."""
    command = [sys.executable, "-I", "-W", "error", "-c", ALONE, *map(str, (script, *words))]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def photo(height, width):
    """Some scenes side by side, cut to a size."""
    rows = [
        np.hstack([scenes.scene(9 * r + c)[0] for c in range(width // 129 + 1)])
        for r in range(height // 129 + 1)
    ]
    return Image.fromarray(np.ascontiguousarray(np.vstack(rows)[:height, :width]))


def fading(image):
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def pictures(folder):
    """Photographs as they come: of any size and mode, turned, with a profile, beyond a tile."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    lab, srgb = (ImageCmsProfile(createProfile(space)).tobytes() for space in ("LAB", "sRGB"))
    exchanged = srgb.replace(b"rXYZ", b"xXYZ", 1).replace(b"bXYZ", b"rXYZ", 1)
    photo(120, 100).save(folder / "plain.jpg", quality=95)
    photo(50, 20).save(folder / "small.png")
    photo(150, 260).save(folder / "turned.jpg", exif=exif)
    photo(129, 131).convert("L").save(folder / "grey.png")
    photo(97, 180).quantize(64).save(folder / "palette.gif")
    photo(140, 97).convert("CMYK").save(folder / "print.tif")
    fading(photo(99, 130)).save(folder / "clear.png")
    fading(photo(99, 130)).save(folder / "infrared.tif")
    hidden = photo(110, 100)
    hidden.putalpha(0)
    hidden.save(folder / "hidden.png")
    photo(90, 90).save(folder / "misprofiled.png", icc_profile=lab)
    photo(95, 90).save(folder / "blue_is_red.jpg", icc_profile=exchanged.replace(b"xXYZ", b"bXYZ"))
    photo(1200, 300).save(folder / "tall.png")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(folder of photographs, folder of masks, what the script said)."""
    here = tmp_path_factory.mktemp("script")
    (here / "photos").mkdir()
    file = export.onnx(MODEL, here / "net.onnx")
    script = export.script(file, MODEL, export.read_card(file))
    (here / "photos" / "notes.txt").write_text("no picture")
    (here / "photos" / "later").mkdir()
    photo(60, 70).save(here / "photos" / "later" / "below.png")
    (here / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 cut short")
    said = run(script, pictures(here / "photos"), "--out", here / "masks")
    return here / "photos", here / "masks", said


def test_labels_are_those_of_segment(done):
    photos, masks, _ = done
    segmenter = Segmenter(Settings(MODEL), "cpu")
    named = [p for p in photos.rglob("*.*") if p.stem not in ("broken", "notes")]
    assert len(named) == 13 == len([*masks.rglob("*.*")])
    for path in named:
        expected = segmenter.labels(image_files.read(path, largest=None).image)
        with Image.open(masks / path.relative_to(photos).with_suffix(".png")) as mask:
            assert mask.mode == "P", path
            palette = np.reshape(mask.getpalette(), (-1, 3))
            labels = np.asarray(mask)
        assert labels.shape == expected.shape, path
        assert (labels == expected).mean() >= 0.999, path
        assert np.array_equal(palette, segmenter.palette), path


def test_a_broken_file_is_one_sentence_and_the_rest_is_done(done):
    photos, _, said = done
    assert said.returncode == 1 and len(said.stdout.splitlines()) == 13
    (line,) = said.stderr.splitlines()
    assert line.startswith(f"{photos / 'broken.jpg'}: ")
    assert "notes.txt" not in said.stdout


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_more_than_8_bits_are_told(tmp_path, shape):
    pixels = np.full(shape, 300, np.uint16)
    pytest.importorskip("tifffile").imwrite(tmp_path / "deep.tif", pixels)
    with pytest.raises(ValueError, match="it has more than 8 bits a channel: save it with 8 bits"):
        predict.read(tmp_path / "deep.tif")


def test_what_is_there_stays(done):
    photos, masks, _ = done
    again = run(masks.parent / "predict.py", photos / "plain.jpg", "--out", masks)
    there = f"{masks / 'plain.png'} is there already: {photos / 'plain.jpg'} left out\n"
    assert (again.returncode, again.stdout, again.stderr) == (0, there, "")


def test_longest_shrinks_as_import_and_segment_do_and_masks_keep_their_size(done):
    photos, masks, _ = done
    out, tall = masks.parent / "shrunk", photos / "tall.png"
    said = run(masks.parent / "predict.py", tall, "--longest", 400, "--out", out)
    small = image_files.read(tall, 400).image
    expected = Image.fromarray(Segmenter(Settings(MODEL), "cpu").labels(small))
    labels = np.asarray(Image.open(out / "tall.png"))
    assert said.returncode == 0 and small.shape == (400, 100, 3) and labels.shape == (1200, 300)
    assert (labels == expected.resize((300, 1200), Image.Resampling.NEAREST)).mean() > 0.99
    segmenter = Segmenter(Settings(MODEL, longest=400), "cpu")
    assert (labels == segmenter.labels(image_files.read(tall, None).image)).mean() > 0.99
    refused = run(masks.parent / "predict.py", tall, "--longest", -400)
    assert "0 to shrink nothing" in refused.stderr


def test_a_pattern_is_resolved_and_masks_are_no_photographs(done):
    photos, masks, _ = done
    within = photos / "masks"
    said = run(masks.parent / "predict.py", photos / "l*" / "*.png", "--out", within)
    assert (said.returncode, [path.name for path in within.iterdir()]) == (0, ["below.png"])
    again = run(masks.parent / "predict.py", photos / "later", within, "--out", within)
    assert again.stdout.count("\n") == again.stdout.count("is there already") == 1


def test_a_network_that_was_moved_and_a_file_for_a_folder_are_one_sentence(done, tmp_path):
    photos, masks, _ = done
    script = tmp_path / "predict.py"
    script.write_bytes((masks.parent / "predict.py").read_bytes())
    lost = run(script, photos)
    assert "net.onnx is not there: keep it beside this file" in lost.stderr.splitlines()[-1]
    taken = run(masks.parent / "predict.py", photos, "--out", photos / "plain.jpg")
    assert "plain.jpg is a file: name a folder" in taken.stderr.splitlines()[-1]


def test_an_interrupted_mask_leaves_nothing(tmp_path, monkeypatch):
    def save(image, path, kind):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match="disk full"):
        predict.save(np.zeros((3, 3), np.uint8), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_file_of_one_size_takes_photographs_of_any(tmp_path):
    out = tmp_path / "fixed.onnx"
    words = ["export", "--model", MODEL, "--size", "97", "129", "--out", str(out)]
    command = CliRunner().invoke(app, words)
    assert command.exit_code == 0, command.output
    script = tmp_path / "predict.py"
    assert command.stdout.splitlines()[2].startswith(f"{script}: masks of photographs")
    photo(97, 129).save(tmp_path / "same.png")
    photo(97, 129).resize((645, 485)).save(tmp_path / "large.png")
    assert run(script, tmp_path, "--out", tmp_path / "masks").returncode == 0
    same, large = (Image.open(tmp_path / "masks" / f"{name}.png") for name in ("same", "large"))
    expected = Segmenter(Settings(MODEL), "cpu").labels(np.asarray(photo(97, 129)))
    assert np.array_equal(same, expected) and large.size == (645, 485)
    assert (np.asarray(large.resize((129, 97), Image.Resampling.NEAREST)) == expected).mean() > 0.9


def test_a_predict_of_another_is_not_overwritten(tmp_path):
    card = {"classes": ["it's", "ground"], "palette": [[1, 2, 3]] * 2, "sides": [33, 33]}
    theirs = tmp_path / "predict.py"
    theirs.write_text("print('mine')")
    for _ in range(2):
        ours = export.script(tmp_path / "leaf.onnx", MODEL, card)
        assert ours.name == "predict_leaf.py" and theirs.read_text() == "print('mine')"
    spec = importlib.util.spec_from_file_location("ours", ours)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.MODEL == "leaf.onnx" and module.SIZE == (33, 33)
    assert card["classes"] == module.CLASSES
    theirs.unlink()
    assert export.script(tmp_path / "leaf.onnx", MODEL, card) == theirs
    assert export.script(tmp_path / "leaf.onnx", MODEL, card) == theirs
