"""`check`: layouts, names, modes and orientations that people bring, and what is said of them."""

import unicodedata

import made_exports as made
import numpy as np
import pytest
from image_sets import save
from PIL import Image
from typer.testing import CliRunner

from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import Folder, check_folder
from deeplab_lite.workshop.datasets.importing import import_data
from deeplab_lite.workshop.datasets.pairs import orientation, read_mask

LABEL = made.truth()


def folder(root, mask=lambda path: save(path, LABEL), image="{}.jpg", label="{}.png", exif=None):
    """Four photos and their masks, under names by two patterns."""
    made.photos(root / "photos", "abcd", exif)
    for name in "abcd":
        photo = root / "images" / image.format(name)
        photo.parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / f"{name}.jpg").rename(photo)
        path = root / "masks" / label.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        mask(path)
    (root / "photos").rmdir()
    return root


def one_text(root):
    (problem,) = check_folder(root).problems
    return problem.text.replace(f"{root}", "ROOT")


IMPORT = "`python -m deeplab_lite import ROOT --out NEW`"
NFC, NFD = (unicodedata.normalize(form, "é{}") for form in ("NFC", "NFD"))


AFTER = "4 masks have their image's name and _mask after it, as a_mask.png: "
FORM = "4 images and masks have names that differ in the Unicode form of a letter alone, as "
CASE = "4 images and masks have names that differ in case alone, as Xa.jpg and xa.png: rename"
DEEP = "4 files lie in folders of ROOT/images, as in/a.jpg, and are not read: "
KIND = "4 files of ROOT/masks are not read, as a.tif: expected .png; "
NONE = "no mask has the name of an image, as a.jpg and ma.png: expected a.png in masks/"


@pytest.mark.parametrize(
    "names, words",
    [
        ({"label": "{}_mask.png"}, f"{AFTER}{IMPORT} takes this layout"),
        ({"image": f"{NFC}.jpg", "label": f"{NFD}.png"}, f"{FORM}{NFC}"),
        ({"image": "X{}.jpg", "label": "x{}.png"}, CASE),
        ({"image": "in/{}.jpg"}, f"{DEEP}{IMPORT} lays"),
        ({"label": "{}.tif"}, f"{KIND}{IMPORT} takes other masks"),
        ({"label": "m{}.png"}, NONE),
    ],
    ids=["suffix", "unicode", "case", "nested", "tif", "other"],
)
def test_a_layout_that_is_another_is_one_sentence(tmp_path, names, words):
    root = folder(tmp_path / "x", **names)
    texts = [problem.text.replace(str(root), "ROOT") for problem in check_folder(root).problems]
    assert any(text.format("a").startswith(words.format("a")) for text in texts)
    assert len(texts) == 1 or "in/" in str(names)
    if names != {"label": "m{}.png"}:
        import_data(root, tmp_path / "data")
        assert check_folder(tmp_path / "data").ok


def turned(how):
    exif = Image.Exif()
    exif[0x0112] = how
    return exif


def grey_alpha(path, alpha=255):
    Image.merge("LA", [Image.fromarray(LABEL), Image.new("L", (40, 30), alpha)]).save(path)


@pytest.mark.parametrize(
    "mask, kind",
    [
        (grey_alpha, "grey"),
        (lambda path: Image.fromarray(LABEL).convert("RGBA").save(path), "grey as RGB"),
        (lambda path: Image.fromarray(LABEL == 1).save(path), "of one bit"),
        (lambda path: save(path, LABEL.astype(np.uint16)), "16 bits"),
        (lambda path: Image.fromarray(LABEL).save(path, bits=2), "grey"),
        (lambda path: Image.fromarray(np.rot90(LABEL)).save(path, exif=turned(6)), "grey"),
    ],
    ids=["grey with alpha", "RGBA", "one bit", "16 bits", "2 bits", "turned"],
)
def test_masks_of_all_modes_that_hold_numbers_are_read(tmp_path, mask, kind):
    root = folder(tmp_path, mask)
    report = check_folder(root)
    assert report.ok and report.kinds == ((kind, 4),)
    expected = LABEL == 1 if kind == "of one bit" else LABEL
    assert np.array_equal(read_mask(root / "masks" / "a.png"), expected)


