"""What widgets that ask the kernel have in common: when, how large, errors, the network's mode."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from ipywidgets.embed import dependency_state
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn

from deeplab_lite import scenes
from deeplab_lite.classroom.widgets import (
    ASPPExplorer,
    BoundaryMicroscope,
    CRFPlayground,
    FieldOnPhoto,
    OutputStrideLab,
    Playground,
    SegmentationViewer,
    _asked,
)
from deeplab_lite.models import DeepLabV2

KINDS = [OutputStrideLab, SegmentationViewer, CRFPlayground, Playground]
STATE = 300_000  # bytes of a notebook that shows the widget
TWIN = 120_000


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def widget(request):
    return request.param()


def slider(widget):
    """A control whose every step changes the picture."""
    return widget.sliders["sigma_rgb"] if isinstance(widget, CRFPlayground) else widget.alpha


def pictures(widget):
    return [image.value for image in getattr(widget, "images", None) or [widget.image]]


def test_a_fresh_one_is_small_and_tells_no_time(widget):
    state = json.dumps(dependency_state([widget]))
    assert len(state) < STATE and "Answered in" not in state and " ms" not in state


def test_it_carries_a_picture_and_a_sentence(widget):
    data, metadata = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert data["text/plain"] == metadata["image/png"]["alt"] == widget.alt()
    assert len(data["image/png"]) < TWIN
    twin = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))))
    assert twin.shape[:2] == widget.picture().shape[:2] and plt.get_fignums() == []


def test_a_burst_of_changes_makes_one_picture(widget, monkeypatch):
    control, shown, keep = slider(widget), [], type(widget)._show

    def show(self, colors):
        shown.append(control.value)
        keep(self, colors)

    monkeypatch.setattr(type(widget), "_show", show)
    values = [control.min + 5 * step * control.step for step in range(1, 4)]

    async def drag():
        for value in values:
            control.value = value
        assert shown == []
        await asyncio.sleep(0.01)

    before = pictures(widget)
    asyncio.run(drag())
    assert shown == [pytest.approx(values[-1])] and pictures(widget) != before
    assert widget.time is None or "Answered in" in widget.time.value


def test_with_no_event_loop_a_change_is_drawn_at_once(widget):
    before = pictures(widget)
    slider(widget).value -= 5 * slider(widget).step
    assert pictures(widget) != before


def test_what_goes_wrong_is_said_and_the_picture_stays(widget, monkeypatch):
    def broken(self, colors):
        raise MemoryError("2 GiB are needed & <1> is free")

    before, keep = pictures(widget), slider(widget).value
    with monkeypatch.context() as patch:
        patch.setattr(type(widget), "_show", broken)
        slider(widget).value = keep + slider(widget).step
    assert 'role="alert"' in widget.note.value and "&amp; &lt;1&gt; is free" in widget.note.value
    assert pictures(widget) == before and (widget.time is None or widget.time.value == "")
    slider(widget).value = keep - slider(widget).step
    assert "alert" not in widget.note.value and pictures(widget) != before


def test_a_hint_is_no_error(widget, monkeypatch):
    def nothing(self, colors):
        raise _asked.NothingYet("choose <one>")

    with monkeypatch.context() as patch:
        patch.setattr(type(widget), "_show", nothing)
        slider(widget).value += slider(widget).step
    assert widget.note.value == "<p>choose &lt;one&gt;</p>"
    slider(widget).value -= slider(widget).step


# ---- the network that is asked ----

ASKING = {
    "viewer": lambda network: SegmentationViewer(models={"mine": network}),
    "playground": lambda network: Playground(first="mine", second=None, models={"mine": network}),
    "microscope": lambda network: BoundaryMicroscope(models={"mine": network}, seeds=[7]),
    "ASPP explorer": lambda network: ASPPExplorer(model=network),
    "field on photo": lambda network: FieldOnPhoto(scenes.scene(7)[0], {"mine": network}),
}


@pytest.mark.parametrize("dropout", [False, True], ids=["eval", "dropout in train mode"])
@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_a_network_is_left_as_it_was(ask, dropout):
    network = DeepLabV2(9, rates=(1, 2), width=0.03, batch_norm=True, align_corners=True).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.train(dropout)

    def state():
        values = {name: value.tolist() for name, value in network.state_dict().items()}
        return values, [layer.training for layer in network.modules()], network.output_stride

    before = state()
    ask(network)
    assert state() == before
