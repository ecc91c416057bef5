"""A folder of your own: what is read, how it is divided, and what the checker finds."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_sets import save
from PIL import Image
from train_child import small
from typer.testing import CliRunner

from deeplab_lite import ask, checkpoints, image_files, metrics, tables
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import Folder, check_folder
from deeplab_lite.workshop.datasets.folder import divide, files
from deeplab_lite.workshop.datasets.pairs import Pair, read_mask
from deeplab_lite.workshop.train import train

NAMES = ("ground", "leaf", "stem")
COLOURS = [(0, 0, 0), (0, 158, 115), (230, 159, 0)]
PALETTE = COLOURS + 252 * [(0, 0, 0)] + [(255, 255, 255)]


def make(root, count=10, classes=3, palette=PALETTE, named=True):
    """Photos of 20 x 12 to 29 x 21 pixels, JPEG and PNG, with palette or grey masks."""
    random = np.random.default_rng(0)
    for i in range(count):
        shape = (12 + i % 10, 20 + i % 10)
        suffix = ("jpg", "png", "JPEG")[i % 3]
        save(root / "images" / f"p{i}.{suffix}", random.integers(0, 256, (*shape, 3), np.uint8))
        label = random.integers(0, classes, shape, np.uint8)
        label[0] = 255
        save(root / "masks" / f"p{i}.png", label, palette)
    if named:
        (root / "classes.txt").write_text("\n".join(NAMES[:classes]) + "\n")
    return root


# ---- reading ----


@pytest.mark.parametrize("palette", [PALETTE, None])
def test_palette_and_grey_masks_are_class_numbers(tmp_path, palette):
    split = Folder(make(tmp_path, palette=palette), "train")
    image, label = split[0]
    stored = Image.open(split.pairs[0].mask)
    assert stored.mode == ("P" if palette else "L")
    assert label.tolist() == np.array(stored).tolist() and label.dtype == torch.int64
    assert image.shape == (3, *label.shape) and -1 <= image.min() < image.max() <= 1
    assert split.classes == NAMES
    assert split.palette == (tuple(COLOURS) if palette else ())


def test_masks_of_one_bit_and_of_sixteen(tmp_path):
    label = np.array([[0, 1], [1, 0]], np.uint8)
    Image.fromarray(label.astype(bool)).save(tmp_path / "one.png")
    Image.fromarray(label.astype(np.uint16) * 300).save(tmp_path / "sixteen.png")
    assert read_mask(tmp_path / "one.png").tolist() == label.tolist()
    assert read_mask(tmp_path / "sixteen.png").tolist() == (300 * label.astype(int)).tolist()


def test_classes_without_names_are_numbers_up_to_the_largest_value(tmp_path):
    assert Folder(make(tmp_path, named=False)).classes == ("0", "1", "2")


def test_a_photo_that_the_camera_held_upright_is_turned_as_its_mask(tmp_path):
    make(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(tmp_path / "images/p0.jpg", exif=exif)
    save(tmp_path / "masks" / "p0.png", np.zeros((20, 30), np.uint8))
    assert check_folder(tmp_path).ok
    save(tmp_path / "masks" / "p0.png", np.zeros((30, 20), np.uint8))
    (problem,) = check_folder(tmp_path).problems
    assert problem.kind == "size" and "30 x 20 and its mask p0.png 20 x 30, as a" in problem.text


# ---- training and validation ----


def test_a_fifth_validates_and_no_image_does_both(tmp_path):
    make(tmp_path, 20)
    parts = [[p.image.stem for p in Folder(tmp_path, s).pairs] for s in ("train", "val")]
    assert len(parts[0]) == 16 and len(parts[1]) == 4 and not set(parts[0]) & set(parts[1])
    assert parts[1] == [p.image.stem for p in Folder(tmp_path, "val").pairs]
    assert parts[1] == ["p18", "p4", "p6", "p8"]  # on every machine
    assert parts[1] != [p.image.stem for p in Folder(tmp_path, "val", seed=1).pairs]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(3, 200), share=st.floats(0.01, 0.6), seed=st.integers(0, 99))
def test_any_share_divides(tmp_path_factory, count, share, seed):
    root = tmp_path_factory.getbasetemp()
    pairs = [Pair(root / f"{i}.jpg", root / f"{i}.png") for i in range(count)]
    if count - round(share * count) < 1:
        return
    parts = divide(root, pairs, share, seed)
    assert len(parts["val"]) == max(2, round(share * count))
    assert sorted(parts["train"] + parts["val"]) == sorted(pairs)


@pytest.mark.parametrize(
    "lists, train_set",
    [
        ({"val": "p1\np2.png\n\nimages/p3.jpg\n"}, ["p0", "p4", "p5"]),
        ({"train": "p4\np0\n"}, ["p4", "p0"]),
        ({"train": "\ufeffp4\r\np4\r\n", "val": "p1\r\np2"}, ["p4"]),
    ],
)
def test_lists_say_which_is_which(tmp_path, lists, train_set):
    make(tmp_path, 6)
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text, "utf-8")
    assert [p.image.stem for p in Folder(tmp_path, "train").pairs] == train_set
    assert not {p.image.stem for p in Folder(tmp_path, "val").pairs} & set(train_set)


@pytest.mark.parametrize(
    "lists, told",
    [
        ({"val": "p1\nq2\n"}, "val.txt names 1 images that are not there, as q2"),
        ({"train": "p1\np2", "val": "p2\np3"}, "1 names are in train and in val, as p2"),
        ({"train": "p1", "val": "p2"}, "1 images to train on and 1 to validate on: expected at le"),
        ({"train": ""}, "0 images to train on"),
    ],
)
def test_lists_that_cannot_be_followed_are_told(tmp_path, lists, told):
    make(tmp_path, 6)
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text)
    with pytest.raises(ValueError, match=told):
        Folder(tmp_path)
    (problem,) = check_folder(tmp_path).problems
    assert problem.kind == "split" and told in problem.text


@pytest.mark.parametrize(
    "content, told",
    [
        (b"ground\nroad\nroad\n", "classes.txt names road twice: scores go by name"),
        ("ground\nGew\xe4sser\nroad".encode("latin-1"), "classes.txt is not in UTF-8: save it in"),
        ("ground\nwater\nroad".encode("utf-16"), "classes.txt is not in UTF-8: save it in"),
    ],
    ids=["twice", "latin-1", "utf-16"],
)
def test_names_of_classes_that_cannot_be_used_are_told(tmp_path, content, told):
    make(tmp_path)
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=told):
        Folder(tmp_path)
    (problem,) = check_folder(tmp_path).problems
    assert (problem.kind, problem.file) == ("layout", "classes.txt") and told in problem.text


def test_what_is_no_folder_of_pairs_is_told(tmp_path):
    tmp_path = tmp_path / "my data"
    tmp_path.mkdir()
    with pytest.raises(FileNotFoundError, match=r"images is not there: .* '.*my data' --out"):
        Folder(tmp_path)
    make(tmp_path)
    (tmp_path / "masks" / "p3.png").unlink()
    with pytest.raises(ValueError, match=r"1 files of .* have no partner, as p3.jpg"):
        Folder(tmp_path)
    with pytest.raises(ValueError, match="split 'dev': expected train, val, test"):
        Folder(tmp_path, "dev")


# ---- the checker ----


def test_a_good_folder_has_no_problems_and_right_counts(tmp_path):
    found = check_folder(make(tmp_path))
    masks = [np.array(Image.open(pair.mask)) for pair in files(tmp_path)[0]]
    pixels = np.bincount(np.concatenate([m.ravel() for m in masks]), minlength=256)
    assert found.ok and found.problems == () and found.notes == ()
    assert found.classes == NAMES and found.pixels == tuple(pixels[:3])
    assert found.images == (10, 10, 10) and (found.train, found.val) == (8, 2)
    assert found.ignored == pytest.approx(pixels[255] / pixels.sum())
    assert found.smallest == (20, 12) and found.largest == (29, 21)
    lines = str(found).splitlines()
    assert "8 images to train on and 2 to validate on, 20 x 12 to 29 x 21 pixels, 5.9%" in lines[0]
    assert lines[1] == "masks: 10 palette; values 0..2, 255"
    assert lines[3].split() == [
        "ground",
        f"{pixels[0]:,}",
        f"{pixels[0] / pixels[:3].sum():.2%}",
        "10",
    ]
    assert len(lines) == 6


def test_sizes_are_ordered_by_area(tmp_path):
    make(tmp_path, count=1)  # 20 x 12
    save(tmp_path / "images" / "wide.png", np.zeros((5, 40, 3), np.uint8))
    save(tmp_path / "masks" / "wide.png", np.zeros((5, 40), np.uint8), PALETTE)
    found = check_folder(tmp_path)
    assert (found.smallest, found.largest) == ((40, 5), (20, 12))


def test_the_checker_leaves_warnings_as_they_were(tmp_path, monkeypatch):
    """Of two threads that silence them for a while, the later one restores the other's silence."""

    def silences(path, *limits):
        warnings.simplefilter("ignore")
        return image_files.Photo(np.zeros((12, 20, 3), np.uint8), "", ())

    make(tmp_path)
    before = list(warnings.filters)
    monkeypatch.setattr(image_files, "read", silences)
    check_folder(tmp_path)
    assert warnings.filters == before


