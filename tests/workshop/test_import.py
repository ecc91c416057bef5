"""Exports of label tools become folders that train: labels, lists, orientation, sentences."""

import base64
import io
import json
import re
import zipfile
from itertools import chain
from xml.sax.saxutils import escape

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
    assert "left out: lines (1)" in imported.export.notes
    turned = np.zeros((30, 40), np.uint8)
    shapes.rectangle(10, 10, 20, 14, turn=90)(turned, 1)
    assert np.argwhere(turned).min(0).tolist() == [7, 13] and turned.sum() == 40
    shapes.ellipse(20, 15, 10, 3, turn=90)(turned, 2)
    rows, columns = np.ptp(np.argwhere(turned == 2), axis=0)
    assert rows > 17 and columns < 7


def test_labelme_s_file_may_hold_the_picture(tmp_path):
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


def masks_of(root, *kinds):
    """Photos with masks that have these values, four of each kind."""
    names = [f"{kind}_{i}" for kind in range(len(kinds)) for i in range(4)]
    made.photos(root / "images", names)
    for name in names:
        values = np.array(kinds[int(name[0])])
        save(root / "masks" / f"{name}.png", values[np.arange(1200) % len(values)].reshape(30, 40))
    return root


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([[0, 1], [0, 255]], "4 masks have 255 where the others have 1, as .*1_0.png: 255 is ig"),
        ([[0, 128, 255]], "the values 0, 128, 255, .* name all of 0..128, .* --colours FILE"),
        ([[1, 2, 3]], "the masks have the values 1, 2, 3, and classes without a name are 0, 1, 2"),
    ],
    ids=["two ways to save an object", "shades", "from 1 on"],
)
def test_values_that_are_no_class_numbers_are_refused(tmp_path, kinds, words):
    root = masks_of(tmp_path / "x", *[np.array(kind, np.uint8) for kind in kinds])
    with pytest.raises(ValueError, match=words):
        import_data(root, tmp_path / "data")


def test_names_say_that_a_class_is_only_absent(tmp_path):
    root = masks_of(tmp_path / "x", np.array([1, 3], np.uint8))
    (root / "classes.txt").write_text("a\nb\nc\nd")
    assert import_data(root, tmp_path / "data").export.classes == ("a", "b", "c", "d")


def test_white_of_16_bits_is_white(tmp_path):
    root = masks_of(tmp_path / "x", np.array([0, 65535], np.uint16))
    assert import_data(root, tmp_path / "data").export.classes == ("background", "object")
    assert np.unique(label(tmp_path / "data", "0_0")).tolist() == [0, 1]


def test_a_mask_in_the_transparency_is_told(tmp_path):
    made.photos(tmp_path / "x" / "images", "ab")
    for name in "ab":
        alpha = (made.truth() * 100).astype(np.uint8)
        pixels = np.dstack([np.full((made.HEIGHT, made.WIDTH, 3), 250, np.uint8), alpha])
        save(tmp_path / "x" / "masks" / f"{name}.png", pixels)
    with pytest.raises(ValueError, match=r'if alpha is the mask, save mask.getchannel\("A"\)'):
        import_data(tmp_path / "x", tmp_path / "data")


def test_a_list_that_names_a_class_twice_is_refused(tmp_path):
    root = made.named_masks(tmp_path / "x")
    (root / "classes.txt").write_text("car\ntree\ncar ")
    with pytest.raises(ValueError, match=r"classes\.txt names car twice"):
        import_data(root, tmp_path / "data")


# ---- one picture, one mask ----


def parted(tmp_path, tool):
    """Each region in a document of its own, over the same pictures."""
    root = tmp_path / "export"
    if tool is made.labelme:
        made.labelme(root)
        for file in sorted(root.glob("*.json")):
            content = json.loads(file.read_text())
            one, other = content["shapes"]
            made.written(file, content | {"shapes": [one]})
            made.written(root / f"{file.stem}_more.json", content | {"shapes": [other]})
        return root
    if tool is made.cvat:
        text = (made.cvat(root) / "annotations.xml").read_text()
        for tag in ("box", "mask"):
            (root / f"{tag}.xml").write_text(re.sub(f"<{tag} [^>]*/>", "", text))
        (root / "annotations.xml").unlink()
        return root
    file = tool(root)
    content = json.loads(file.read_text())
    if tool is made.label_studio:
        result = content[0]["annotations"][0]["result"]
        parts = [[{"result": [mark]}] for mark in result]
        tasks = [task | {"annotations": part} for part in parts for task in content]
        made.written(file, tasks)
        return root
    file.unlink()
    for i, name in enumerate(("cars", "trees")):
        few = {"annotations": content["annotations"][i::2], "categories": content["categories"]}
        few["categories"] = [few["categories"][1 - i]]
        made.written(file.with_stem(name), content | few)
    return root


