"""What all widgets share: a picture of the same state for where no widget runs, and one style."""

import base64
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from deeplab_lite.classroom import draw

HERE = Path(__file__).parent


class Twin:
    """Mixin, named before the widget class: GitHub, a PDF or an untrusted notebook shows `picture`.

    The widget's mimebundle then carries image/png (with alt text in its metadata) and a sentence as
    text/plain beside the live view; JupyterLab prefers the live view wherever it can run.
    """

    colors = 128  # of the saved PNG

    def picture(self) -> np.ndarray:
        """uint8 (H, W, 3): what the widget shows in its present state. Each widget has its own."""
        raise NotImplementedError(f"{type(self).__name__} draws no picture of its state")

    def alt(self) -> str:
        """A title and the numbers of the picture; where a script runs, it says the sentence."""
        raise NotImplementedError(f"{type(self).__name__} has no alt text")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]
        if bundle is None:  # a widget that has been closed
            return None
        # anywidget returns data and metadata, the boxes of ipywidgets data alone
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        array = self.picture()
        code = base64.b64encode(draw.png(array, level=9, colors=self.colors)).decode()
        size = {"width": array.shape[1], "height": array.shape[0]}
        data = {**data, "text/plain": self.alt(), "image/png": code}
        return data, {**metadata, "image/png": {"alt": self.alt(), **size}}


def one_of(name: str, value: Any, known: Iterable[Any]) -> Any:
    """The value. Raises ValueError for one that is not known."""
    known = list(known)
    if value not in known:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(map(str, known))}")
    return value


def script(name: str) -> str:
    """The ES module of a widget: common.js and NAME.js in one, since a widget ships as one file."""
    own = (HERE / f"{name}.js").read_text("utf-8")
    head, brace, body = own.partition(' from "./common.js";\n')
    if not brace or not head.lstrip().startswith("import {"):
        raise ValueError(f"{name}.js: expected an import from './common.js' as its first statement")
    return (HERE / "common.js").read_text("utf-8") + body


def sheet(name: str) -> str:
    """The style sheet of a widget: common.css, then NAME.css."""
    return "".join((HERE / f"{part}.css").read_text("utf-8") for part in ("common", name))


def figure(width: float, height: float) -> Any:
    """A matplotlib figure of that many inches at 100 dpi, unknown to pyplot: no cell shows it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def headline(fig: Any, text: str, size: float = 10) -> None:
    """Write a text above the whole figure, wrapped to its width; `size` in points."""
    characters = int(1.75 * fig.get_figwidth() * 72 / size)
    fig.suptitle(fill(text, characters), fontsize=size, x=0.01, ha="left")
