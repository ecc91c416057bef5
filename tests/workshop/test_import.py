"""Exports of label tools become folders that train: labels, lists, orientation, sentences."""

import json
import zipfile

import made_exports as made
import numpy as np
import pytest
import torch
from image_sets import save, voc
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize
from typer.testing import CliRunner

from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import CamVid, Folder, check_folder
from deeplab_lite.workshop.datasets.importing import Options, color_tables, import_data, shapes
from deeplab_lite.workshop.datasets.importing.splits import divided, groups_of
from deeplab_lite.workshop.datasets.pairs import read_mask


def command(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output.strip()


def label(folder, name=made.NAMES[0]):
    return read_mask(folder / "masks" / f"{name}.png")


def changed(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


# ---- formats ----


@pytest.mark.parametrize("tool", made.TOOLS, ids=lambda tool: tool.__name__)
def test_every_tool_gives_the_same_folder(tmp_path, tool):
    source = tool(tmp_path / "export")
    status, said = command("import", source, "--out", tmp_path / "data")
    assert status == 0 and "10 pictures, 3 classes (background, car, tree)" in said
    report = check_folder(tmp_path / "data")
    assert report.ok and report.classes == ("background", "car", "tree")
    assert (report.train, report.val, report.test) == (6, 2, 2)
    for name in made.NAMES:
        assert np.array_equal(label(tmp_path / "data", name), made.truth())
    image, truth = Folder(tmp_path / "data", "test")[0]
    assert image.shape == (3, made.HEIGHT, made.WIDTH) and truth.unique().tolist() == [0, 1, 2]


def test_a_zip_is_read_as_the_folder_in_it(tmp_path):
    made.cvat(tmp_path / "task")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        for path in (tmp_path / "task").rglob("*.*"):
            archive.write(path, path.relative_to(tmp_path))
    import_data(tmp_path / "task.zip", tmp_path / "data")
    assert np.array_equal(label(tmp_path / "data"), made.truth())
    (tmp_path / "names.txt").write_text("car")
    words = ["--out", tmp_path / "other", "--classes", tmp_path / "names.txt"]
    status, said = command("import", tmp_path / "task.zip", *words)
    assert status == 1 and said.startswith("task.zip/task/annotations.xml has the class 'tree'")


def test_coco_s_compressed_runs_are_unpacked_as_pycocotools_packs_them():
    mask = np.random.default_rng(0).random((7, 11)) > 0.6
    counts = "011130MO001000000000O114OL0O0010O020O0O01040N1"
    assert np.array_equal(shapes.from_runs(shapes.unpacked(counts), 7, 11, by_column=True), mask)


def test_a_crowd_is_255_and_small_objects_lie_on_large_ones(tmp_path):
    source = made.coco(tmp_path / "export")

    def change(content):
        crowd, car, part = content["annotations"][0], *content["annotations"][2:4]
        crowd |= {"iscrowd": 1, "segmentation": [[0, 0, 40, 0, 40, 30, 0, 30]], "area": 1}
        part |= {"segmentation": [[6, 5, 9, 5, 9, 8, 6, 8]], "area": 9}
        content["annotations"][2:4] = [part, car]  # the small one first in the file

    changed(source, change)
    import_data(source, tmp_path / "data")
    crowd = label(tmp_path / "data", made.NAMES[0])
    assert np.array_equal(crowd == 255, made.truth() != 2) and (crowd == 2).sum() == 65
    both = label(tmp_path / "data", made.NAMES[1])
    assert (both == 2).sum() == 9 and (both == 1).sum() == 91


def test_the_other_shapes_of_the_tools(tmp_path):
    """Circles, turned boxes, ellipses; lines and points have no area, and are named."""
    round_ones = [
        {"label": "a", "shape_type": "circle", "points": [[20, 15], [26, 15]]},
        {"label": "b", "shape_type": "line", "points": [[0, 0], [5, 5]]},
        {"label": "__ignore__", "shape_type": "rectangle", "points": [[9, 9], [0, 0]]},
    ]
    made.photos(tmp_path / "one", ["x"])
    content = {"imagePath": "x.jpg", "shapes": round_ones}
    made.written(tmp_path / "one" / "x.json", content)
    imported = import_data(tmp_path / "one", tmp_path / "data")
    circle = label(tmp_path / "data", "x")
    assert abs((circle == 1).sum() - np.pi * 36) < 4 and (circle == 255).sum() == 81
    assert "left out: 1 lines" in imported.export.notes
    turned = np.zeros((30, 40), np.uint8)
    shapes.rectangle(10, 10, 20, 14, turn=90)(turned, 1)
    assert np.argwhere(turned).min(0).tolist() == [7, 13] and turned.sum() == 40
    shapes.ellipse(20, 15, 10, 3, turn=90)(turned, 2)
    rows, columns = np.ptp(np.argwhere(turned == 2), axis=0)
    assert rows > 17 and columns < 7


def test_labelme_s_file_may_hold_the_picture(tmp_path):
    import base64

    root = made.labelme(tmp_path / "export", ["a", "b", "c"])
    for name in "abc":
        photo = root / f"{name}.jpg"
        data = base64.b64encode(photo.read_bytes()).decode()
        photo.unlink()
        changed(root / f"{name}.json", lambda content, data=data: content.update(imageData=data))
    import_data(root, tmp_path / "data")
    assert check_folder(tmp_path / "data").ok and not (tmp_path / "data" / "scratch").exists()


def test_class_numbers_are_those_of_a_list(tmp_path):
    (tmp_path / "names.txt").write_text("tree\nrock\ncar\n")
    options = Options(classes=tmp_path / "names.txt")
    import_data(made.labelme(tmp_path / "export"), tmp_path / "data", options=options)
    assert (tmp_path / "data" / "classes.txt").read_text().split() == [
        "background",
        "tree",
        "rock",
        "car",
    ]
    assert np.array_equal(label(tmp_path / "data"), np.array([0, 3, 1])[made.truth()])


# ---- masks ----


def test_camvid_s_32_colours_become_eleven_classes(tmp_path):
    table = color_tables.named("camvid")
    classes, _ = color_tables.classes_of(table)
    assert tuple(classes) == CamVid("val", made_camvid(tmp_path / "c")).classes
    assert len(table) == 34  # and SegNet's own for pavement and road markings
    colors = {(64, 0, 192): "Pedestrian", (192, 128, 192): "Car", (192, 192, 0): "Tree"}
    pixels = np.array([[*colors, (0, 0, 0)]], np.uint8)
    numbers = color_tables.numbered(pixels, table, classes)[0].tolist()
    assert [classes[number] for number in numbers[:3]] == [*colors.values()] and numbers[3] == 255


def made_camvid(root):
    for part in ("val", "valannot"):
        save(root / part / "a.png", np.zeros((20, 30), np.uint8))
    return root


def test_kaggle_s_camvid_is_read_with_its_splits(tmp_path):
    random = np.random.default_rng(0)
    colors = np.array([color for _, color in color_tables.named("camvid")], np.uint8)
    for part, names in {"train": "abc", "val": "de", "test": "fg"}.items():
        made.photos(tmp_path / "x" / part, names)
        for name in names:
            mask = colors[random.integers(0, len(colors), (made.HEIGHT, made.WIDTH))]
            save(tmp_path / "x" / f"{part}_labels" / f"{name}_L.png", mask)
    imported = import_data(tmp_path / "x", tmp_path / "data")
    assert "the colours are those of camvid" in imported.export.notes
    assert imported.lists == {"train": [*"abc"], "val": [*"de"], "test": [*"fg"]}
    assert (tmp_path / "data" / "classes.txt").read_text().split() == [
        *color_tables.classes_of(color_tables.named("camvid"))[0]
    ]


@pytest.mark.parametrize("options", [{"colours": "voc"}, {"colours": "voc", "masks": "Aug"}])
def test_voc_s_layout_is_read_with_its_lists(tmp_path, options):
    root = voc(tmp_path) / "VOCdevkit" / "VOC2012"
    if "masks" in options:  # grey, under the same names: numbers of the table's classes
        for mask in (root / "SegmentationClass").iterdir():
            save(root / "Aug" / mask.name, np.array(Image.open(mask)))
    imported = import_data(root, tmp_path / "data", options=Options(**options))
    assert imported.lists["val"] == ["2007_03", "2007_04"] and len(imported.export.classes) == 21
    stored = np.array(Image.open(root / "SegmentationClass" / "2007_01.png"))
    assert np.array_equal(label(tmp_path / "data", "2007_01"), stored)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"valid.txt": "d.jpg\ne.jpg\n"}, {"train": "abcf", "val": "de", "test": ""}),
        (
            {
                "train.txt": "/data/photos/a.jpg /data/masks/a.png\n/data/photos/b.jpg x\n",
                "val.txt": "\ufeffD\r\n\r\ne \r\n",
            },
            {"train": "ab", "val": "de", "test": ""},
        ),
        ({"trainval.txt": "a", "train.txt": "a\nb", "test.txt": "e\nf"}, {"test": "ef"}),
    ],
    ids=["fastai", "paths", "no val"],
)
def test_lists_of_an_export_are_followed_in_all_their_forms(tmp_path, lists, expected):
    made.photos(tmp_path / "x/photos", "abcdef")
    for name in "abcdef":
        save(tmp_path / f"x/masks/{name}.png", made.truth())
    for name, text in lists.items():
        (tmp_path / "x" / name).write_bytes(text.encode())
    imported = import_data(tmp_path / "x", tmp_path / "data", group="none")
    for part, names in expected.items():
        assert imported.lists[part] == [*names]
    if set(expected) == {"test"}:  # val is drawn from what is listed to train on
        assert sorted(imported.lists["train"] + imported.lists["val"]) == ["a", "b"]
    unlisted = "2 pictures are in no list of the export, and in none here"
    assert (unlisted in imported.export.notes) == ("train.txt" in lists)