@pytest.mark.parametrize(
    "tool", [made.coco, made.labelme, made.cvat, made.label_studio], ids=lambda tool: tool.__name__
)
def test_a_picture_that_is_labelled_twice_is_one_with_all_shapes(tmp_path, tool):
    imported = import_data(parted(tmp_path, tool), tmp_path / "data")
    assert sorted(chain(*imported.lists.values())) == sorted(made.NAMES)
    assert np.array_equal(label(tmp_path / "data"), made.truth())
    assert any(note.startswith("10 pictures are labelled more") for note in imported.export.notes)


def test_of_shapes_in_two_documents_the_later_lies_on_top(tmp_path):
    root = made.labelme(tmp_path / "x")
    over = {"label": "rock", "shape_type": "polygon", "points": made.CAR}
    made.written(root / "more" / "a.json", {"imagePath": "../daya_0.jpg", "shapes": [over]})
    imported = import_data(root, tmp_path / "data")
    values, counts = np.unique(label(tmp_path / "data"), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {0: 1035, 2: 100, 3: 65}
    assert imported.export.notes[0].endswith(
        "order, as daya_0.jpg in x/daya_0.json and more/a.json"
    )


def test_small_objects_lie_on_large_ones_of_another_document(tmp_path):
    file = made.coco(tmp_path / "x")
    content = json.loads(file.read_text())
    whole = {"segmentation": [[0, 0, 40, 0, 40, 30, 0, 30]], "area": 1200, "category_id": 9}
    changed(file, lambda content: content.update(annotations=content["annotations"][::2]))
    made.written(
        file.with_stem("z"),
        content | {"annotations": [{"id": 0, "image_id": 0, "iscrowd": 0} | whole]},
    )
    import_data(tmp_path / "x", tmp_path / "data")
    assert (label(tmp_path / "data") == 1).sum() == 100


def test_a_picture_that_two_documents_hold_is_one(tmp_path):
    root = made.labelme(tmp_path / "x", "abc")
    for name in "abc":
        data = base64.b64encode((root / f"{name}.jpg").read_bytes()).decode()
        (root / f"{name}.jpg").unlink()
        changed(root / f"{name}.json", lambda content, data=data: content.update(imageData=data))
        made.written(
            root / "backup" / f"{name}.json", json.loads((root / f"{name}.json").read_text())
        )
    assert len(import_data(root, tmp_path / "data").export.items) == 3


def two_sizes(root):
    made.labelme(root)
    content = json.loads((root / "daya_0.json").read_text())
    made.written(root / "more.json", content | {"imageWidth": 400, "imageHeight": 300})


def two_splits(root):
    file = made.coco(root)
    for part in ("train", "val"):
        made.written(file.with_stem(part), json.loads(file.read_text()))
    file.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            two_sizes,
            "daya_0.jpg is labelled on 40 x 30 .*daya_0.json, and on 400 x 300 .*more.json",
        ),
        (two_splits, "daya_0.jpg is in train and val, by .*train.json and .*val.json: a picture"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_documents_that_contradict_each_other_are_both_named(tmp_path, spoil, words):
    spoil(tmp_path / "x")
    with pytest.raises(ValueError, match=words):
        import_data(tmp_path / "x", tmp_path / "data")


def test_an_annotation_s_path_goes_from_its_file_on(tmp_path):
    made.photos(tmp_path / "x", "abc")
    made.photos(tmp_path / "x" / "ann", "cba")  # others, of the same names
    shape = {"label": "a", "shape_type": "polygon", "points": made.CAR}
    for name in "abc":
        content = {"imagePath": f"..\\{name}.jpg", "shapes": [shape]}
        made.written(tmp_path / "x" / "ann" / f"{name}.json", content)
    import_data(tmp_path / "x" / "ann", tmp_path / "data")
    photo = (tmp_path / "data" / "images" / "a.jpg").read_bytes()
    assert photo == (tmp_path / "x" / "a.jpg").read_bytes()


def test_pictures_beside_the_folder_of_annotations_are_read(tmp_path):
    file = made.coco(tmp_path / "x")
    assert len(import_data(file.parent, tmp_path / "data").export.items) == 10


def test_the_picture_in_an_annotation_keeps_its_format(tmp_path):
    root = made.labelme(tmp_path / "x", "abc")
    for name in "abc":
        file = io.BytesIO()
        Image.open(root / f"{name}.jpg").save(file, "TIFF")
        (root / f"{name}.jpg").unlink()
        data = base64.b64encode(file.getvalue()).decode()
        changed(root / f"{name}.json", lambda content, data=data: content.update(imageData=data))
    import_data(root, tmp_path / "data")
    assert Image.open(tmp_path / "data" / "images" / "a.tif").format == "TIFF"


@pytest.mark.parametrize("where", ["image", "task"])
def test_cvat_s_subsets_become_the_splits(tmp_path, where):
    root = made.cvat(tmp_path / "x")
    text = (root / "annotations.xml").read_text()
    for part, names in {"Train": made.NAMES[:6], "Validation": made.NAMES[6:]}.items():
        some = text
        if where == "task":
            some = some.replace("<task>", f"<task><subset>{part}</subset>")
        for name in made.NAMES:
            mark = f' subset="{part}"' if where == "image" else ""
            some = some.replace(f'<image name="{name}', f'<image{mark} name="{name}')
            if name not in names:
                some = re.sub(f"<image[^>]*{name}.*?</image>", "", some)
        (root / f"{len(names)}.xml").write_text(some)
    (root / "annotations.xml").unlink()
    lists = import_data(root, tmp_path / "data").lists
    assert lists == {"train": [*made.NAMES[:6]], "val": [*made.NAMES[6:]], "test": []}


# ---- names ----


def named(root, tool, name):
    """The car has another name."""
    if tool is made.coco:
        changed(tool(root), lambda content: content["categories"][1].update(name=name))
    elif tool is made.labelme:
        for file in tool(root).glob("*.json"):
            changed(file, lambda content: content["shapes"][0].update(label=name))
    elif tool is made.label_studio:
        change = {"polygonlabels": [name]}
        file = tool(root)
        content = json.loads(file.read_text())
        for task in content:
            task["annotations"][0]["result"][0]["value"].update(change)
        made.written(file, content)
    else:
        file = tool(root) / "annotations.xml"
        new = "" if name is None else escape(str(name), {"\n": "&#10;", "\t": "&#9;"})
        file.write_text(file.read_text().replace('"car"', f'"{new}"').replace(">car<", f">{new}<"))
    return root


SHAPES = [made.coco, made.labelme, made.cvat, made.label_studio]


@pytest.mark.parametrize("tool", SHAPES, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize(
    ("name", "text"), [(" big \n\t car ", "big car"), (7, "7")], ids=["spaces", "number"]
)
def test_a_name_is_one_line_of_text(tmp_path, tool, name, text):
    import_data(named(tmp_path / "x", tool, name), tmp_path / "data")
    assert set((tmp_path / "data" / "classes.txt").read_text().splitlines()) == {
        "background",
        text,
        "tree",
    }


@pytest.mark.parametrize("tool", SHAPES, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("name", ["", " \n", None])
def test_a_class_without_a_name_is_refused(tmp_path, tool, name):
    root = named(tmp_path / "x", tool, name)
    words = r"(instances|daya_0|annotations|project)\.(json|xml): .*a class has the name .*: give"
    with pytest.raises(ValueError, match=words):
        import_data(root, tmp_path / "data")


def test_names_that_differ_in_spaces_are_one_class_that_a_list_names(tmp_path):
    root = named(tmp_path / "x", made.labelme, "big  car")
    changed(root / "daya_0.json", lambda content: content["shapes"][0].update(label="big car "))
    (tmp_path / "names.txt").write_text("tree\nbig   car")
    import_data(root, tmp_path / "data", options=Options(classes=tmp_path / "names.txt"))
    assert Folder(tmp_path / "data").classes == ("background", "tree", "big car")
    assert label(tmp_path / "data")[4, 5] == 2


def test_more_classes_than_a_mask_has_room_for_are_refused(tmp_path):
    file = made.coco(tmp_path / "x")
    more = [{"id": 100 + i, "name": f"c{i}"} for i in range(253)]
    changed(file, lambda content: content["categories"].extend(more))
    with pytest.raises(ValueError, match="256 classes: a mask has room for 255"):
        import_data(file, tmp_path / "data")


# ---- what has no picture, and what is no region ----


def test_an_id_is_the_same_as_a_number_and_as_text(tmp_path):
    file = made.coco(tmp_path / "x")

    def change(content):
        for each in content["annotations"]:
            each |= {"image_id": str(each["image_id"]), "category_id": str(each["category_id"])}

    changed(file, change)
    import_data(file, tmp_path / "data")
    assert np.array_equal(label(tmp_path / "data"), made.truth())


def test_annotations_of_unknown_pictures_are_counted(tmp_path):
    file = made.coco(tmp_path / "x")
    changed(file, lambda content: [a.update(image_id=77) for a in content["annotations"][:2]])
    notes = import_data(file, tmp_path / "data").export.notes
    words = (
        "1 pictures are not there or not readable, and are left out with 2 shapes, as image_id 77"
    )
    assert words in notes


def test_pictures_that_have_only_boxes_do_not_become_background(tmp_path):
    file = made.coco(tmp_path / "x")
    changed(file, lambda content: [a.pop("segmentation") for a in content["annotations"][:2]])
    imported = import_data(file, tmp_path / "data", options=Options(empty=True))
    assert len(imported.export.items) == 9 and imported.export.notes[:2] == [
        "1 pictures have nothing that a mask is made of, and are left out, as daya_0.jpg",
        "left out: boxes (2)",
    ]


def task_of(root, **changes):
    """A Label Studio export whose first task has other content."""
    file = made.label_studio(root)
    changed(file, lambda content: content[0].update(changes))
    return file


SIZE = {"original_width": 40, "original_height": 30}
BOX = {"x": 10, "y": 10, "width": 50, "height": 50}
POINT = {"x": 1, "y": 1, "width": 1, "keypointlabels": ["car"]}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (SIZE | {"type": "keypointlabels", "value": POINT}, "keypointlabels (1)"),
        (SIZE | {"value": BOX | {"rectanglelabels": []}}, "regions without label (1)"),
        (SIZE | {"value": BOX}, "regions without label (1)"),
        ({"value": BOX | {"rectanglelabels": ["car"]}}, "regions without original_width (1)"),
    ],
    ids=["keypoint", "empty list", "no label", "no size"],
)
def test_regions_that_cannot_be_painted_are_counted(tmp_path, value, kind):
    file = task_of(tmp_path / "x", annotations=[{"result": [value]}])
    assert f"left out: {kind}" in import_data(file, tmp_path / "data").export.notes


def test_what_is_said_of_a_whole_picture_is_counted(tmp_path):
    tagged = made.cvat(tmp_path / "x") / "annotations.xml"
    tagged.write_text(tagged.read_text().replace("</image>", '<tag label="car" /></image>', 1))
    choice = {"type": "choices", "value": {"choices": ["car"]}}
    chosen = task_of(tmp_path / "y", annotations=[{"result": [choice]}])
    flagged = made.labelme(tmp_path / "z")
    changed(
        flagged / f"{made.NAMES[0]}.json", lambda c: c.update(flags={"dark": True, "far": False})
    )
    for file in (tagged, chosen, flagged):
        export = import_data(
            file, tmp_path / f"{file.stem} data", options=Options(empty=True)
        ).export
        assert "left out: tags, choices and flags of whole pictures (1)" in export.notes
        assert len(export.items) == 10


def test_a_second_label_of_a_region_is_counted(tmp_path):
    value = BOX | {"rectanglelabels": ["tree", "car"]}
    file = task_of(tmp_path / "x", annotations=[{"result": [SIZE | {"value": value}]}])
    notes = import_data(file, tmp_path / "data").export.notes
    assert "left out: second labels of a region (1)" in notes


def test_the_first_annotation_with_a_result_is_taken(tmp_path):
    result = [SIZE | {"value": BOX | {"rectanglelabels": ["car"]}}]
    file = task_of(tmp_path / "x", annotations=[{"result": []}, {"result": result}])
    import_data(file, tmp_path / "data")
    assert label(tmp_path / "data").sum() == 300


def test_predictions_are_no_annotation_and_no_background(tmp_path):
    file = task_of(tmp_path / "x", annotations=[], predictions=[{"result": []}])
    imported = import_data(file, tmp_path / "data", options=Options(empty=True))
    assert len(imported.export.items) == 9 and "left out: predictions (1)" in imported.export.notes


def test_regions_are_of_the_picture_that_they_name(tmp_path):
    result = [SIZE | {"to_name": "photo", "value": BOX | {"rectanglelabels": ["car"]}}]
    data = {"thumb": f"{made.NAMES[1]}.jpg", "photo": f"{made.NAMES[0]}.jpg"}
    file = task_of(tmp_path / "x", data=data, annotations=[{"result": result}])
    import_data(file, tmp_path / "data")
    assert label(tmp_path / "data").sum() == 300


def test_label_studio_s_old_export_is_read(tmp_path):
    file = made.label_studio(tmp_path / "x")
    file.write_text(file.read_text().replace('"annotations"', '"completions"'))
    import_data(file, tmp_path / "data")
    assert np.array_equal(label(tmp_path / "data"), made.truth())


@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_four_corners_are_a_rectangle(tmp_path, kind):
    root = made.labelme(tmp_path / "x")
    changed(root / "daya_0.json", lambda content: content["shapes"][0].update(shape_type=kind))
    import_data(root, tmp_path / "data")
    assert np.array_equal(label(tmp_path / "data"), made.truth())


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


def damaged_archive(root):
    file = root.parent / "export.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps([*range(1000)]))
    content = bytearray(file.read_bytes())
    content[60:200] = bytes(140)
    file.write_bytes(content)
    return file, {}


def too_deep(root):
    root.mkdir()
    (root / "a.json").write_text("[" * 100_000)
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


def annotation(**changes):
    """An export of COCO whose fourth annotation is spoilt."""

    def spoil(root):
        source = made.coco(root)
        changed(source, lambda content: content["annotations"][3].update(changes))
        return source, {}

    return spoil


def shape(**changes):
    """An export of LabelMe, one of whose shapes is spoilt."""

    def spoil(root):
        made.labelme(root)
        changed(root / "dayb_1.json", lambda content: content["shapes"][1].update(changes))
        return root, {}

    return spoil


def mark(old, new):
    """An export of CVAT, one of whose shapes is spoilt."""

    def spoil(root):
        file = made.cvat(root) / "annotations.xml"
        file.write_text(file.read_text().replace(old, new, 1))
        return root, {}

    return spoil


def region(**changes):
    """An export of Label Studio, one of whose regions is spoilt."""

    def spoil(root):
        file = made.label_studio(root)
        content = json.loads(file.read_text())
        content[5]["annotations"][0]["result"][1].update({"id": "r"} | changes)
        return made.written(file, content), {}

    return spoil


def all_unknown(root):
    source = made.coco(root)
    changed(source, lambda content: [a.update(image_id=77) for a in content["annotations"]])
    return source, {}


def only_boxes(root):
    source = made.coco(root)
    changed(source, lambda content: [a.pop("segmentation") for a in content["annotations"]])
    return source, {}


def damaged_photo(root):
    made.labelme(root)
    (root / "daya_0.jpg").unlink()
    changed(root / "daya_0.json", lambda content: content.update(imageData="!!!!abc"))
    return root, {}


def arrays(root):
    made.photos(root / "images")
    (root / "masks").mkdir()
    np.save(root / "masks" / "daya_0.npy", made.truth())
    return root, {}


POLYGONS = "annotation 3: its segmentation is no list of polygons, each a list x, y, x, y, ..."
NO_SHAPE = {
    annotation(segmentation=[[1, 2, 3]]): f"instances.json: {POLYGONS}",
    annotation(segmentation=[1, 2, 3, 4, 5, 6]): f"instances.json: {POLYGONS}",
    annotation(segmentation=[[1, 2, None, 4, 5, 6]]): "annotation 3: a polygon has the corners",
    annotation(segmentation={"size": [30, 40]}): "annotation 3 is not as COCO writes it: it has no "
    "'counts'",
    annotation(segmentation={"size": [30, 40], "counts": ["a"]}): "annotation 3 is not as COCO "
    "writes it: export it again",
    annotation(segments_info=[]): "instances.json: this is COCO's panoptic form",
    shape(shape_type="circle", points=[[1, 1]]): "dayb_1.json: shape 2: a circle of 1 points",
    shape(shape_type="polygon", points=[1, 2, 3]): "shape 2: a polygon has the corners 1, 2, 3",
    shape(mask="!!!!abc"): "dayb_1.json: shape 2 is not as LabelMe writes it: export it again",
    mark('label="tree"', ""): "mask 1 of daya_0.jpg is not as CVAT writes it: it has no 'label'",
    mark('xtl="5.00"', 'xtl=""'): "box 2 of daya_0.jpg is not as CVAT writes it: export it again",
    region(value={"rle": [0, 0], "brushlabels": ["tree"]}): "task 5: region r: a brush of 0 values",
    region(
        original_width="x"
    ): "task 5: region r is not as Label Studio writes it: export it again",
    region(image_rotation=90): "task 5: region r: /data/upload/1/1a2b3c4d-dayc_1.jpg was labelled",
    all_unknown: "no image has the image_id of an annotation, as 77: export images and annotations",
    only_boxes: "has no labelled picture; 10 pictures have nothing that a mask is made of, and are",
    damaged_photo: "daya_0.json: the picture inside is not as the label tool writes it: export it",
    arrays: "daya_0.npy is no picture: save such masks as grey PNG",
}
SENTENCES = {
    wrong_class: "instances.json: annotation 3: its category is 4, and there are 7, 9",
    wrong_runs: "instances.json: annotation 3: runs of 11 pixels for a mask of 40 x 30",
    unlisted: "annotations.xml has the class 'tree', and the classes are background, car: add it",
    strange_colour: "dayc_0.png: the colour (9, 9, 9) at (3, 7), of 0.1% of the pixels, is in no",
    damaged_archive: "export.zip cannot be unpacked here (Error -3 while decompressing data",
    too_deep: "a.json cannot be read (maximum recursion depth exceeded",
    no_photos: "has none of the 10 pictures of the export, as daya_0.jpg: give their folder with",
    other_size: "dayd_1.json labels dayd_1.jpg on 40 x 30 pixels, and the picture has 20 x 15",
    cut: "instances.json cannot be read (Unterminated string starting at",
    unknown: "package.json is no export that is known here: the formats are coco, labelme",
    small_form: "min.json: this is Label Studio's JSON-MIN: export the project as JSON",
    film: 'annotations.xml: these are tracks of a film: export the task as "CVAT for images 1.1"',
    no_table: "has colours of no table built in: name the table, or give a file of lines",
    two_masks: "daya_0_mask.png: say which are meant, as --masks",
} | NO_SHAPE


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
        "1 pictures are not there or not readable, and are left out with 2 shapes, as daye_1.jpg",
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


def test_shapes_that_the_mask_has_no_pixel_of_are_noted(tmp_path):
    root = made.labelme(tmp_path / "x")
    thin = {"label": "pole", "points": [[5, 5.1], [25, 5.1], [25, 5.3]]}
    changed(root / f"{made.NAMES[0]}.json", lambda content: content["shapes"].append(thin))
    words = "{} pictures have shapes that no pixel of their mask is left of, as daya_0.jpg"
    for longest, count in {0: 1, 1: 10}.items():
        options = Options(longest=longest)
        notes = import_data(root, tmp_path / str(longest), options=options).export.notes
        assert any(note.startswith(words.format(count)) for note in notes)


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
