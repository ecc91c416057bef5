"""Output-stride lab: every state has its picture, every wrong word its answer."""

import asyncio
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deeplab_lite import photos
from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import OutputStrideLab
from deeplab_lite.classroom.widgets import output_stride_lab as lab
from deeplab_lite.classroom.widgets.output_stride_lab import State


def shown(widget):
    return np.asarray(Image.open(io.BytesIO(widget.image.value)).convert("RGB"))


@pytest.fixture(scope="module")
def widget():
    return OutputStrideLab()


@pytest.fixture(autouse=True)
def start_from_chelsea(widget):
    widget.photo.value = "coffee"  # so that the words are taken anew
    widget.photo.value = "chelsea"
    widget.stride.value, widget.alpha.value = 32, 0.85
    widget.smooth.value = widget.stretch.value = False


@pytest.fixture(scope="module", params=lab.SUGGESTED)
def photo(request):
    """All tests of one photograph, then those of the next: the lab keeps the maps of two."""
    return request.param


def test_every_state_has_a_picture_of_its_own(photo):
    image, seen = lab.cropped(photo), set()
    for stride in lab.STRIDES:
        for word in lab.SUGGESTED[photo]:
            for smooth, stretch in ((False, False), (True, False), (False, True)):
                frame = lab.frame(State(photo, word, stride, 0.85, smooth, stretch))
                assert frame.dtype == np.uint8 and frame.shape == image.shape
                # Colour where the class is found, and the grey photograph elsewhere.
                colourful = np.ptp(frame.astype(int), axis=2) > 60
                assert 0.002 < colourful.mean() < 0.75
                seen.add(frame.tobytes())
    assert len(seen) == 9 * len(lab.SUGGESTED[photo])


def test_pictures_of_all_photographs_stay_small(photo):
    for stride in lab.STRIDES:
        picture = lab.picture(State(photo, lab.SUGGESTED[photo][0], stride))
        assert picture.shape[1] == 560
        assert len(draw.png(picture, level=9, colors=OutputStrideLab.colors)) < 120_000


def test_photographs_are_those_of_the_package():
    assert list(lab.SUGGESTED) == photos.photo_names()