@pytest.mark.parametrize("file", ["codes.txt", "_classes.csv"])
def test_numbers_get_the_names_of_the_export_and_void_is_255(tmp_path, file):
    rows = ["Void", "leaf", "stem"]
    if file.endswith("csv"):
        rows = ["Pixel Value, Class", *(f"{number}, {name}" for number, name in enumerate(rows))]
    made.photos(tmp_path / "x/img_dir/train", "abcd")
    for name in "abcd":
        save(tmp_path / f"x/ann_dir/train/{name}.png", made.truth())
    (tmp_path / "x" / file).write_text("\n".join(rows))
    imported = import_data(tmp_path / "x", tmp_path / "data")
    assert imported.export.classes == ("leaf", "stem")
    expected = np.array([255, 0, 1])[made.truth()]
    assert np.array_equal(label(tmp_path / "data", "a"), expected)


def test_cityscapes_colours_are_told_from_its_other_files(tmp_path):
    road, void = (128, 64, 128), (0, 0, 0)
    for i in range(3):
        name = f"bonn_{i}"
        made.photos(tmp_path / "c/leftImg8bit/val/bonn", [f"{name}_leftImg8bit"])
        colors = np.full((made.HEIGHT, made.WIDTH, 3), road, np.uint8)
        colors[0] = void
        folder = tmp_path / "c/gtFine/val/bonn"
        save(folder / f"{name}_gtFine_color.png", colors)
        save(
            folder / f"{name}_gtFine_labelIds.png", np.full((made.HEIGHT, made.WIDTH), 7, np.uint8)
        )
    options = Options(colours="cityscapes")
    imported = import_data(tmp_path / "c", tmp_path / "data", options=options)
    assert len(imported.export.classes) == 19 and len(imported.export.items) == 3
    assert np.unique(label(tmp_path / "data", "bonn_0_leftImg8bit")).tolist() == [0, 255]


