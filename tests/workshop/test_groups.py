"""What belongs together: written by import, read by Folder, told by check, drawn for intervals."""

import re

import made_exports as made
import numpy as np
import pytest
import torch
from image_sets import save
from typer.testing import CliRunner

from deeplab_lite import checkpoints, metrics, scenes, tables
from deeplab_lite.workshop import intervals
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import Folder, check_folder
from deeplab_lite.workshop.datasets.importing import import_data


def export(root, names):
    """Photos by path, and beside them in one folder their masks by name."""
    for name in names:
        folder, _, stem = name.rpartition("/")
        made.photos(root / "photos" / folder, [stem])
        save(root / "masks" / f"{stem}.png", made.truth())
    return root


def groups(folder, split="val"):
    return Folder(folder, split).groups


# ---- import and Folder ----


def test_import_writes_the_groups_by_which_it_divides(tmp_path):
    source = export(tmp_path / "x", [f"tray{i:02}-{j}" for i in range(10) for j in range(2)])
    imported = import_data(source, tmp_path / "data")
    assert "by chance: 10 groups, by name" in str(imported)
    of = {split: groups(tmp_path / "data", split) for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in of.items()} == {"train": 14, "val": 4, "test": 2}
    assert {split: len(set(names)) for split, names in of.items()} == {
        "train": 7,
        "val": 2,
        "test": 1,
    }
    assert not set(of["train"]) & set(of["val"])


def test_roboflow_s_versions_of_a_photograph_stay_together(tmp_path):
    names = [f"IMG_{i:04}_jpg.rf.{7 * i + k:032x}" for i in range(9) for k in range(3)]
    import_data(export(tmp_path / "x", names), tmp_path / "data")
    train, val = (set(groups(tmp_path / "data", split)) for split in ("train", "val"))
    assert len(train | val) > 6 and not train & val


def test_a_val_of_one_group_is_noted(tmp_path):
    source = export(tmp_path / "x", [f"tray{i}-{j}" for i in range(4) for j in range(5)])
    note = import_data(source, tmp_path / "data").export.notes[-1]
    assert re.match(r"val is one group alone, photos/tray\d, so its score says little about", note)


def test_photographs_that_were_labelled_already_may_be_sorted_into_folders(tmp_path):
    days = [f"{day}/IMG_{n:04}" for n, day in enumerate(["mon", "tue", "wed", "thu"] * 3)]
    source = export(tmp_path / "x", days)
    imported = import_data(source, tmp_path / "data", group="folder")
    assert "by chance: 4 groups, by folder" in str(imported)
    with (tmp_path / "data" / "groups.csv").open() as file:
        assert next(file) == "name,group\n" and next(file) == "IMG_0000,photos/mon\n"
    assert len(set(groups(tmp_path / "data", "train"))) > 1


def test_the_names_of_a_camera_make_no_groups(tmp_path):
    source = export(tmp_path / "x", [f"IMG_{i:04}" for i in range(12)])
    import_data(source, tmp_path / "data")
    assert not (tmp_path / "data" / "groups.csv").exists()
    assert groups(tmp_path / "data") == [
        p.image.stem for p in Folder(tmp_path / "data", "val").pairs
    ]


@pytest.mark.parametrize(
    "lists, count",
    [
        ({"val": "a1 a2 b1 b2", "test": "c1 c2"}, 2),  # as written by an earlier import
        ({"val": "a1 b1", "test": "c1"}, 0),  # whoever divided so meant no groups
        ({"train": "a1 a2 b1 b2", "test": "c1 c2 d1 d2"}, 0),  # in train, two are too few
        ({"train": "a1 a2 b1 b2 e1 e2 f1 f2", "test": "c1 c2 d1 d2"}, 2),
    ],
)
def test_groups_of_an_export_with_lists_are_kept_where_the_lists_keep_them(tmp_path, lists, count):
    source = export(tmp_path / "x", [f"{group}{i}" for group in "abcdef" for i in (1, 2)])
    for part, names in lists.items():
        (source / f"{part}.txt").write_text("\n".join(names.split()))
    imported = import_data(source, tmp_path / "data")
    assert (tmp_path / "data" / "groups.csv").exists() == bool(count)
    own = "val" if "val" in lists else "test"
    assert len(set(groups(tmp_path / "data", own))) == (count or len(imported.lists[own]))


def test_folders_of_the_splits_are_no_groups(tmp_path):
    parts = [*["train"] * 4, "val", "val", "test", "test"]
    source = export(tmp_path / "x", [f"{part}/IMG_{i}" for i, part in enumerate(parts)])
    imported = import_data(source, tmp_path / "data")
    assert imported.export.notes[-1] == "train, val and test are those of the export"
    assert groups(tmp_path / "data") == ["IMG_4", "IMG_5"]


