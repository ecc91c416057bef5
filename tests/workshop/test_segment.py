"""Photos to label maps: what is written, skipped, told, and never overwritten."""

import csv
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from deeplab_lite import checkpoints, image_files, scenes
from deeplab_lite.classroom import draw
from deeplab_lite.colors import voc_palette
from deeplab_lite.crf import dense_crf
from deeplab_lite.workshop.cli import app
from deeplab_lite.workshop.datasets import camvid
from deeplab_lite.workshop.segment import Segmenter, Settings, results, segment_photos
from deeplab_lite.workshop.segment.find_photos import find
from deeplab_lite.workshop.segment.segmenter import palette

ROOT = Path(__file__).parents[2]
MODEL = "v3plus-scenes"


def command(*words):
    """Exit status, stdout and stderr of `python -m deeplab_lite ...` in this process."""
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


@pytest.fixture
def scene(tmp_path):
    """A photo, and its picture."""
    image, _ = scenes.scene(7, difficulty=scenes.SMALL)
    return save(tmp_path / "in" / "seven.png", image), image


def labels_of(out, name):
    return Image.open(out / f"{name}{results.LABELS}")


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- What is written -----------------------------------------------------------------------------


def test_all_that_is_written_for_a_photo(scene, tmp_path):
    path, image = scene
    out = tmp_path / "out"
    status, said, _ = command("segment", path, "--model", MODEL, "--out", out)
    assert status == 0 and "1 segmented" in said and "129 x 129" in said

    expected = Segmenter(Settings(MODEL), "cpu").probabilities(image).argmax(0)
    picture = labels_of(out, "seven")
    assert picture.mode == "P" and np.array_equal(np.array(picture), expected)
    colors = np.array(picture.convert("RGB"))
    assert np.array_equal(colors, draw.SCENE_PALETTE[expected])

    record = json.loads((out / "seven.result.json").read_text())
    counts = np.bincount(expected.ravel(), minlength=9)
    assert [one["pixels"] for one in record["classes"]] == counts.tolist()
    assert [one["name"] for one in record["classes"]] == list(scenes.CLASSES)
    assert sum(one["share"] for one in record["classes"]) == pytest.approx(1, abs=1e-5)
    assert (
        record["photo"] == "../in/seven.png" and (record["width"], record["height"]) == (129,) * 2
    )
    assert record["settings"]["model"] == MODEL
    assert record["settings"]["sha256"] == checkpoints.card(MODEL)["sha256"]
    assert set(record["versions"]) == {"deeplab_lite", "torch", "python"}

    with (out / "seven.classes.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [int(row["pixels"]) for row in rows] == counts.tolist()

    overlay = np.array(Image.open(out / "seven.overlay.jpg").convert("RGB")).astype(int)
    assert overlay.shape == image.shape
    far = np.abs(overlay - image).mean(-1)
    assert far[expected > 0].mean() > 30 > 10 > far[expected == 0].mean()

    summary = json.loads((out / "summary.json").read_text())
    assert summary["segmented"][0]["files"] == record["files"] and summary["failed"] == []
    assert all((out / file).is_file() for file in record["files"])


CHOICES = {
    "scales": ({"scales": (0.75, 1.0, 1.25)}, ["--scales", "0.75,1,1.25"]),
    "largest": ({"scales": (0.75, 1.0), "fuse": "max"}, ["--scales", "0.75,1", "--fuse", "max"]),
    "flip": ({"flip": True}, ["--flip"]),
    "stride": ({"output_stride": 8}, ["--output-stride", "8"]),
    "crf": ({"crf": True}, ["--crf"]),
    "tiles": ({"tile": 97, "overlap": 16}, ["--tile", "97", "--overlap", "16"]),
    "longest": ({"longest": 121}, ["--longest", "121"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_each_choice_reaches_the_network_and_is_told(name, scene, tmp_path):
    path, image = scene
    settings, flags = CHOICES[name]
    out = tmp_path / "out"
    assert command("segment", path, "--model", MODEL, "--out", out, *flags)[0] == 0
    found = np.array(labels_of(out, "seven"))
    assert np.array_equal(found, Segmenter(Settings(MODEL, **settings), "cpu").labels(image))
    plain = Segmenter(Settings(MODEL), "cpu").labels(image)
    # tiles of 97 pixels are smaller than what this network listens to
    assert (0.7 if name == "tiles" else 0.9) < (found == plain).mean() < 1
    told = json.loads((out / "seven.result.json").read_text())["settings"]
    for key, value in settings.items():
        assert told[key] == ({} if key == "crf" else json.loads(json.dumps(value)))


def test_the_crf_takes_the_values_of_the_card(scene, tmp_path):
    _, image = scene
    card = checkpoints.card(MODEL) | {"crf": {"sigma_rgb": 20.0, "iterations": 3}}
    path = checkpoints.save(checkpoints.load(MODEL), tmp_path / "mine.safetensors", card)
    plain = Segmenter(Settings(MODEL), "cpu").probabilities(image)
    found = Segmenter(Settings(str(path), crf=True), "cpu").probabilities(image)
    assert np.abs(found - dense_crf(plain, image, sigma_rgb=20.0, iterations=3)).max() < 1e-5
    checkpoints.save(checkpoints.load(MODEL), path, card | {"crf": {"sigma": 20.0}})
    with pytest.raises(ValueError, match=r"the card of .* has a wrong crf: .*sigma"):
        Segmenter(Settings(str(path), crf=True), "cpu")


def test_palettes():
    assert voc_palette(21)[[0, 1, 2, 15, 20]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128],
    ]  # fmt: skip
    card = {"classes": ["Sky", "Road"], "palette": [[1, 2, 3], [4, 5, 6]]}
    assert palette(card).tolist() == card["palette"]
    assert np.array_equal(palette({"classes": list(scenes.CLASSES)}), draw.SCENE_PALETTE)
    assert palette({"classes": list(camvid.CLASSES)}).tolist() == [*map(list, camvid.PALETTE)]
    assert np.array_equal(palette({"classes": ["cat", "dog"]}), voc_palette(2))


def test_without_a_background_the_first_class_is_tinted_too():
    image, labels = np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), np.uint8)
    palette = np.array([[250, 0, 0], [0, 250, 0]], np.uint8)
    record = {"classes": [{"name": "Sky"}, {"name": "Road"}]}
    assert results.overlay(image, labels, palette, record)[20, 20, 0] > 150
    record["classes"][0]["name"] = "background"
    assert (results.overlay(image, labels, palette, record) == image).all()


def test_a_photo_that_the_camera_turned_is_upright(tmp_path, capsys):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(
        tmp_path / "turned.jpg", scenes.scene(1, difficulty=scenes.SMALL)[0][:97], exif=exif
    )
    report = segment_photos([str(path)], Settings(MODEL), tmp_path / "out", "cpu")
    (record,) = report.done
    assert (record["width"], record["height"]) == (97, 129)
    assert "turned upright" in record["read"]
    assert "turned.jpg  97 x 129, turned upright  " in capsys.readouterr().out
    assert labels_of(tmp_path / "out", "turned").size == (97, 129)


# ---- Which photos --------------------------------------------------------------------------------


def test_photos_are_as_large_as_memory_has_room_for(tmp_path, monkeypatch):
    """Beyond what is read elsewhere, and beyond Pillow's own limit of twice MAX_IMAGE_PIXELS."""
    Image.fromarray(scenes.scene(3)[0]).resize((300, 150)).save(tmp_path / "large.png")
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    words, settings = [str(tmp_path / "large.png")], Settings(MODEL, tile=129)
    report = segment_photos(words, settings, tmp_path / "out", "cpu")
    assert (report.exit_code, report.done[0]["width"]) == (0, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000
    memory = SimpleNamespace(available=44_999 * image_files.BYTES)
    monkeypatch.setattr(image_files.psutil, "virtual_memory", lambda: memory)
    report = segment_photos(words, settings, tmp_path / "other", "cpu")
    assert report.exit_code == 1 and "has more than 0 million pixels" in report.failed[0].sentence


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Photos in folders, among other files."""
    pixel = Image.new("RGB", (1, 1))
    for name in ("a.png", "one/a.png", "one/b.JPG", "one/deep/c.png", "two/a.png", ".hidden/h.png"):
        save(tmp_path / name, pixel, format="PNG")
    save(tmp_path / "one" / "a.labels.png", pixel)  # of an earlier run, as the record tells
    (tmp_path / "one" / "a.result.json").write_text("{}")
    save(tmp_path / "odd[1].png", pixel)
    save(tmp_path / "~draft.jpg", pixel)
    (tmp_path / "one" / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words, names",
    [
        (["a.png"], ["a"]),
        (["one/a.png", "two/a.png"], ["a", "a"]),
        (["one"], ["a", "b", "deep/c"]),
        (["one", "one/a.png", "./one/../one/b.JPG"], ["a", "b", "deep/c"]),
        (["*.png"], ["a", "odd[1]"]),
        (["*/a.png"], ["one/a", "two/a"]),
        (["**/*.png"], ["a", "odd[1]", "one/a", "one/deep/c", "two/a"]),
        (["one/**"], ["a", "b", "deep/c"]),
        (["one/*"], ["a", "b", "deep/c"]),
        (["o*"], ["odd[1]", "one/a", "one/b", "one/deep/c"]),
        (["odd[1].png"], ["odd[1]"]),
        (["~draft.jpg"], ["~draft"]),
        (["one/a.labels.png"], ["a.labels"]),
    ],
)
def test_files_folders_and_patterns(tree, words, names):
    found, problems = find(words)
    assert not problems and sorted(photo.name for photo in found) == names


@pytest.mark.parametrize(
    "word, sentence",
    [
        ("empty", "empty is a folder without pictures: expected photos"),
        ("", "'' is an empty word: expected photos"),
        ("none*.png", "none*.png is a pattern that no picture matches: expected photos"),
    ],
)
def test_words_that_mean_no_photo(tree, word, sentence):
    assert [p.sentence for p in find([word])[1]] == [sentence]


def test_a_photo_of_a_kind_that_is_not_read_is_told(tmp_path):
    (tmp_path / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    status, _, said = command("segment", tmp_path, "--model", MODEL, "--out", tmp_path / "out")
    assert status == 1 and "phone.HEIC is not an image that can be read here: save it as" in said


def test_photos_of_one_name_do_not_overwrite_each_other(tree, tmp_path):
    """Nor in a later run, nor where upper and lower case are the same."""
    out = tmp_path / "out"
    save(tmp_path / "two" / "A.png", Image.new("RGB", (3, 2)))
    for words in (["one/a.png", "two/a.png"], ["two/A.png"]):
        assert command("segment", *words, "--out", out)[0] == 0
    owners = {json.loads(p.read_text())["photo"]: p.name for p in out.glob("*.result.json")}
    assert set(owners) == {"../one/a.png", "../two/a.png", "../two/A.png"}
    assert owners["../one/a.png"] == "a.result.json"
    assert len(set(owners.values())) == 3
    before = bytes_of(out)
    _, said, _ = command("segment", "two/a.png", "two/A.png", "one/a.png", "--out", out)
    assert "0 segmented, 3 were there already" in said
    assert {k: v for k, v in bytes_of(out).items() if k.name != "summary.json"} == {
        k: v for k, v in before.items() if k.name != "summary.json"
    }


def test_photos_are_never_written_over(tmp_path):
    """Where results lie beside the photos, and a photo is called as a result."""
    photos = [
        save(tmp_path / name, scenes.scene(1, difficulty=scenes.SMALL)[0])
        for name in ("a.png", "a.labels.png")
    ]
    before = [p.read_bytes() for p in photos]
    for _ in range(2):
        status, said, _ = command("segment", *photos, "--out", tmp_path)
        assert status == 0 and [p.read_bytes() for p in photos] == before
    assert "0 segmented, 2 were there already" in said
    _, said, _ = command("segment", tmp_path, "--out", tmp_path)
    assert "0 segmented, 2 were there already" in said
    assert [p.read_bytes() for p in photos] == before


# ---- What is skipped -----------------------------------------------------------------------------


def test_what_is_there_is_made_anew_only_where_something_changed(scene, tmp_path):
    path, _ = scene
    out = tmp_path / "out"

    def again(*flags):
        return command("segment", path, "--model", MODEL, "--out", out, *flags)[1].splitlines()[-1]

    skipped = "0 segmented, 1 were there already"
    assert again() == "1 segmented" and again() == skipped
    assert again("--overwrite") == "1 segmented"
    assert again("--flip") == "1 segmented" and again("--flip") == skipped
    (out / "seven.classes.csv").unlink()
    assert again("--flip") == "1 segmented"
    (out / "seven.result.json").write_text("{ damaged")
    assert again("--flip") == "1 segmented"
    save(path, scenes.scene(8, difficulty=scenes.SMALL)[0])
    assert again("--flip") == "1 segmented" and again("--flip") == skipped


def test_results_are_replaced_all_or_not_at_all(scene, tmp_path, monkeypatch):
    path, _ = scene
    out = tmp_path / "out"
    words = ("segment", path, "--model", MODEL, "--out", out)
    command(*words)
    whole = bytes_of(out)
    del whole[Path("summary.json")]

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "overlay", stopped)
        assert command(*words, "--output-stride", "8")[0] == 130
    assert whole.items() <= bytes_of(out).items()
    assert command(*words)[1].splitlines()[-1] == "0 segmented, 1 were there already"

    # Stopped later, when the label map has its name already: the old record is gone.
    with monkeypatch.context() as patched:
        fsync, calls = os.fsync, iter([os.fsync, stopped])
        patched.setattr(os, "fsync", lambda file: next(calls, fsync)(file))
        assert command(*words, "--output-stride", "8")[0] == 130
    left = bytes_of(out)
    assert left[Path("seven.labels.png")] != whole[Path("seven.labels.png")]
    assert command(*words)[1].splitlines()[-1] == "1 segmented"
    assert whole.items() <= bytes_of(out).items()


# ---- What is told --------------------------------------------------------------------------------


def png(width, height, data=b""):
    """A PNG with this head, and this for pixels."""

    def chunk(kind, body):
        body = kind + body
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(kind):
    out = io.BytesIO()
    Image.fromarray(scenes.scene(3, difficulty=scenes.SMALL)[0]).save(out, kind)
    return out.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")}
BROKEN = {
    "empty.png": b"",
    "cut.png": WHOLE["PNG"][:2000],
    "cut.jpg": WHOLE["JPEG"][:2000],
    "cut.gif": WHOLE["GIF"][:900],
    "cut.webp": WHOLE["WEBP"][:500],
    "cut.tif": WHOLE["TIFF"][:900],
    "cut.bmp": WHOLE["BMP"][:900],
    "text.jpg": b"hello, this is no picture",
    "noise.png": np.random.default_rng(0).bytes(3000),
    "magic.png": b"\xff\xd8\xff" + WHOLE["PNG"][3:],
    "bits.png": WHOLE["PNG"][:1000] + b"\x13\x37" * 20 + WHOLE["PNG"][1040:],
    "no-pixels.png": png(3, 3),
    "zero.png": png(0, 3),
    "wide.png": png(9000, 9000),
    "bomb.png": png(60_000, 60_000),
    "head.bmp": WHOLE["BMP"][:18] + struct.pack("<ii", 2**30, 2**30) + WHOLE["BMP"][26:],
    "drawing.png": b"<?xml version='1.0'?><svg></svg>",
    "page.jpg": b"%PDF-1.7 ...",
    "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "phone.jpg": b"\0\0\0\x18ftypheic" + bytes(40),
}
ODD = {  # and yet whole
    "animation.gif": {"save_all": True, "append_images": [Image.new("RGB", (129, 129))]},
    "grey.png": {"mode": "L"},
    "palette.png": {"mode": "P"},
    "clear.png": {"mode": "RGBA"},
    "print.jpg": {"mode": "CMYK"},
    "one.png": {"size": (1, 1)},
    "line.png": {"size": (300, 1)},
}


@pytest.fixture(scope="module")
def heap(tmp_path_factory):
    """A folder of broken and odd files, segmented once: the folder, the results, what was said."""
    folder = tmp_path_factory.mktemp("heap")
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    for name, data in BROKEN.items():
        (photos / name).write_bytes(data)
    for name, options in ODD.items():
        options = dict(options)
        size, mode = options.pop("size", (129, 129)), options.pop("mode", "RGB")
        image = (
            Image.fromarray(scenes.scene(3, difficulty=scenes.SMALL)[0]).resize(size).convert(mode)
        )
        save(photos / name, image, **options)
    deep = Image.fromarray(np.uint16(scenes.scene(3, difficulty=scenes.SMALL)[0][..., 1]) * 257)
    save(photos / "deep.png", deep)
    (photos / "x.png").mkdir()
    (photos / "away.png").symlink_to(photos / "gone.png")
    words = (photos, photos / "x.png", "missing.png", "--model", MODEL, "--out", out)
    return photos, out, command("segment", *words)


def test_broken_files_are_told_in_a_sentence_each_and_the_rest_is_done(heap):
    photos, out, (status, said, errors) = heap
    assert status == 1
    told = errors.strip().splitlines()
    summary = json.loads((out / "summary.json").read_text())
    assert sorted(told) == sorted(failed["sentence"] for failed in summary["failed"])
    wanted = {*(str(photos / name) for name in (*BROKEN, "away.png", "x.png")), "missing.png"}
    assert {failed["what"] for failed in summary["failed"]} == wanted
    for failed in summary["failed"]:
        assert failed["sentence"].startswith(failed["what"]) and len(failed["sentence"]) < 400
        assert "Traceback" not in failed["sentence"] and "0x" not in failed["sentence"]
    done = {Path(record["photo"]).name for record in summary["segmented"]}
    assert done == {*ODD, "deep.png"}
    assert said.splitlines()[-1] == f"{len(done)} segmented, {len(wanted)} failed"
    assert {p.name.split(".")[0] for p in out.iterdir()} == {n.split(".")[0] for n in done} | {
        "summary"
    }


def test_odd_files_have_labels_of_their_size(heap):
    _, out, _ = heap
    assert labels_of(out, "one").size == (1, 1) and labels_of(out, "line").size == (300, 1)
    plain = np.array(labels_of(out, "animation"))
    for name in ("grey", "deep", "palette"):
        assert labels_of(out, name).size == (129, 129)
        assert (np.array(labels_of(out, name)) == plain).mean() > 0.6


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(scene, tmp_path):
    path, _ = scene
    path.chmod(0)
    status, _, errors = command("segment", path, "--out", tmp_path / "out")
    assert status == 1 and errors.strip() == f"{path}: Permission denied"


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text(scene, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path / "odd-") + b"\xff.png"))
    odd.write_bytes(scene[0].read_bytes())
    for counted in ("1 segmented", "1 were there already"):
        status, said, _ = command("segment", odd, "--out", tmp_path / "out")
        assert status == 0 and counted in said.splitlines()[-1]


WORDS = {
    "model": (["--model", "v4"], "no checkpoint is called 'v4': there are .*v1-scenes"),
    "path": (["--model", "./none.safetensors"], "there is no none.json: a checkpoint is"),
    "pickle": (["--model", "./mine.pth"], "there is no mine.pth: expected the path of"),
    "scales": (["--scales", "0"], "scales 0: expected numbers from 0.1 to 10"),
    "overlap": (["--overlap", "900"], "overlap 900: expected 0 to 512 pixels, half of the tile"),
    "device": (["--device", "quantum"], "device 'quantum' is not there: expected auto, cpu"),
    "stride": (["--output-stride", "5"], "output_stride 5: expected 8, 16 or 32"),
}


@pytest.mark.parametrize("name", WORDS)
def test_wrong_choices_end_with_a_sentence(name, scene, tmp_path):
    flags, sentence = WORDS[name]
    status, said, _ = command("segment", scene[0], "--out", tmp_path / "out", *flags)
    assert status == 1 and re.fullmatch(f".*{sentence}.*", said.strip())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flag, value",
    [
        *(("--fuse", "median"), ("--tile", "3"), ("--threads", "-1"), ("--out", __file__)),
        ("--scales", "1;a"),
    ],
)
def test_wrong_flags_are_refused(flag, value, scene):
    result = CliRunner().invoke(app, ["segment", str(scene[0]), flag, value])
    assert result.exit_code == 2 and f"Invalid value for '{flag}'" in result.stderr
    if flag == "--scales":
        assert "'1;a' is no list of numbers: write them" in " ".join(result.stderr.split())


def test_help_names_the_networks_without_loading_torch():
    script = "import sys, deeplab_lite.workshop.cli as m; print(m.SHIPPED, 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.strip() == f"{checkpoints.names()} False"


# ---- Interrupted ---------------------------------------------------------------------------------


def child(photos, out):
    words = [sys.executable, "-m", "deeplab_lite", "segment", str(photos), "--out", str(out)]
    words += ["--model", MODEL]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    said = (out.parent / "said.txt").open("w")
    return subprocess.Popen(words, stdout=said, stderr=said, env=env, cwd=ROOT)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_what_was_interrupted_left_whole_files_and_goes_on(ended_by, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for seed in range(20):
        save(photos / f"{seed:02}.png", scenes.scene(seed, difficulty=scenes.SMALL)[0])
    process = child(photos, out)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.result.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(ended_by)
    status = process.wait(timeout=60)
    assert status == (130 if ended_by == signal.SIGINT else -signal.SIGKILL)
    for path in out.glob("[!.]*"):
        if path.suffix in (".png", ".jpg"):
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_text())
    done = len(list(out.glob("*.result.json")))
    assert 3 <= done < 20
    if ended_by == signal.SIGINT:
        assert "the same command goes on from here" in (tmp_path / "said.txt").read_text()
        assert json.loads((out / "summary.json").read_text())["interrupted"]
    (out / f".00.labels.png.{process.pid}").write_bytes(b"cut")  # as a kill can leave it
    _, said, _ = command("segment", photos, "--model", MODEL, "--out", out)
    assert said.splitlines()[-1] == f"{20 - done} segmented, {done} were there already"
    assert len(list(out.glob("*.labels.png"))) == 20 and not list(out.glob(".*"))


def test_a_full_disk_ends_the_run(scene, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write", full)
    with pytest.raises(OSError, match="No space left"):
        segment_photos([str(scene[0])], Settings(MODEL), tmp_path / "out", "cpu")