@pytest.mark.parametrize(
    "rows, table",
    [
        (["a b 1 2 3", "void 4 5 6"], [("a b", (1, 2, 3)), ("void", (4, 5, 6))]),
        (["name,r,g,b", "a,1,2,3"], [("a", (1, 2, 3))]),
        (["64 128 64\tAnimal"], [("Animal", (64, 128, 64))]),
        (["# label:color_rgb:parts:actions", "lane2:1,2,3::"], [("lane2", (1, 2, 3))]),
    ],
)
def test_tables_of_colours_are_read_in_each_tool_s_form(rows, table):
    assert color_tables.parsed(rows, "t.txt") == table


@pytest.mark.parametrize(
    "rows, words",
    [
        (["a 1 2 3", "b 1 2 3"], r"t.txt gives a and b the colour \(1, 2, 3\)"),
        (["a 1 2 3", "b 1 2"], "t.txt has the line 'b 1 2': expected a name and r g b in 0..255"),
        (["a 1 2 300"], "t.txt has the line 'a 1 2 300'"),
    ],
)
def test_a_table_that_is_none_is_told(rows, words):
    with pytest.raises(ValueError, match=words):
        color_tables.parsed(rows, "t.txt")


def test_masks_of_0_and_255_alone_become_two_classes(tmp_path):
    for i in range(4):
        made.photos(tmp_path / "x", [f"image_{i}"])
        mask = np.where(made.truth() == 1, 255, 0).astype(np.uint8)
        save(tmp_path / "x" / f"mask_{i}.png", np.dstack([mask] * 3))
    made.photos(tmp_path / "x" / "more", ["image_3"])
    (tmp_path / "x" / "more" / "image_3.jpg").rename(tmp_path / "x" / "image_3.jpeg")
    (tmp_path / "x" / "classes.txt").write_text("object")
    imported = import_data(tmp_path / "x", tmp_path / "data")
    assert np.array_equal(label(tmp_path / "data", "image_2"), made.truth() == 1)
    assert imported.export.classes == ("background", "object")
    assert any("1 pictures or masks have no partner" in note for note in imported.export.notes)
    assert imported.export.notes[0] == (
        "the masks have 0 and 255 alone: 255 has become class 1, object"
    )