@pytest.mark.parametrize("stride", lab.STRIDES)
def test_a_cell_is_centred_on_its_position(monkeypatch, stride):
    """One bright position: its cell reaches from half a stride before its pixel to half after."""
    monkeypatch.setattr(lab, "_probabilities", lambda photo, stride: one_hot)
    height, width = ((n - 1) // stride + 1 for n in (289, 449))
    one_hot = torch.zeros(1000, height, width)
    one_hot[photos.class_indices("espresso")[0], 3, 5] = 1
    state = State("chelsea", "espresso", stride, 1.0)
    frame = lab.frame(state)
    rows, columns = np.nonzero(np.ptp(frame.astype(int), axis=2))
    half = stride // 2
    assert (rows.min(), rows.max()) == (3 * stride - half, 3 * stride + half - 1)
    assert (columns.min(), columns.max()) == (5 * stride - half, 5 * stride + half - 1)
    smooth = lab.frame(state._replace(smooth=True)).astype(int)
    reach = np.nonzero(np.ptp(smooth, axis=2))
    assert abs(reach[0].min() + reach[0].max() - 6 * stride) <= 1
    assert abs(reach[1].min() + reach[1].max() - 10 * stride) <= 1


def test_strength_zero_is_the_grey_photograph():
    frame = lab.frame(State("coffee", "coffee", 32, 0.0)).astype(int)
    assert np.ptp(frame, axis=2).max() == 0


def test_stretching_gives_the_highest_probability_the_brightest_colour():
    plain, stretched = (lab.frame(State("chelsea", "tiger cat", 8, 1.0, False, s)) for s in (0, 1))
    brightest = draw.scale(1.0)[0, -1]
    assert (stretched == brightest).all(2).any() and not (plain == brightest).all(2).any()


def test_the_sentence_counts_positions_on_the_photograph():
    state = State("chelsea", "cat", 32)
    probabilities = photos.dense_probabilities(photos.photo("chelsea")[:289, :449], 32)
    wins = torch.isin(probabilities.argmax(0), torch.tensor(photos.class_indices("cat")[0]))
    assert f"at {wins.sum()} of 150 positions" in lab.describe(state)


def test_the_table_says_what_each_stride_costs():
    rows = lab.costs("chelsea")
    assert [row[:2] for row in rows] == [("32", "10 × 15"), ("16", "19 × 29"), ("8", "37 × 57")]
    assert rows[0][2:] == ("1.3 G (1.0×)", "73 MB (1.0×)")
    assert rows[2][2:] == ("9.9 G (7.7×)", "221 MB (3.0×)")


def test_every_control_changes_the_picture(widget):
    for control, value in (
        (widget.stride, 8),
        (widget.word, "bow tie"),
        (widget.other, "lynx"),
        (widget.alpha, 0.4),
        (widget.smooth, True),
        (widget.stretch, True),
        (widget.photo, "motorcycle"),
    ):
        image, note = widget.image.value, widget.note.value
        control.value = value
        assert widget.image.value != image, control.description
        assert control in (widget.alpha, widget.smooth) or widget.note.value != note
        assert np.array_equal(shown(widget), lab.frame(widget.state))


def test_a_photograph_brings_its_own_classes(widget):
    widget.other.value = "lynx"
    assert widget.state.class_name == "lynx"
    widget.photo.value = "motorcycle"
    assert widget.state.class_name == "motorbike" and widget.other.value == ""
    assert widget.word.options == lab.SUGGESTED["motorcycle"]
    widget.other.value = "crate"
    widget.word.value = "disk brake"
    assert widget.state.class_name == "disk brake"


def test_a_mistyped_class_is_answered_in_the_widget(widget):
    before = widget.image.value
    widget.other.value = "espreso <b>"
    assert 'role="alert"' in widget.note.value and "espresso" in widget.note.value
    assert "&lt;b&gt;" in widget.note.value and widget.image.value == before
    widget.other.value = "espresso"
    assert "alert" not in widget.note.value and widget.image.value != before


def test_the_state_is_told(widget):
    widget.stride.value = 8
    assert widget.alt().startswith(
        "Photograph “chelsea”. At output stride 8, “cat” is the likeliest"
    )


def test_a_wait_is_told(widget):
    async def choose():
        widget.stride.value = 8
        assert widget.note.value.startswith("<p>Computing … At output stride 32")
        await asyncio.sleep(0.01)

    asyncio.run(choose())
    assert widget.note.value.startswith("<p>At output stride 8")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"photo": "chelsae"}, "no photograph is called 'chelsae': did you mean 'chelsea'"),
        ({"class_name": "tabbycat"}, "no class is called 'tabbycat'"),
        ({"output_stride": 4}, "output_stride 4: expected 8, 16 or 32"),
        ({"alpha": 2}, "alpha 2 is not between 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        OutputStrideLab(**arguments)


def test_any_class_may_be_asked_for_at_once():
    widget = OutputStrideLab("coffee", "soup bowl", 16, 0.5, True, True)
    assert widget.state == State("coffee", "soup bowl", 16, 0.5, True, True)
    assert widget.other.value == "soup bowl"


# ---- What density costs ----


@pytest.mark.parametrize("stride", lab.STRIDES)
def test_the_cost_is_that_of_every_convolution(stride):
    dense = photos.dense_classifier(stride)
    adds = kept = 0

    def count(layer, inputs, output):
        nonlocal adds, kept
        adds += layer.weight[0].numel() * output.numel()
        kept += output.numel() * output.element_size()

    hooks = [m.register_forward_hook(count) for m in dense.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        dense(torch.zeros(1, 3, 97, 129))
    for hook in hooks:
        hook.remove()
    assert lab.dense_cost((97, 129), stride) == (adds, kept)


def test_what_a_denser_map_costs_on_chelsea():
    coarse, middle, fine = (lab.dense_cost((289, 449), stride) for stride in lab.STRIDES)
    assert round(middle.multiply_adds / coarse.multiply_adds, 1) == 2.2
    assert round(fine.multiply_adds / coarse.multiply_adds, 1) == 7.7
    assert round(fine.activations / coarse.activations, 1) == 3.0