def test_whole_numbers_may_be_floats(tmp_path):
    Image.fromarray(LABEL.astype(np.float32)).save(tmp_path / "a.tif")
    assert np.array_equal(read_mask(tmp_path / "a.tif"), LABEL)
    Image.fromarray(LABEL + np.float32(0.5)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif is F, colours and no class numbers"):
        read_mask(tmp_path / "a.tif")


def test_a_tiff_s_size_is_told_as_it_is_stored(tmp_path):
    """Pillow itself turns a TIFF upright."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.tif", exif=turned(6))
    assert orientation(tmp_path / "a.tif") == ((40, 30), 6)


def test_255_may_be_meant_as_the_last_class(tmp_path):
    root = folder(tmp_path, lambda path: save(path, np.array([0, 1, 255], np.uint8)[LABEL]))
    (root / "classes.txt").write_text("ground\nleaf\nstem\n")
    note, _ = check_folder(root).notes  # and one on the class that is most of the pixels
    assert note.endswith("If 255 is meant as stem, save 2 in its place")


def test_what_windows_puts_into_folders_is_left_out(tmp_path):
    root = folder(tmp_path)
    for part, name in (("images", "Thumbs.db"), ("masks", "desktop.ini")):
        (root / part / name).write_bytes(b"")
    assert check_folder(root).ok


def test_a_folder_refuses_a_mask_whose_palette_has_the_classes_in_another_order(tmp_path):
    def own(path):
        palette = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
        save(path, LABEL, palette[:: -1 if path.stem == "c" else 1])

    pairs = Folder(folder(tmp_path, own), "train"), Folder(tmp_path, "val")
    with pytest.raises(
        ValueError, match=r"c\.png has the colour \(0, 0, 255\) as value 0, and it is"
    ):
        [*pairs[0], *pairs[1]]


def test_grey_that_alpha_hides_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="is grey with transparent pixels: expected a grey PNG"):
        grey_alpha(tmp_path / "a.png", alpha=0)
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "label, names, words",
    [
        (np.array([1, 2, 4], np.uint8)[LABEL], "abcd", "1..2, 4, and classes are numbered 0..3: s"),
        (LABEL + np.uint8(1), "", "1..3, and classes are numbered 0..2: subtract 1"),
        (LABEL, "ab", "0..2, and classes are numbered 0..1: if 0 is background, add its name"),
    ],
)
def test_numbers_that_begin_elsewhere_are_one_sentence(tmp_path, label, names, words):
    root = folder(tmp_path, lambda path: save(path, label))
    if names:
        (root / "classes.txt").write_text("\n".join(names))
    assert words in one_text(root)


@pytest.mark.parametrize("turn, fits", [(3, True), (6, False), (8, False)])
def test_masks_of_stored_pixels_are_told_by_the_orientation_tag(tmp_path, turn, fits):
    root = folder(tmp_path / "x", exif=turned(turn))
    report = check_folder(root)
    assert report.ok == fits
    said = report.notes if fits else [problem.text for problem in report.problems]
    assert ("orientation tag" in said[0]) and len(said) == (1 if fits else 4)
    import_data(root, tmp_path / "data")
    assert check_folder(tmp_path / "data").ok


def test_one_colour_under_two_values_is_noted(tmp_path):
    def own(path):
        value = 1 + ord(path.stem) % 2
        palette = [(0, 0, 0), (9, 9, 9), (9, 9, 9)]
        palette[value] = (255, 0, 0)
        save(path, np.where(LABEL == 1, value, 0).astype(np.uint8), palette)

    notes = check_folder(folder(tmp_path, own)).notes
    words = "the colour (255, 0, 0) is value 2 in a.png and 1 in b.png"
    assert any(note.startswith(words) for note in notes)


def test_classes_that_differ_in_case_alone_are_noted(tmp_path):
    root = folder(tmp_path)
    (root / "classes.txt").write_text("Cat\ndog\ncat")
    words = "the classes Cat and cat differ in case alone: if they are one, give them one name"
    assert any(note.startswith(words) for note in check_folder(root).notes)


def test_255_for_1_in_some_masks_is_noted(tmp_path):
    def mask(path):
        save(path, np.where(LABEL == 1, 255 if path.stem == "c" else 1, 0).astype(np.uint8))

    notes = check_folder(folder(tmp_path, mask)).notes
    words = "1 masks have 255 and no 1, and 3 have 1 and no 255: if both mean the same, save 1"
    assert any(note.startswith(words) for note in notes)


@pytest.mark.parametrize(
    "same, words",
    [(True, "1 images are there under two names and in two splits, as a.jpg and d.jpg, one in "),
     (False, "1 images have two masks that differ, as a.jpg and d.jpg")],
)  # fmt: skip
def test_one_picture_under_two_names_is_told(tmp_path, same, words):
    root = folder(tmp_path)
    (root / "images" / "d.jpg").write_bytes((root / "images" / "a.jpg").read_bytes())
    (root / "val.txt").write_text("c\nd" if same else "b\nc")
    if not same:
        save(root / "masks" / "d.png", LABEL[::-1])
    assert words in one_text(root)


def test_a_mask_that_is_a_jpeg_under_another_name_is_refused(tmp_path):
    def mask(path):
        Image.fromarray(LABEL).save(path, "JPEG")

    problems = check_folder(folder(tmp_path, mask)).problems
    assert len(problems) == 4 and "is a JPEG inside, which blurs class" in problems[0].text


def test_a_tag_in_the_mask_alone_is_not_laid_to_the_photo(tmp_path):
    root = folder(tmp_path, lambda path: Image.fromarray(LABEL).save(path, exif=turned(6)))
    assert "30 x 40: expected a class for each pixel" in check_folder(root).problems[0].text


@pytest.mark.parametrize(
    "lines, names",
    [
        ("0 sky\n1 road\n2 car", ("sky", "road", "car")),
        ("0 sky\nroad\ncar", ("0 sky", "road", "car")),
    ],
)
def test_numbers_before_all_names_are_no_part_of_them(tmp_path, lines, names):
    root = folder(tmp_path)
    (root / "classes.txt").write_text(lines)
    assert Folder(root).classes == names


def test_255_is_no_class(tmp_path):
    root = folder(tmp_path)
    (root / "classes.txt").write_text("\n".join(f"c{i}" for i in range(256)))
    assert any("256 classes: expected 255 at most" in p.text for p in check_folder(root).problems)


def test_a_class_that_is_most_of_the_pixels_is_noted(tmp_path):
    label = (LABEL == 1).astype(np.uint8)
    (note,) = check_folder(folder(tmp_path, lambda path: save(path, label))).notes
    assert note.startswith("91.7% of the pixels that count are 0: accuracy will say little")


def test_a_list_for_testing_is_apart(tmp_path):
    root = folder(tmp_path)
    with pytest.raises(ValueError, match=r"has no test.txt: expected names to test on"):
        Folder(root, "test")
    (root / "test.txt").write_text("\ufeffA.jpg\r\n\r\n")
    assert [pair.image.stem for pair in Folder(root, "test").pairs] == ["a"]
    assert "1 images to train on and 2 to validate on, 1 to test on" in str(check_folder(root))
    (root / "val.txt").write_text("a\nb")
    assert "1 names are in val and in test, as a" in one_text(root)


# ---- the command ----


def test_the_command_writes_a_sheet_and_says_what_is_wrong(tmp_path):
    root = folder(tmp_path / "x")
    sheet = tmp_path / "new" / "sheet.png"
    result = CliRunner().invoke(app, ["check", str(root), "--sheet", str(sheet)])
    assert result.exit_code == 0 and f"{sheet}: 4 of 4 images with their classes" in result.output
    assert "masks: 4 grey; values 0..2" in result.output
    pixels = np.array(Image.open(sheet))
    assert pixels.shape[1] == 960 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500
    save(root / "masks" / "b.png", np.full((30, 40, 3), (1, 2, 3), np.uint8))
    result = CliRunner().invoke(app, ["check", str(root), "--sheet", str(sheet)])
    assert result.exit_code == 1 and "b.png is RGB, colours and no class numbers" in result.output
    red = (np.array(Image.open(sheet)) @ (1, -1, -1))[40:] > 100
    assert red[:, 240:480].sum() > 100 > red[:, :240].sum()  # the sentence in place of b


def test_a_folder_that_is_none_ends_with_a_sentence(tmp_path):
    result = CliRunner().invoke(
        app, ["check", str(tmp_path / "no"), "--sheet", str(tmp_path / "s.png")]
    )
    assert result.exit_code == 1 and "is no folder: expected one with images/" in result.output