# ---- orientation ----


@pytest.mark.parametrize("drawn, word", [("upright", ""), ("stored", "the labels were turned")])
def test_labels_follow_the_orientation_of_the_photo(tmp_path, drawn, word):
    """A camera held upright: 40 x 30 stored, 30 x 40 seen; a box in the photo's first corner."""
    exif = Image.Exif()
    exif[0x0112] = 6
    made.photos(tmp_path / "x", "abc", exif)
    size = (30, 40) if drawn == "upright" else (40, 30)
    box = [[20, 0], [30, 12]] if drawn == "upright" else [[0, 0], [12, 10]]
    for name in "abc":
        shape = {"label": "a", "shape_type": "rectangle", "points": box}
        content = {"imageWidth": size[0], "imageHeight": size[1], "shapes": [shape]}
        made.written(tmp_path / "x" / f"{name}.json", content | {"imagePath": f"{name}.jpg"})
    imported = import_data(tmp_path / "x", tmp_path / "data")
    mask = label(tmp_path / "data", "a")
    assert mask.shape == (40, 30) and mask[:12, 20:].all() and mask.sum() == 120
    assert check_folder(tmp_path / "data").ok
    assert word in imported.export.notes[-2 if word else -1] or not word


def test_an_orientation_that_leaves_the_size_is_noted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    made.photos(tmp_path / "x", "abc", exif)
    for name in "abc":
        save(tmp_path / "x" / f"{name}_mask.png", made.truth())
    imported = import_data(tmp_path / "x", tmp_path / "data")
    assert any("look at the sheet" in note for note in imported.export.notes)
    (note,) = check_folder(tmp_path / "data").notes
    assert note.startswith("3 images have an orientation tag that leaves their size, as a.jpg")


# ---- lists ----


def test_groups_stay_together(tmp_path):
    names = {f"film{i // 10}_{i:04}": tmp_path / f"film{i // 10}_{i:04}.jpg" for i in range(200)}
    groups, how = groups_of(names, tmp_path, "auto")
    assert how == "20 groups, by name"
    lists = divided(groups, seed=3)
    assert [len(lists[part]) for part in ("train", "val", "test")] == [140, 40, 20]
    assert sum(len({name[:6] for name in part}) for part in lists.values()) == 20
    alone, how = groups_of({n: names[n] for n in list(names)[:10]}, tmp_path, "auto")
    assert set(alone.values()) == {""} and "neighbours are in train and in val" in how
    with pytest.raises(ValueError, match=r"all pictures have one folder, .* say --group none"):
        groups_of(names, tmp_path, "folder")