def test_hidden_files_are_no_images(tmp_path):
    make(tmp_path)
    for hidden in ("images/._p0.jpg", "masks/._p1.png"):
        (tmp_path / hidden).write_bytes(b"what macOS notes of a file")
    assert check_folder(tmp_path).ok and len(Folder(tmp_path)) == 8


def test_images_of_one_size_have_it_told_once(tmp_path):
    for i in range(4):
        save(tmp_path / "images" / f"{i}.png", np.zeros((6, 8, 3), np.uint8))
        save(tmp_path / "masks" / f"{i}.png", np.arange(48, dtype=np.uint8).reshape(6, 8) % 2)
    assert "2 to validate on, 8 x 6 pixels, 0.0% of them 255" in str(check_folder(tmp_path))


def alone(root):
    (root / "images" / "p0.jpg").rename(root / "images" / "p0_rgb.jpg")


def twice(root):
    save(root / "images" / "p0.png", np.zeros((12, 20, 3), np.uint8))


def cut(root):
    file = root / "images" / "p3.jpg"
    file.write_bytes(file.read_bytes()[:200])


def no_image(root):
    (root / "masks" / "p1.png").write_bytes(b"no image")


def few_bits(root):
    file = root / "masks" / "p2.png"
    mask = Image.open(file)
    mask.putpalette(sum(COLOURS, ()))
    mask.save(file)


