"""Photographs of trays: what lesson 09 imports, and what is learned of it from three starts."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks import starts
from deeplab_lite.classroom import trays
from deeplab_lite.workshop.datasets import Folder
from deeplab_lite.workshop.datasets.importing import Options, import_data


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trays")
    tool = trays.export(folder / "tool")
    import_data(tool, folder / "parts", options=Options(colours=str(tool / "colours.txt")))
    return folder / "parts"


def mask(parts, tray, shot):
    return np.array(Image.open(parts / "masks" / f"tray{tray:02}-{shot}.png"))


def test_what_is_imported_is_what_was_photographed(parts):
    assert Folder(parts).classes == trays.CLASSES
    for tray, shot in ((0, 0), (7, 0), (19, 3)):
        assert np.array_equal(mask(parts, tray, shot), trays.photograph(tray, shot)[1])


def test_a_tray_moves_on_from_shot_to_shot():
    (_, first), (_, second) = trays.photograph(3, 0), trays.photograph(3, 1)
    assert np.array_equal(first[:-5, :-8], second[5:, 8:])


def test_one_wrong_mask_trains_and_one_validates(parts):
    names = [f"tray{tray:02}-{shot}" for tray, shot in trays.SLIPS]
    for split, name in zip(("train", "val"), names, strict=True):
        assert name in [pair.image.stem for pair in Folder(parts, split).pairs]
    assert all((mask(parts, *slip) != trays.photograph(*slip)[1]).any() for slip in trays.SLIPS)


def test_mended_masks_are_right_and_keep_their_colours(parts, tmp_path):
    (tmp_path / "masks").mkdir()
    for path in (parts / "masks").iterdir():
        (tmp_path / "masks" / path.name).write_bytes(path.read_bytes())
    before = Image.open(parts / "masks" / "tray07-1.png").getpalette()
    assert trays.mend(tmp_path) == ["tray07-1", "tray16-1"]
    assert all(
        np.array_equal(mask(tmp_path, *slip), trays.photograph(*slip)[1]) for slip in trays.SLIPS
    )
    assert Image.open(tmp_path / "masks" / "tray07-1.png").getpalette() == before


def test_starts_differ_in_their_first_weights_alone(tmp_path):
    runs = [starts.config(start, tmp_path, tmp_path).exact() for start in starts.STARTS]
    assert len({run.pop("init") for run in runs}) == len(runs)
    assert all(run == runs[0] for run in runs)


def test_the_table_of_starts_is_of_whole_runs():
    with starts.FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {row["start"]: int(row["images"]) for row in rows}
    batch = starts.config("random", starts.FILE, starts.FILE).batch
    assert last == dict.fromkeys(starts.STARTS, starts.STEPS * batch)