@pytest.mark.parametrize("count, sizes", [(3, (1, 2, 0)), (9, (7, 2, 0)), (10, (6, 2, 2))])
def test_few_pictures_are_divided_too(count, sizes):
    lists = divided({str(i): "" for i in range(count)})
    assert tuple(len(lists[part]) for part in ("train", "val", "test")) == sizes


def test_pictures_of_one_name_in_two_folders_are_kept_apart(tmp_path):
    for part, count in {"train": 3, "valid": 2}.items():
        made.coco(tmp_path / "x" / part, [f"{i}" for i in range(count)])
    imported = import_data(tmp_path / "x", tmp_path / "data")
    assert imported.lists["val"] == ["valid-images-0", "valid-images-1"]
    assert len(list((tmp_path / "data" / "images").iterdir())) == 5


# ---- sentences, and nothing half-written ----


def wrong_class(root):
    source = made.coco(root)
    changed(source, lambda content: content["annotations"][3].update(category_id=4))
    return source, {}


def wrong_runs(root):
    source = made.coco(root)
    runs = {"size": [30, 40], "counts": [5, 6]}
    changed(source, lambda content: content["annotations"][3].update(segmentation=runs))
    return source, {}


def unlisted(root):
    (root.parent / "names.txt").write_text("car")
    return made.cvat(root), {"--classes": root.parent / "names.txt"}


def strange_colour(root):
    made.cvat_masks(root)
    file = root / "SegmentationClass" / f"{made.NAMES[4]}.png"
    pixels = np.array(Image.open(file))
    pixels[3, 7] = (9, 9, 9)
    save(file, pixels)
    return root, {}


def no_photos(root):
    made.cvat(root)
    for photo in (root / "images").iterdir():
        photo.unlink()
    return root, {}


def other_size(root):
    made.labelme(root)
    Image.new("RGB", (20, 15)).save(root / f"{made.NAMES[7]}.jpg")
    return root, {}


def cut(root):
    source = made.coco(root)
    source.write_text(source.read_text()[:-9])
    return source, {}


def unknown(root):
    return made.written(root / "package.json", {"name": "x"}), {}


def small_form(root):
    tasks = [{"image": "a.jpg", "id": 1, "annotation_id": 3, "label": []}]
    return made.written(root / "min.json", tasks), {}


def film(root):
    made.cvat(root)
    file = root / "annotations.xml"
    file.write_text(file.read_text().replace("</annotations>", "<track/></annotations>"))
    return root, {}


def no_table(root):
    made.own_palettes(root)
    (root / "class_dict.csv").unlink()
    return root, {}


def two_masks(root):
    made.named_masks(root)
    save(root / f"{made.NAMES[0]}_gt.png", made.truth())
    return root, {}


SENTENCES = {
    wrong_class: "instances.json: annotation 3 has the category 4, and the categories are [7, 9]",
    wrong_runs: "instances.json, daya_1.jpg: runs of 11 pixels for a mask of 40 x 30",
    unlisted: "annotations.xml has the class 'tree', and the classes are background, car: add it",
    strange_colour: "dayc_0.png: the colour (9, 9, 9) at (3, 7), of 0.1% of the pixels, is in no",
    no_photos: "has none of the 10 pictures of the export, as daya_0.jpg: give their folder with",
    other_size: "dayd_1.json labels dayd_1.jpg on 40 x 30 pixels, and the picture has 20 x 15",
    cut: "instances.json cannot be read (Unterminated string starting at",
    unknown: "package.json is no export that is known here: the formats are coco, labelme",
    small_form: "min.json: this is Label Studio's JSON-MIN: export the project as JSON",
    film: 'annotations.xml: these are tracks of a film: export the task as "CVAT for images 1.1"',
    no_table: "has colours of no table built in: name the table, or give a file of lines",
    two_masks: "daya_0_mask.png: say which are meant, as --masks",
}