def folder(root, count=12, size=8, lists=("val", "test")):
    """Photos p0, p1, ... of two classes, four in each split, and groups of two."""
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8)
        save(root / "images" / f"p{i}.png", pixels)
        save(root / "masks" / f"p{i}.png", pixels[..., 0] // 128)
    for start, part in enumerate(lists):
        names = (f"p{i}\n" for i in range(4 * start, 4 * start + 4))
        (root / f"{part}.txt").write_text("".join(names))
    rows = (f"p{i},day {i // 2}\n" for i in range(count))
    (root / "groups.csv").write_text("name,group\n" + "".join(rows))
    return root


def test_names_go_by_any_form_and_an_empty_group_stands_alone(tmp_path):
    root = folder(tmp_path, 6, lists=["val"])
    table = "\ufeffname,group\r\np0.png,b\r\nP1,\r\nimages/p2.png,b\r\np3,x\np4,x\np5,x\n"
    (root / "groups.csv").write_text(table, "utf-8", newline="")
    assert groups(root) == ["b", "p1", "b", "x"]


@pytest.mark.parametrize(
    "table, words",
    [
        ("", "has the line '': expected name,group first, then an image and its group a line"),
        ("name;group\np0;a\n", "has the line 'name;group': expected name,group first"),
        ("name,group\np0,a,b\n", "has the line 'p0,a,b': expected name,group first"),
        ("name,group\np0,a\np0.png,b\n", "has p0 in two groups: expected one line for each"),
        ("name,group\np0,a\np1,a\n", "has no line for 10 images, as p10: expected one for each"),
    ],
)
def test_a_table_of_groups_that_cannot_be_followed_is_told(tmp_path, table, words):
    root = folder(tmp_path)
    (root / "groups.csv").write_text(table)
    with pytest.raises(ValueError, match=r"groups\.csv") as error:
        Folder(root)
    assert words in str(error.value)
    (problem,) = check_folder(root).problems
    assert problem.kind == "split" and words in problem.text


def test_a_draw_keeps_groups_whole(tmp_path):
    root = folder(tmp_path, lists=())
    assert groups(root) == ["day 3", "day 3"] and not check_folder(root).notes
    (root / "groups.csv").write_text("name,group\n" + "".join(f"p{i},day\n" for i in range(12)))
    with pytest.raises(ValueError, match=r"12 images to train on and 0 .* groups.csv stays whole"):
        Folder(root)


def test_a_group_in_two_splits_is_noted(tmp_path):
    root = folder(tmp_path)
    assert not check_folder(root).notes
    (root / "val.txt").write_text("p0\np1\np2\np9")
    (note,) = check_folder(root).notes
    assert note.startswith("2 groups of groups.csv in two splits, as day 1 in train and in val: ")


# ---- intervals ----


def matrices(count):
    random = torch.Generator().manual_seed(0)
    return torch.randint(1, 9, (count, 2, 2), generator=random)


def test_the_interval_of_a_report_draws_groups_and_its_scores_do_not_change():
    counts, classes = matrices(8), ("one", "two")
    groups = [*"abacdbcd", "beyond"]
    plain = tables.report(counts, classes)
    report = intervals.report(counts, classes, groups)
    pairs = [(0, 2), (1, 5), (3, 6), (4, 7)]
    sums = torch.stack([counts[list(pair)].sum(0) for pair in pairs])
    assert torch.equal(intervals.by_group(counts, groups), sums)
    _, low, high = metrics.confidence_interval(sums)
    assert report.pop("interval") == [round(low, 4), round(high, 4)] != plain.pop("interval")
    assert report == plain | {"groups": 4}


@pytest.mark.parametrize("groups", [(), [*"abcdefgh"]], ids=["without", "each alone"])
def test_images_that_stand_alone_are_drawn_as_images(groups):
    report = intervals.report(matrices(8), ("one", "two"), groups)
    assert report == tables.report(matrices(8), ("one", "two"))
    assert intervals.sentence(report).endswith("], of 95 % by bootstrap of images")


@pytest.mark.parametrize("count, word", [(1, "1 group"), (2, "2 groups")])
def test_less_than_three_groups_have_a_score_and_no_interval(count, word):
    report = intervals.report(matrices(8), ("one", "two"), [str(i % count) for i in range(8)])
    score = tables.report(matrices(8), ("one", "two"))["miou"]
    assert report["interval"] is None and report["images"] == 8
    assert intervals.sentence(report) == (
        f"{score:.3f}, without an interval: the images make {word}, and it is drawn from 3 or more"
    )


@pytest.mark.parametrize(
    "per, words",
    [
        (2, r"mIoU 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], of 95 % by bootstrap of 3 groups\n"),
        (
            3,
            r"mIoU 0\.\d{3}, without an interval: the images make 2 groups, and it is drawn from 3",
        ),
    ],
)
def test_evaluate_draws_the_groups_of_a_folder(tmp_path, per, words):
    for i in range(7):
        image, label = scenes.scene(scenes.SPLITS["val"][0] + i, 65)
        save(tmp_path / "images" / f"{i}.png", image)
        save(tmp_path / "masks" / f"{i}.png", label)
    (tmp_path / "classes.txt").write_text("\n".join(scenes.CLASSES))
    (tmp_path / "train.txt").write_text("6")
    rows = "".join(f"{i},{i // per}\n" for i in range(7))
    (tmp_path / "groups.csv").write_text(f"name,group\n{rows}")
    command = ["evaluate", "--model", "v3plus-scenes", "--data", str(tmp_path)]
    said = CliRunner().invoke(app, command).output
    assert re.search(words, said), said
    bracket = r"within 8 px of an edge 0\.\d{3}" + (r" \[" if per == 2 else r"\n")
    assert re.search(bracket, said), said


def test_the_test_score_of_a_training_draws_groups(tmp_path):
    root = folder(tmp_path / "data", 16, lists=("val", "test"))
    (root / "test.txt").write_text("".join(f"p{i}\n" for i in range(4, 10)))
    command = ["train", "--data", str(root), "--out", str(tmp_path / "run"), "--test"]
    choices = {"model": "v1-small", "size": 33, "steps": 1, "batch": 2, "accelerator": "cpu"}
    command += [f"--{name}={value}" for name, value in choices.items()]
    said = CliRunner().invoke(app, command).output
    interval = r"test mIoU 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\], of 95 % by bootstrap of 3 groups"
    assert re.search(interval, said), said
    card = checkpoints.card(tmp_path / "run" / "v1-small-data.safetensors")["metrics"]
    assert (card["test"]["groups"], card["test"]["images"]) == (3, 6)
    assert (card["val"]["groups"], card["val"]["interval"]) == (2, None)