def coloured(root):
    file = root / "masks" / "p2.png"
    Image.open(file).convert("RGB").save(file)


def coloured_through(root):
    file = root / "masks" / "p2.png"
    Image.open(file).convert("RGBA").save(file)


def smaller(root):
    save(root / "masks" / "p4.png", np.zeros((8, 10), np.uint8))


def out_of_range(root):
    save(root / "masks" / "p5.png", np.full((17, 25), 128, np.uint8))


def sixteen_bits(root):
    save(root / "masks" / "p5.png", np.full((17, 25), 700, np.uint16))


WRONG = {
    alone: ("partner", "p0_rgb.jpg has no mask of its own, a PNG of its name in masks/: rename"),
    twice: ("partner", "p0.png has the name of another image: rename or remove one"),
    cut: ("unreadable", "p3.jpg cannot be decoded"),
    no_image: ("unreadable", "p1.png cannot be read as an image (UnidentifiedImageError)"),
    few_bits: (
        "value",
        "p2.png has the values 3: classes.txt names 0..2, and 255 is ignored. 255 b",
    ),
    coloured: ("colours", "p2.png is RGB, colours and no class numbers: expected a palette or"),
    coloured_through: ("colours", "p2.png is RGBA, colours and no class numbers"),
    smaller: ("size", "is 24 x 16 and its mask p4.png 10 x 8: expected a class for each pixel"),
    out_of_range: ("value", "p5.png has the values 128: classes.txt names 0..2, and 255 is igno"),
    sixteen_bits: ("value", "p5.png has the values 700: classes.txt names 0..2"),
}