@pytest.mark.parametrize("spoil", SENTENCES, ids=lambda spoil: spoil.__name__)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(tmp_path, spoil):
    source, flags = spoil(tmp_path / "export")
    words = [word for pair in flags.items() for word in pair]
    before = sorted(tmp_path.iterdir())
    status, said = command("import", source, "--out", tmp_path / "data", *words)
    assert status == 1 and SENTENCES[spoil] in said and "\n" not in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_content_is_left_alone(tmp_path):
    source = made.coco(tmp_path / "export")
    (tmp_path / "data").mkdir()
    import_data(source, tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text("mine")
    status, said = command("import", source, "--out", tmp_path / "data")
    assert status == 1 and said.endswith("data has content: name a folder that is new or empty")
    assert (tmp_path / "data" / "classes.txt").read_text() == "mine"


def test_pictures_without_labels_are_named(tmp_path):
    root = made.labelme(tmp_path / "export")
    made.photos(root, ["later"])
    changed(root / "daya_0.json", lambda content: content.update(shapes=[]))
    (root / "daye_1.jpg").unlink()
    notes = import_data(root, tmp_path / "data").export.notes
    assert notes[:3] == [
        "1 pictures have no shape and are left out (--empty: they are background), as daya_0.jpg",
        "1 pictures have no annotation and are left out, as later.jpg",
        "1 pictures of the export are not there and are left out, as daye_1.jpg",
    ]
    import_data(root, tmp_path / "with", options=Options(empty=True))
    assert not label(tmp_path / "with").any()


# ---- photographs that are larger than need be ----


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp"])
def test_longest_shrinks_a_picture_and_its_mask_alike(tmp_path, suffix):
    """The mask by the rule that augmentation has for labels."""
    stripes = np.zeros((90, 121, 3), np.uint8)
    stripes[:, ::2] = 200
    classes = np.random.default_rng(0).choice([0, 1, 2, 255], (90, 121)).astype(np.uint8)
    for row, name in enumerate("abc"):
        stripes[row] = 255  # no picture twice
        save(tmp_path / "x" / "images" / f"{name}.{suffix}", stripes)
        save(tmp_path / "x" / "masks" / f"{name}.png", classes)
    save(tmp_path / "x" / "images" / f"d.{suffix}", stripes[:30, :40])
    save(tmp_path / "x" / "masks" / "d.png", classes[:30, :40])
    status, said = command("import", tmp_path / "x", "--out", tmp_path / "data", "--longest", 40)
    note = "note: 3 pictures and their masks were shrunk to a longer side of 40 pixels, as a."
    assert status == 0 and note in said
    assert check_folder(tmp_path / "data").ok
    with Image.open(tmp_path / "data" / "images" / f"a.{suffix}") as small:
        assert small.size == (40, 30)
        assert np.ptp(np.array(small)[2:, 2:-2].astype(int)) < 60  # of 200: grey, not stripes
    exact = InterpolationMode.NEAREST_EXACT
    expected = resize(torch.from_numpy(classes)[None], [30, 40], interpolation=exact)[0]
    assert np.array_equal(label(tmp_path / "data", "a"), expected)
    kept = tmp_path / "data" / "images" / f"d.{suffix}"
    assert kept.read_bytes() == (tmp_path / "x" / "images" / kept.name).read_bytes()
    assert np.array_equal(label(tmp_path / "data", "d"), classes[:30, :40])


def test_a_photo_that_is_shrunk_lies_as_it_is_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    made.photos(tmp_path / "x", "abc", exif)  # 40 x 30 stored, 30 x 40 seen
    for name in "abc":
        save(tmp_path / "x" / f"{name}_mask.png", made.truth())  # of the stored pixels
    import_data(tmp_path / "x", tmp_path / "data", options=Options(longest=20))
    pixels, mask = Folder(tmp_path / "data", "val", ["0", "car", "tree"]).read(0)
    assert pixels.shape[:2] == mask.shape == (20, 15)
    assert mask[4, 11] == 1 and mask[13, 3] == 2  # the car stood on the left
