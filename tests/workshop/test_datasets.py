"""CamVid and VOC as they are laid out, augmentation, and how a training takes them."""

import functools
import io
import json
import shutil
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_sets import VOC_NAMES, save, voc
from PIL import Image
from train_child import small
from typer.testing import CliRunner

from deeplab_lite import ask, checkpoints, metrics, tables
from deeplab_lite.scenes import normalize
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import VOC, CamVid, augment
from deeplab_lite.workshop.datasets.augmentation import scaled_crop
from deeplab_lite.workshop.datasets.camvid import CLASSES, PALETTE, TABLE
from deeplab_lite.workshop.train import Config, train
from deeplab_lite.workshop.train import stream as data
from deeplab_lite.workshop.train.log import read


def camvid(folder, size=(24, 32), splits=("train", "val"), suffix="png", count=4):
    """A CamVid of colours in blocks, whose class is their place in the palette; 11 is void."""
    random = np.random.default_rng(0)
    colours = np.array([*PALETTE, (0, 0, 0)], np.uint8)
    for split in splits:
        for i in range(count):
            blocks = random.integers(0, 12, (size[0] // 8, size[1] // 8), dtype=np.uint8)
            label = blocks.repeat(8, 0).repeat(8, 1)
            save(folder / split / f"{split}_{i}.{suffix}", colours[label])
            save(folder / f"{split}annot" / f"{split}_{i}.png", label)
    return folder


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# ---- CamVid ----


def test_camvid_has_segnet_s_classes_in_its_order():
    words = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
    assert " ".join(CLASSES) == words
    assert len(set(PALETTE)) == 11 and TABLE["Car"] == (64, 0, 128)


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPG"])
def test_items_are_as_the_networks_take_them_and_void_is_255(tmp_path, suffix):
    split = CamVid("train", camvid(tmp_path, suffix=suffix))
    image, label = split[2]
    stored = np.array(Image.open(tmp_path / "trainannot" / "train_2.png"))
    pixels = np.array(Image.open(tmp_path / "train" / f"train_2.{suffix}"))
    assert len(split) == 4 and split.classes == CLASSES
    assert torch.equal(image, normalize(pixels)) and image.shape == (3, 24, 32)
    assert label.dtype == torch.int64 and (stored == 11).any()
    assert label.tolist() == np.where(stored == 11, 255, stored).tolist()


def test_camvid_is_found_by_root_by_variable_and_in_the_cache(tmp_path, monkeypatch):
    camvid(tmp_path / "data" / "CamVid")
    camvid(tmp_path / "cache" / "deeplab_lite" / "CamVid", count=3)
    monkeypatch.delenv("DEEPLAB_LITE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert len(CamVid("val", tmp_path / "data")) == len(CamVid("val", tmp_path / "data/CamVid"))
    assert len(CamVid("val")) == 3
    monkeypatch.setenv("DEEPLAB_LITE_DATA", str(tmp_path / "data"))
    assert len(CamVid("val")) == 4


def test_a_camvid_that_is_not_there_or_not_whole_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folders test and testannot .* import .* --c"):
        CamVid("test", camvid(tmp_path))
    with pytest.raises(ValueError, match="split 'all': expected train, val, test"):
        CamVid("all", tmp_path)
    (tmp_path / "valannot" / "val_1.png").unlink()
    with pytest.raises(ValueError, match=r"val_1.png and 0 more lack a mask of the same name in"):
        CamVid("val", tmp_path)
    save(tmp_path / "trainannot" / "train_0.png", np.full((24, 32), 12, np.uint8))
    words = r"label value 12 at \(0, 0\): classes are 0..10, and 11 and 255 count nowhere. Save 255"
    with pytest.raises(ValueError, match=rf"train_0.png: {words}"):
        CamVid("train", tmp_path)[0]
    save(tmp_path / "trainannot" / "train_1.png", np.zeros((32, 24), np.uint8))
    with pytest.raises(
        ValueError, match=r"train_1.png is 32 x 24 and its mask .* 24 x 32: expected"
    ):
        CamVid("train", tmp_path)[1]


# ---- VOC ----


VOC_COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}


@pytest.mark.parametrize("label, colour", VOC_COLOURS.items())
def test_colours_of_voc(label, colour):
    assert VOC.palette[label] == colour


@pytest.mark.parametrize("where", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_reads_the_numbers_of_its_palettes(tmp_path, where):
    split = VOC("val", voc(tmp_path, sbd=False) / where)
    image, label = split[1]
    stored = Image.open(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_04.png")
    assert stored.mode == "P" and split.names == VOC_NAMES["val"]
    assert label.tolist() == np.array(stored).tolist() and label.dtype == torch.int64
    assert (label[0] == 255).all() and image.shape == (3, 9, 12) and len(split.classes) == 21
    assert image.unique().tolist() == [pytest.approx(100 / 127.5 - 1, abs=0.02)]


def test_a_voc_whose_palettes_disagree_is_refused(tmp_path):
    mask = voc(tmp_path, sbd=False) / "VOCdevkit/VOC2012/SegmentationClass/2007_04.png"
    save(mask, np.full((9, 12), 1, np.uint8), [VOC.palette[1], VOC.palette[0]])
    with pytest.raises(ValueError, match=r"the colour \(0, 0, 0\) as value 1, .* of class 0: save"):
        VOC("val", tmp_path)[1]


def test_a_name_in_two_lists_of_voc_is_warned_of(tmp_path):
    lists = voc(tmp_path, sbd=False) / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_bytes((lists / "train.txt").read_bytes())
    with pytest.warns(UserWarning, match=r"2 names are in train and in val, as .*: scores"):
        data.open_data(Config(data="voc", root=str(tmp_path)))


def test_a_name_in_two_folders_of_camvid_is_warned_of(tmp_path):
    camvid(tmp_path / "CamVid", size=(40, 56))
    for part in ("", "annot"):
        shutil.rmtree(tmp_path / "CamVid" / f"val{part}")
        shutil.copytree(tmp_path / "CamVid" / f"train{part}", tmp_path / "CamVid" / f"val{part}")
    with pytest.warns(UserWarning, match=r"names are in train and in val, as .*: scores"):
        data.open_data(Config(data="camvid", root=str(tmp_path)))


def test_train_aug_is_what_voc_and_sbd_label_without_what_voc_validates_on(tmp_path):
    split = VOC("train_aug", voc(tmp_path))
    assert split.names == ["2007_01", "2007_02", "2008_01", "2008_02"]
    labels = [split[i][1] for i in range(4)]
    assert [tuple(label.shape) for label in labels] == [(9, 12), (9, 12), (7, 8), (7, 8)]
    assert torch.equal(labels[1], VOC("train", tmp_path)[1][1])  # VOC's label, with its band
    assert labels[3].unique().tolist() == [20] and labels[3].dtype == torch.int64
    assert not set(split.names) & set(VOC("val", tmp_path).names)


def test_a_voc_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no VOCSegmentation in .*fetch it with download"):
        VOC("train", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no SBDataset in .*sbd"):
        VOC("train_aug", voc(tmp_path, sbd=False))
    with pytest.raises(ValueError, match="split 'test': expected train, val, trainval, train_aug"):
        VOC("test", tmp_path)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """torchvision's address of VOC is a server here, with a small archive that is the right one."""
    import hashlib

    from torchvision.datasets import voc as theirs

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(voc(tmp_path / "made", sbd=False) / "VOCdevkit", "VOCdevkit")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "voc.tar").write_bytes(packed.getvalue())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    http = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "served"))
    )
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    entry = dict(theirs.DATASET_YEAR_DICT["2012"], filename="voc.tar")
    entry["url"] = f"http://127.0.0.1:{http.server_address[1]}/voc.tar"
    entry["md5"] = hashlib.md5(packed.getvalue()).hexdigest()
    monkeypatch.setitem(theirs.DATASET_YEAR_DICT, "2012", entry)
    yield http, entry
    http.shutdown()
    http.server_close()


def test_torchvision_fetches_voc_once(archive, tmp_path):
    assert len(VOC("train", tmp_path / "data", download=True)) == 2
    archive[0].shutdown()
    archive[0].server_close()
    assert len(VOC("val", tmp_path / "data", download=True)) == 2


def test_voc_that_cannot_be_fetched_is_told(archive, tmp_path):
    archive[1]["md5"] = "0" * 32
    with pytest.raises(ConnectionError, match=r"could not fetch VOCSegmentation \(.+\): download "):
        VOC("train", tmp_path / "data", download=True)


def test_a_voc_with_missing_files_names_one_and_never_advises_to_delete(tmp_path):
    (voc(tmp_path) / "VOCdevkit/VOC2012/JPEGImages/2007_02.jpg").unlink()
    assert len(VOC("val", tmp_path)) == 2
    for split in ("train", "train_aug"):
        with pytest.raises(
            FileNotFoundError, match=r"1 files of .* as .*2007_02.jpg: add"
        ) as error:
            VOC(split, tmp_path, download=True)
        assert "elete" not in str(error.value)


def test_empty_lines_of_a_list_are_skipped(tmp_path):
    lists = voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train.txt").write_text("\ufeff2007_01\r\n\n2007_02\n\n", "utf-8")
    split = VOC("train", tmp_path)
    assert split.names == ["2007_01", "2007_02"] and len(split[1]) == 2


def test_voc_s_masks_in_colours_or_of_another_size_are_told(tmp_path):
    masks = voc(tmp_path) / "VOCdevkit/VOC2012/SegmentationClass"
    save(masks / "2007_01.png", np.full((9, 12, 3), (128, 0, 0), np.uint8))
    save(masks / "2007_02.png", np.zeros((9, 11), np.uint8))
    split = VOC("train", tmp_path)
    with pytest.raises(ValueError, match=r"2007_01.png is RGB, colours and no class"):
        split[0]
    with pytest.raises(ValueError, match=r"2007_02.jpg is 12 x 9 and its mask .* 11 x 9: expected"):
        split[1]


@pytest.mark.parametrize(
    "file, words",
    [
        ("VOCdevkit/VOC2012/JPEGImages/2007_02.jpg", r"2007_02.jpg cannot be decoded .*: copy it"),
        ("sbd/cls/2008_01.mat", r"2008_01.jpg or .*2008_01.mat cannot be decoded .*: copy it"),
        (
            "VOCdevkit/VOC2012/SegmentationClass/2007_02.png",
            r"2007_02.png cannot be read as an image \(OSError\): copy it again, or export it",
        ),
    ],
)
def test_a_file_of_voc_that_was_cut_is_named(tmp_path, file, words):
    cut(voc(tmp_path) / file)
    with pytest.raises(ValueError, match=words):
        list(map(VOC("train_aug", tmp_path).__getitem__, range(3)))


def test_what_a_worker_says_is_told_without_its_traceback(tmp_path):
    camvid(tmp_path / "data")
    cut(tmp_path / "data" / "train" / "train_1.png")
    command = ["train", "--data=camvid", f"--root={tmp_path / 'data'}", f"--out={tmp_path}/run"]
    choices = {"model": "v1-small", "size": 33, "steps": 1, "batch": 4, "accelerator": "cpu"}
    command += [f"--{name}={value}" for name, value in choices.items()]
    said = str(CliRunner().invoke(app, command).exception)
    assert said.startswith("train_1.png cannot be decoded (") and said.count("\n") == 0


def test_an_sbd_whose_fetch_was_interrupted_is_fetched_again(tmp_path, monkeypatch):
    from torchvision.datasets import SBDataset, sbd

    def offline(url, *args, **options):
        raise RuntimeError(f"no way to {url}")

    there = voc(tmp_path, sbd=False) / "sbd"
    there.mkdir()
    (there / "benchmark.tgz").write_bytes(b"the first half of an archive")
    monkeypatch.setattr(sbd, "download_and_extract_archive", offline)
    with pytest.raises(ConnectionError, match=f"SBDataset .no way to {SBDataset.url}"):
        VOC("train_aug", tmp_path, download=True)


# ---- augmentation ----


def generator(seed):
    return torch.Generator().manual_seed(seed)


def blocks(seed=0, size=(40, 56)):
    """A picture whose colours say their class, and its label."""
    label = torch.randint(len(PALETTE), (size[0] // 8, size[1] // 8), generator=generator(seed))
    label = label.repeat_interleave(8, 0).repeat_interleave(8, 1)
    return normalize(np.array(PALETTE, np.uint8)[label.numpy()]), label


@pytest.mark.parametrize("seed", range(8))
def test_image_and_label_go_through_the_same_changes(seed):
    image, label = augment(*blocks(seed), generator(seed), size=65, colour=False)
    assert image.shape == (3, 65, 65) and image.dtype == torch.float32
    assert label.shape == (65, 65) and label.dtype == torch.int64
    assert type(image) is type(label) is torch.Tensor
    colours = torch.cat([normalize(np.array([PALETTE], np.uint8))[:, 0], torch.zeros(3, 1)], 1)
    distance = (image[:, None] - colours[..., None, None]).norm(dim=0)
    nearest, kind = distance.min(0)
    pure = nearest < 1e-4  # not mixed of two colours at an edge
    kind[kind == len(PALETTE)] = 255  # mid-grey, where the crop is beyond the image
    assert pure.float().mean() > 0.3
    assert torch.equal(kind[pure], label[pure])


@pytest.mark.parametrize("scale", [0.5, 0.57, 0.8, 1.0, 1.3, 1.62, 2.0])
def test_edges_of_labels_are_where_those_of_the_image_are(scale):
    """Where a step of -1 to 1, blurred, is above 0, the nearest pixel is of the class above."""
    stripes = (torch.arange(64) // 8 % 2).expand(64, 64)
    image = (2 * stripes.float() - 1).expand(3, 64, 64)
    for seed in range(10):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            scaled, label = scaled_crop(image, stripes, 33, (scale, scale))
        counted = (label != 255) & (scaled[0].abs() > 1e-5)
        assert counted.float().mean() > 0.3 and label[counted].unique().tolist() == [0, 1]
        assert torch.equal(scaled[0][counted] > 0, label[counted] == 1)


def test_scales_go_from_a_half_to_two_and_half_of_the_crops_are_flipped():
    """A ramp from left to right tells by its slope how wide a pixel has become, and which way."""
    ramp = torch.linspace(-1, 1, 400).expand(3, 400, 400)
    label, slopes = torch.zeros(400, 400, dtype=torch.int64), []
    for seed in range(300):
        image, _ = augment(ramp, label, generator(seed), size=65, colour=False)
        slopes.append(float(image[0, 32, 40] - image[0, 32, 24]) / 16 / (2 / 399))
    scales = 1 / torch.tensor(slopes).abs()
    assert 0.49 < scales.min() < 0.53 and 1.95 < scales.max() < 2.1
    assert abs(float(scales.mean()) - 1.25) < 0.1
    flipped = sum(slope < 0 for slope in slopes)
    assert 120 < flipped < 180


def test_crops_are_taken_everywhere():
    """Also at the rim: the places of 1:1 crops of a ramp are even over all that there are."""
    ramp = torch.arange(60.0).expand(3, 60, 60) / 60
    label = torch.zeros(60, 60, dtype=torch.int64)
    options = {"size": 50, "scale": (1.0, 1.0), "colour": False}
    found = [augment(ramp, label, generator(seed), **options)[0][0, 0] for seed in range(300)]
    left = {round(60 * float(row.min())) for row in found}
    assert left == set(range(11))


def test_colours_change_and_labels_do_not():
    image, label = blocks()
    plain = augment(image, label, generator(3), size=33, colour=False)
    vivid = augment(image, label, generator(3), size=33)
    assert torch.equal(plain[1], vivid[1])
    assert (plain[0] - vivid[0]).abs().mean() > 0.02
    assert vivid[0].min() >= -1 and vivid[0].max() <= 1


def test_an_image_s_own_numbers_decide_and_torch_s_are_left_alone():
    crop = functools.partial(augment, size=33)
    dataset = [blocks(seed) for seed in range(4)]
    torch.manual_seed(1)
    first = [data.Stream(dataset, 0, crop)[i] for i in (5, 2, 9)]
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    again = [data.Stream(dataset, 0, crop)[i] for i in (9, 5, 2)]
    for one, other in zip(first, again[1:] + again[:1], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = data.Stream(dataset, 1, crop)
    assert not torch.equal(other[5][0], first[0][0])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(1, 65),
    seed=st.integers(0, 2**31),
)
def test_any_image_and_crop_fit(height, width, size, seed):
    image = torch.rand((3, height, width), generator=generator(seed)) * 2 - 1
    label = torch.randint(5, (height, width), generator=generator(seed + 1))
    image, label = augment(image, label, generator(seed + 2), size=size)
    assert image.shape == (3, size, size) and label.shape == (size, size)
    assert image.isfinite().all() and image.abs().max() <= 1
    assert set(label.unique().tolist()) <= {0, 1, 2, 3, 4, 255}


def test_a_crop_of_nothing_is_told():
    with pytest.raises(ValueError, match="size 0: expected the side of the crop in pixels"):
        augment(*blocks(), generator(0), size=0)


# ---- training ----


def test_batches_to_validate_on_hold_images_of_one_size_in_order():
    shapes = [(4, 6), (4, 6), (6, 4), (4, 6), (5, 5), (5, 5), (5, 5)]
    items = [
        (torch.full((3, *shape), float(i)), torch.zeros(shape, dtype=torch.int64))
        for i, shape in enumerate(shapes)
    ]
    loader, mine, count = data.validation(items, small("", batch=4), 0, 1)
    found = [images[:, 0, 0, 0].tolist() for batches in loader for images, _ in batches]
    assert found == [[0, 1], [2], [3], [4, 5, 6]] and mine == list(range(count)) == list(range(7))


def test_a_run_on_camvid_learns_its_classes_and_validates_on_whole_frames(tmp_path):
    camvid(tmp_path / "CamVid", size=(40, 56))
    config = small(
        tmp_path / "run", model="v1-small", data="camvid", root=str(tmp_path), size=33, steps=2
    )
    trained = train(config)
    assert trained.weights == tmp_path / "run" / "v1-small-camvid.safetensors"
    card = checkpoints.card(trained.weights)
    assert card["classes"] == list(CLASSES) and card["model"]["options"]["num_classes"] == 11
    assert str(tmp_path) not in json.dumps(card)
    split = CamVid("val", tmp_path)
    images, labels = (torch.stack(each) for each in zip(*split, strict=True))
    with torch.no_grad():
        matrices = metrics.confusion_matrices(ask.logits(trained.model, images), labels, 11)
    assert trained.metrics == tables.report(matrices, CLASSES)
    assert int(matrices.sum()) == int((labels != 255).sum()) and (labels == 255).any()


def test_crops_that_are_all_255_make_no_loss_nan(tmp_path):
    """Most of each crop lies beyond images of 8 x 8 pixels, of which half are void."""
    camvid(tmp_path, size=(8, 8))
    for i in range(3):
        save(tmp_path / "trainannot" / f"train_{i}.png", np.full((8, 8), 11, np.uint8))
    config = small(
        tmp_path / "run", model="v1-small", data="camvid", root=str(tmp_path), size=33, batch=2
    )
    trained = train(config)
    assert all(0 <= float(row["loss"]) < 10 for row in read(tmp_path / "run" / "log.csv"))
    assert all(bool(p.isfinite().all()) for p in trained.model.parameters())


def test_voc_aug_trains_on_what_its_name_says(tmp_path):
    root = str(voc(tmp_path))
    train_set, val_set, crop = data.open_data(Config(data="voc-aug", root=root, size=33))
    assert train_set.split == "train_aug" and val_set.split == "val"
    assert crop(*train_set[3], generator(0))[0].shape == (3, 33, 33)
    assert data.open_data(Config(data="voc", root=root))[0].split == "train"


def test_the_command_line_tells_where_data_should_be(tmp_path):
    words = ["train", "--data", "camvid", "--root", str(tmp_path), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1 and not (tmp_path / "run").exists()
    assert "there is no CamVid in" in result.output and "--download" in result.output


@pytest.mark.parametrize(
    "given, name",
    [
        ("scenes", "v1-scenes"),
        ("voc-aug", "v1-voc-aug"),
        ("data/my cats & dogs/", "v1-my-cats-dogs"),
        (".", f"v1-{Path.cwd().name}"),
        ("/", "v1-data"),
    ],
)
def test_a_network_s_name_is_a_file_s_name(given, name):
    assert Config(model="v1", data=given).name == name
    assert Config(model="v1", data=given).folder == f"runs/{name}-0"