@pytest.mark.parametrize("spoil", WRONG, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_file_is_found_and_named(tmp_path, spoil):
    spoil(make(tmp_path))
    found = check_folder(tmp_path)
    kind, told = WRONG[spoil]
    assert [p.kind for p in found.problems] == ([kind, kind] if spoil is alone else [kind])
    assert told in found.problems[0].text and told in str(found) and not found.ok
    assert found.problems[0].file in told.replace("images/", "") or spoil is smaller


def test_all_problems_are_told_at_once(tmp_path):
    make(tmp_path)
    for spoil in (alone, cut, no_image, coloured, smaller, out_of_range):
        spoil(tmp_path)
    found = check_folder(tmp_path)
    kinds = sorted(p.kind for p in found.problems)
    assert kinds == sorted(["partner"] * 2 + ["unreadable"] * 2 + ["colours", "size", "value"])
    assert "7 problems:" in str(found)


def test_a_table_stays_short(tmp_path):
    make(tmp_path, 60)
    for i in range(50):
        (tmp_path / "masks" / f"p{i}.png").unlink()
    text = str(check_folder(tmp_path))
    assert "50 problems:" in text and text.endswith("and 30 more")


def shades(root):
    for pair in files(root)[0]:
        save(pair.mask, np.array(Image.open(pair.mask)) // 2 * 2)


def binary(root):
    for pair in files(root)[0]:
        save(pair.mask, np.where(np.array(Image.open(pair.mask)) == 1, 255, 0).astype(np.uint8))


def from_1(root):
    for pair in files(root)[0]:
        label = np.array(Image.open(pair.mask))
        save(pair.mask, np.where(label == 255, 255, label + 1).astype(np.uint8))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "spoil, words",
    [
        (binary, "the masks have one class, 0: expected two or more. 255 is ignored: where it is"),
        (from_1, "the masks have the values 1..3, and classes are numbered 0..2: subtract 1"),
    ],
)
def test_masks_that_hold_no_class_numbers_are_a_problem(tmp_path, spoil, words, named):
    spoil(make(tmp_path, named=named))
    (problem,) = check_folder(tmp_path).problems
    assert problem.kind == "value" and words in problem.text and problem.file == ""


def test_shades_of_grey_are_a_problem(tmp_path):
    shades(make(tmp_path, named=False))
    (problem,) = check_folder(tmp_path).problems
    words = "the masks have the values 0, 2, 254, with gaps between: if these are classes"
    assert problem.kind == "value" and words in problem.text


def test_masks_with_palettes_of_their_own_are_a_problem(tmp_path):
    make(tmp_path)
    mask = tmp_path / "masks" / "p4.png"
    unused = [*COLOURS, *(256 - len(COLOURS)) * [(9, 9, 9)]]
    save(mask, np.array(Image.open(mask)), unused)  # 255 and what no pixel has may differ
    assert check_folder(tmp_path).ok
    save(mask, np.array(Image.open(mask)), [COLOURS[1], COLOURS[0], *unused[2:]])
    (problem,) = check_folder(tmp_path).problems
    words = "value 0 is the colour (0, 0, 0) in p0.png and (0, 158, 115) in p4.png"
    assert problem.kind == "colours" and words in problem.text


@pytest.mark.parametrize("suffix", ["tif", "bmp", "webp"])
def test_images_of_other_kinds_are_read(tmp_path, suffix):
    random = np.random.default_rng(0)
    for i in range(3):
        pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
        save(tmp_path / "images" / f"{i}.{suffix}", pixels)
        save(tmp_path / "masks" / f"{i}.png", random.integers(0, 2, (8, 8), np.uint8))
    assert check_folder(tmp_path).ok
    image, _ = Folder(tmp_path, "train")[0]
    assert image.shape == (3, 8, 8)


def test_what_is_absent_or_mostly_255_is_noted(tmp_path):
    make(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\nleaf\nstem\nflower\n")
    (tmp_path / "val.txt").write_text("p0\np1")
    for i in range(10):
        label = np.full((12 + i % 10, 20 + i % 10), 255, np.uint8)
        if i != 3:
            label[0] = i % 2
            label[1] = 2 if i > 1 else 0
        save(tmp_path / "masks" / f"p{i}.png", label)
    found = check_folder(tmp_path)
    assert found.ok and found.ignored > 0.8
    assert [note.split(":")[0] for note in found.notes] == [
        "no pixel is flower",
        "stem is in no image of val",
        f"{found.ignored:.0%} of the pixels are 255, and teach nothing",
        "1 masks are 255 everywhere, as p3.png",
    ]
    assert "note: stem is in no image of val" in str(found)


def test_a_folder_that_is_none_is_a_problem_and_no_error(tmp_path):
    (problem,) = check_folder(tmp_path / "nowhere").problems
    assert problem.kind == "layout" and "images/ and, as PNG files, masks/" in problem.text
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    kinds = [p.kind for p in check_folder(tmp_path).problems]
    assert kinds == ["layout"]


# ---- training ----


def test_a_run_on_a_folder_of_images_of_all_sizes(tmp_path, capsys):
    root = make(tmp_path / "my plants", palette=None)
    config = small(tmp_path / "run", model="v1-small", data=str(root), size=33, steps=2, batch=4)
    trained = train(config)
    assert "8 images to train on and 2 to validate on" in capsys.readouterr().out
    assert trained.weights.name == "v1-small-my-plants.safetensors"
    card = checkpoints.card(trained.weights)
    assert card["classes"] == list(NAMES) and card["model"]["options"]["num_classes"] == 3
    split = Folder(root, "val")
    assert len({label.shape for _, label in split}) == 2
    with torch.no_grad():
        matrices = [
            metrics.confusion_matrices(ask.logits(trained.model, image[None]), label[None], 3)
            for image, label in split
        ]
    assert trained.metrics == tables.report(torch.cat(matrices), NAMES)


def test_a_run_does_not_begin_on_a_spoiled_folder(tmp_path):
    root = make(tmp_path / "mine")
    for spoil in (coloured, smaller):
        spoil(root)
    words = ["train", "--data", str(root), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1 and not (tmp_path / "run").exists()
    assert "2 problems:" in result.output and "is RGB, colours" in result.output
