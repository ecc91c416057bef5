"""For widgets that live in the page and ask the kernel for new scenes only: maps as short text."""

import base64
from typing import Any

import numpy as np
import traitlets

from deeplab_lite.classroom import draw
from deeplab_lite.classroom.widgets import _twin


def script(name: str) -> str:
    """The ES module of such a widget: common.js, NAME.js and live.js in one."""
    return _twin.script(name) + (_twin.HERE / "live.js").read_text("utf-8")


def sheet(name: str) -> str:
    """Its style sheet: common.css, NAME.css, live.css."""
    return _twin.sheet(name) + (_twin.HERE / "live.css").read_text("utf-8")


class Knocks(traitlets.HasTraits):
    """Mixin: `seed` is that of a scene, for which the script needs the kernel.

    The script asks whether one is there; `answer` is `ask` again if one is. A stored page has no
    one to answer, so controls that need the kernel stay off in it.
    """

    seed = traitlets.Int().tag(sync=True)
    ask = traitlets.Int().tag(sync=True)
    answer = traitlets.Int().tag(sync=True)

    @traitlets.observe("ask")
    def _answer(self, change: Any) -> None:
        self.answer = change["new"]

    @traitlets.validate("seed")
    def _check_seed(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < 2**32:
            raise ValueError(f"seed {proposal['value']}: expected a whole number in [0, 2^32)")
        return proposal["value"]


def text(data: bytes) -> str:
    """Bytes as base64, as a script reads them with atob."""
    return base64.b64encode(data).decode()


def url(picture: np.ndarray, colors: int | None = 192) -> str:
    """A picture as a data URL; `colors` as in `draw.png`."""
    return png_url(draw.png(picture, level=9, colors=colors))


def png_url(data: bytes) -> str:
    """The bytes of a PNG as a data URL."""
    return "data:image/png;base64," + text(data)


def runs(values: Any) -> str:
    """uint8 values, row by row, as base64 of pairs (value, how many times, up to 255).

    A label map of 129 x 129 takes some 2,000 characters instead of 22,000.
    """
    flat = np.asarray(values, np.uint8).ravel()
    starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(flat)), [flat.size]])
    pairs = bytearray()
    for first, length in zip(starts[:-1], np.diff(starts), strict=True):
        for done in range(0, int(length), 255):
            pairs += bytes([flat[first], min(255, int(length) - done)])
    return text(bytes(pairs))
