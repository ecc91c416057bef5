"""Own pictures: every mode and kind of file as it is meant to be seen, or one clear sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from deeplab_lite import image_files
from deeplab_lite.image_files import read

RED, BLUE = (230, 40, 30), (20, 60, 220)
GREY = image_files.GREY


def file(image, kind="PNG", **options):
    """The bytes of an image file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def halves(mode="RGB", size=(8, 4), left=RED, right=BLUE):
    """Left half and right half in two colours."""
    image = Image.new(mode, size, right)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image


def near(color, expected, by=3):
    return np.abs(np.subtract(color, expected)).max() <= by


def png(width, height, bits, rows, color=2):
    """A PNG of colours from its rows, each with a byte 0 before it."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")


# ---- Modes ----

GREYS = [(0, 0, 0), (255, 255, 255)]


def transparent(mode, kind="PNG", **options):
    """Left half opaque, right half clear."""
    image = halves("RGBA", left=(*RED, 255), right=(0, 255, 0, 0)).convert(mode)
    return file(image, kind, **options)


def of_numbers(values, kind="PNG"):
    return file(Image.fromarray(np.repeat(np.array(values), 4, 1)), kind)


CASES = {
    "1": (file(halves("1", left=0, right=1)), *GREYS),
    "L": (file(halves("L", left=10, right=200)), (10,) * 3, (200,) * 3),
    "LA": (file(halves("LA", left=(10, 255), right=(200, 0))), (10,) * 3, GREY),
    "P": (file(halves().quantize(4)), RED, BLUE),
    "P, a clear entry": (
        file(halves().quantize(2), transparency=halves().quantize(2).getpixel((7, 0))), RED, GREY,
    ),
    "P from GIF": (file(halves(), "GIF"), RED, BLUE),
    "RGB": (file(halves()), RED, BLUE),
    "RGB, a clear colour": (file(halves(), transparency=BLUE), RED, GREY),
    "RGBA": (transparent("RGBA"), RED, GREY),
    "RGBA, half clear": (
        file(Image.new("RGBA", (4, 4), (255, 255, 255, 128))), (192,) * 3, (192,) * 3,
    ),
    "CMYK": (file(halves().convert("CMYK"), "TIFF"), RED, BLUE),
    "CMYK from JPEG": (file(halves(size=(32, 16)).convert("CMYK"), "JPEG"), RED, BLUE),
    "YCbCr": (file(halves(size=(32, 16)), "JPEG", quality=95), RED, BLUE),
    "I;16": (of_numbers(np.uint16([[0, 65535]] * 4)), *GREYS),
    "I;16 TIFF": (of_numbers(np.uint16([[0, 32768]] * 4), "TIFF"), (0,) * 3, (128,) * 3),
    "12 bits of 16": (of_numbers(np.uint16([[0, 4095]] * 4)), *GREYS),
    "I": (of_numbers(np.int32([[-5, 100_000]] * 4), "TIFF"), *GREYS),
    "F, 0 to 1": (of_numbers(np.float32([[0, 0.5]] * 4), "TIFF"), (0,) * 3, (128,) * 3),
    "F, 0 to 255": (of_numbers(np.float32([[0, 51]] * 4), "TIFF"), (0,) * 3, (51,) * 3),
    "F, any": (of_numbers(np.float32([[-3, 900]] * 4), "TIFF"), *GREYS),
    "F, NaN": (of_numbers(np.float32([[np.nan, 1]] * 4), "TIFF"), *GREYS),
    "F, no data": (of_numbers(np.float32([[-9999, 1]] * 4), "TIFF"), *GREYS),
    "F, far from 0": (of_numbers(np.float32([[500, 900]] * 4), "TIFF"), *GREYS),
    "PPM of 16 bits": (b"P6 2 1 65535\n" + bytes([255, 255] * 3 + [0, 0] * 3), *GREYS[::-1]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_mode_is_seen_as_it_is_meant(case):
    data, left, right = CASES[case]
    image = read(data).image
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    by = 12 if "JPEG" in case or case == "YCbCr" else 3
    assert near(image[0, 0], left, by)
    assert near(image[-1, -1], right, by)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "ICO", "PPM", "TGA", "JPEG2000"]
)
def test_kinds_of_files(kind):
    photo = read(file(halves(size=(48, 32)), kind))
    width, height = (32, 21) if kind == "ICO" else (48, 32)  # ICO has square sizes of its own
    assert photo.source == f"{kind}, {width} x {height}" or kind in ("ICO",)
    assert near(photo.image[10, 4], RED, 8) and near(photo.image[10, -5], BLUE, 8)


def test_16_bits_say_how_they_were_scaled():
    assert read(CASES["I;16"][0]).changes == ("16 bits scaled to 8",)
    assert read(CASES["12 bits of 16"][0]).changes == ("12 bits scaled to 8",)
    assert read(CASES["F, any"][0]).changes == ("-3..900 stretched to 8 bits",)


SIX = np.array([[0, 1000, 2048], [4095, 300, 77]], np.uint16)  # of 12 bits


def colours_of_16_bits(kind, values=SIX, **options):
    """The bytes of a file of 2 x 1 pixels."""
    if kind == "PNG":
        return png(2, 1, 16, b"\0" + values.astype(">u2").tobytes())
    out, pixels = io.BytesIO(), values[None]
    if options.get("planarconfig") == "separate":
        pixels = pixels.transpose(2, 0, 1)
    pytest.importorskip("tifffile").imwrite(out, pixels, photometric="rgb", **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"byteorder": ">"}),
        ("TIFF", {"compression": "zlib"}),
        ("TIFF", {"compression": "zlib", "byteorder": ">"}),
        ("TIFF", {"planarconfig": "separate"}),
        ("TIFF", {"planarconfig": "separate", "byteorder": ">"}),
        ("TIFF", {"planarconfig": "separate", "compression": "zlib"}),
    ],
)
def test_colours_of_12_bits_in_16_are_scaled_as_grey_is(kind, options):
    photo = read(colours_of_16_bits(kind, **options))
    assert (photo.image[0] == np.rint(SIX * (255 / 4095))).all()
    assert photo.changes == ("12 bits scaled to 8",)


def test_colours_of_all_16_bits_are_not_stretched():
    photo = read(colours_of_16_bits("PNG", SIX * 8))
    assert near(photo.image[0], SIX // 32, 1) and photo.changes == ()


def test_no_data_in_colours_does_not_hide_their_12_bits():
    tags = [(42113, "s", 0, "65535", True)]
    values = np.where(SIX == 0, np.uint16(65535), SIX)
    photo = read(colours_of_16_bits("TIFF", values, extratags=tags))
    assert (photo.image[0] == np.rint(SIX * (255 / 4095))).all()


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_grey_of_12_bits_beside_alpha_is_scaled(opaque):
    """Alpha of as many bits hides nothing where it is largest."""
    values = np.array([[0, opaque], [1000, opaque], [4095, opaque]], ">u2")
    photo = read(png(3, 1, 16, b"\0" + values.tobytes(), color=4))
    assert photo.image[0, :, 0].tolist() == [0, 62, 255]
    assert photo.changes == ("12 bits scaled to 8",)


def test_a_picture_that_is_clear_all_over_is_shown():
    clear = Image.fromarray(np.full((2, 3, 4), (200, 100, 50, 0), np.uint8))
    photo = read(file(clear))
    assert (photo.image == (200, 100, 50)).all()
    assert photo.changes == ("its alpha, 0 everywhere, left out",)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (np.zeros((4, 5, 6), np.uint8), "rgb", "3 of its 6 bands left out"),
        (np.zeros((4, 5, 2), np.uint8), "minisblack", "1 of its 2 bands left out"),
        (
            np.array([[0, 4_000_000_000]], np.uint32),
            "minisblack",
            "0..4e+09 stretched to 8 bits",
        ),
    ],
)
def test_what_a_tiff_has_more_is_told(values, kind, words):
    out, options = io.BytesIO(), {"photometric": kind}
    options |= {"planarconfig": "contig"} if values.ndim > 2 else {}
    pytest.importorskip("tifffile").imwrite(out, values, **options)
    assert read(out.getvalue()).changes == (words,)


def test_colours_of_12_bits_keep_their_alpha():
    values = np.concatenate([SIX, [[0], [65535]]], 1).astype(">u2")
    photo = read(png(2, 1, 16, b"\0" + values.tobytes(), color=6))
    assert photo.image[0].tolist() == [[128] * 3, np.rint(SIX[1] * (255 / 4095)).tolist()]
    assert photo.changes[0] == "12 bits scaled to 8"


@pytest.mark.parametrize("mark", ["assocalpha", "unassalpha", "unspecified"])
def test_a_fourth_band_leaves_the_others_as_they_are(mark):
    """However it is marked; Pillow divides by what it takes for alpha."""
    values, out = np.array([[[200, 100, 50, 0]]], np.uint8), io.BytesIO()
    pytest.importorskip("tifffile").imwrite(out, values, photometric="rgb", extrasamples=[mark])
    assert read(out.getvalue()).image[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("empty, tag", [(-9999, None), (3.4e38, None), (-1, "-1")])
def test_what_was_not_measured_does_not_stretch_the_rest(empty, tag):
    values, out = np.array([[empty, 0, 1]], np.float32), io.BytesIO()
    tags = [(42113, "s", 0, tag, True)] if tag else []
    pytest.importorskip("tifffile").imwrite(out, values, extratags=tags)
    assert read(out.getvalue()).image[0, :, 0].tolist() == [0, 0, 255]


RAMP = np.linspace(0, 1, 256).reshape(16, 16)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.float64(RAMP), "0..1 scaled to 8 bits"),  # as skimage writes by default
        (np.float16(RAMP), "0..1 scaled to 8 bits"),
        (np.float32(1.0001 * RAMP), "0..1 stretched to 8 bits"),  # as resampling leaves it
        (np.uint16(8000 + 1000 * RAMP), "8000..9000 stretched to 8 bits"),  # 14 bits: 16 levels
        (np.int8(100 * RAMP - 50), "-50..50 stretched to 8 bits"),
        (np.where(RAMP < 0.25, np.nan, RAMP).astype(np.float32), "0..1 scaled to 8 bits, black "
         "where it has no value (25.0%)"),
    ],
)  # fmt: skip
def test_grey_of_any_number_keeps_its_order_and_its_contrast(values, words):
    out = io.BytesIO()
    pytest.importorskip("tifffile").imwrite(out, values)
    photo = read(out.getvalue())
    grey = photo.image[..., 0].ravel().astype(int)
    assert photo.changes == (words,)
    assert (np.diff(grey) >= 0).all() and grey[0] == 0 and grey[-1] == 255
    assert len(np.unique(grey)) >= 0.75 * len(np.unique(values))


def test_bands_of_floats_are_colours():
    out, colour = io.BytesIO(), np.array([[[1, 0.5, 0]]])
    pytest.importorskip("tifffile").imwrite(out, colour, photometric="rgb")
    assert read(out.getvalue()).image.tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_where_0_is_white_it_comes_out_white(kind):
    out, values = io.BytesIO(), np.array([[0, np.iinfo(kind).max]], kind)
    pytest.importorskip("tifffile").imwrite(out, values, photometric="miniswhite")
    assert read(out.getvalue()).image[0, :, 0].tolist() == [255, 0]


def test_a_tiffs_fourth_band_is_no_transparency():
    """Often near infrared, which programs mark as alpha."""
    data = transparent("RGBA", kind="TIFF")
    photo = read(data)
    assert near(photo.image[0, 0], RED) and near(photo.image[0, -1], (0, 255, 0))
    assert photo.changes == ("its fourth band left out",)


def test_nor_is_the_second_band_of_a_grey_tiff():
    photo = read(file(Image.new("LA", (4, 4), (200, 10)), "TIFF"))
    assert (photo.image == 200).all() and photo.changes == ("1 of its 2 bands left out",)


def test_clear_pixels_do_not_bleed_into_a_shrunk_picture():
    """Their hidden colour is green: nothing green may come out."""
    image = read(transparent("RGBA"), largest=3).image.astype(int)
    assert (image[..., 1] <= 128).all()


def profile(space):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


@pytest.mark.parametrize("given_profile", [b"no profile", profile("LAB"), profile("sRGB")])
def test_a_colour_profile_that_says_nothing_new_changes_nothing(given_profile):
    """Broken, of another kind of colour, or the one that screens have anyway."""
    assert near(read(file(halves(), icc_profile=given_profile)).image[0, 0], RED, 2)


def test_a_colour_profile_is_followed():
    """One with red and blue exchanged: the profile says that the first channel is blue."""
    tags = bytearray(profile("sRGB"))
    count = int.from_bytes(tags[128:132], "big")
    at = {bytes(tags[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    red, blue = at[b"rXYZ"], at[b"bXYZ"]
    tags[red : red + 4], tags[blue : blue + 4] = b"bXYZ", b"rXYZ"
    image = read(file(halves(), icc_profile=bytes(tags))).image
    assert near(image[0, 0], RED[::-1], 6) and near(image[0, -1], BLUE[::-1], 6)


# ---- Sizes ----


@pytest.mark.parametrize(
    "size, largest, expected",
    [
        ((1, 1), 129, (1, 1)),
        ((129, 40), 129, (129, 40)),
        ((4000, 3000), 129, (129, 97)),
        ((30, 5000), 129, (1, 129)),
        ((5000, 1), 129, (129, 1)),
        ((300, 300), 1, (1, 1)),
    ],
)
def test_only_larger_pictures_are_shrunk(size, largest, expected):
    photo = read(file(Image.new("RGB", size, RED)), largest)
    assert photo.image.shape == (*expected[::-1], 3) and near(photo.image.mean((0, 1)), RED)
    shrunk = f"shrunk to {expected[0]} x {expected[1]}"
    assert photo.changes == ((shrunk,) if size != expected else ())
    assert str(photo) == ", ".join((f"PNG, {size[0]} x {size[1]}", *photo.changes))


@given(
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 100), st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_mode_size_and_orientation(mode, width, height, largest, orientation):
    image = Image.new(mode, (width, height))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = read(file(image, exif=exif), largest).image
    if orientation > 4:
        width, height = height, width
    share = min(1, largest / max(width, height))
    assert found.dtype == np.uint8 and found.shape[2] == 3
    for there, side in zip(found.shape[:2], (height, width), strict=True):
        assert abs(there - max(1, share * side)) < 1 and 1 <= there <= largest


# ---- EXIF, frames ----


STORED = {  # EXIF's orientation: how the file holds an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_a_turned_picture_is_turned_back(orientation, kind):
    """The file holds the picture as EXIF says that it was turned; red is up and left again."""
    upright = Image.new("RGB", (48, 32), BLUE)
    upright.paste(RED, (0, 0, 24, 16))
    turn = STORED.get(orientation)
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = read(file(stored, kind, exif=exif)).image
    assert found.shape == (32, 48, 3)
    assert near(found[4, 4], RED, 12)
    assert all(near(found[y, x], BLUE, 12) for y, x in ((4, 44), (28, 4), (28, 44)))


def test_damaged_exif_does_not_matter():
    data = file(halves(size=(32, 16)), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
    assert read(data).image.shape == (16, 32, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, BLUE, BLUE)]
    data = file(frames[0], kind, save_all=True, append_images=frames[1:])
    photo = read(data)
    assert near(photo.image[8, 8], RED, 8) and photo.changes == ("its first frame",)


def test_two_pictures_of_one_camera_file_are_one_photograph():
    data = file(halves(), "MPO", save_all=True, append_images=[halves()])
    assert read(data).source == "JPEG, 8 x 4" and read(data).changes == ()


# ---- Where it comes from ----


def test_a_path_reads_as_its_bytes(tmp_path):
    path = tmp_path / "two.png"
    path.write_bytes(file(halves()))
    expected = read(path.read_bytes())
    for given_path in (path, str(path)):
        assert np.array_equal(read(given_path).image, expected.image)
    assert np.array_equal(read(memoryview(path.read_bytes())).image, expected.image)


def bomb(width, height):
    """A PNG of that size in some bytes: its head, and next to no data."""
    return png(width, height, 8, b"")


SENTENCES = {
    "empty": (b"", "this file is not an image that can be read here: save it as JPEG, PNG"),
    "no value": (of_numbers(np.full((2, 2), np.nan, np.float32), "TIFF"), "none of its pixels"),
    "text": (b"hello, this is no picture", "not an image that can be read here"),
    "svg": (b"<?xml version='1.0'?><svg></svg>", "not an image that can be read here"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "not an image that can be read here"),
    "eps": (file(halves(), "EPS"), "not an image that can be read here"),
    "tiff": (
        b"II*\0\x08\0\0\0" + bytes(40),
        "TIFF whose bands .* save it with 8 bits.*red, green and blue",
    ),
    "truncated": (file(halves(size=(90, 90)))[:90], "cannot be decoded .*damaged or cut short"),
    "half a JPEG": (file(halves(size=(900, 900)), "JPEG")[:3000], "cannot be decoded .*truncated"),
    "no data": (bomb(3, 3), "cannot be decoded .*damaged or cut short"),
    "zero": (bomb(0, 3), "cannot be decoded|not an image"),
    "large": (bomb(9000, 9000), "more than 50 million pixels: save it smaller"),
    "bomb": (bomb(60_000, 60_000), "more than 50 million pixels: save it smaller"),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_what_is_no_picture_is_told_in_one_sentence(case):
    data, words = SENTENCES[case]
    with pytest.raises(ValueError, match=words) as caught:
        read(data)
    message = str(caught.value)
    assert "\n" not in message and "0x" not in message and len(message) < 250


def test_paths_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read(tmp_path / "none.png")
    with pytest.raises(OSError, match=str(tmp_path)):
        read(str(tmp_path))


def test_a_large_jpeg_is_decoded_small(monkeypatch):
    """So that a camera's 100 million pixels need not fit into memory."""
    monkeypatch.setattr(image_files, "MAX_PIXELS", 400 * 400)
    assert read(file(halves(size=(1600, 1200)), "JPEG"), 129).image.shape == (97, 129, 3)
    with pytest.raises(ValueError, match="million pixels"):
        read(file(halves(size=(1600, 1200)), "PNG"), 129)


WHOLE = {kind: file(halves(size=(40, 30)), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP")}


@given(st.sampled_from(sorted(WHOLE)), st.data())
@settings(max_examples=120, deadline=None)
def test_any_damage_gives_a_picture_or_a_sentence(kind, data):
    whole = bytearray(WHOLE[kind])
    cut = data.draw(st.integers(1, len(whole)))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read(bytes(whole[:cut]), 64).image
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and max(image.shape[:2]) <= 64


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=80, deadline=None)
def test_any_bytes_give_a_picture_or_a_sentence(data):
    try:
        assert read(data, 64).image.ndim == 3
    except ValueError as error:
        assert "\n" not in str(error)
