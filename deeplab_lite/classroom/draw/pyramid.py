"""The taps of several atrous branches at one position of an image. Lesson 05."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from deeplab_lite.classroom.draw.axes import _axes, show

Place = tuple[float, float]


class Branch(NamedTuple):
    """What one branch reads from one position, in pixels."""

    name: str  # written on its taps: the rate
    taps: list[Place]  # (y, x) of those that meet the map


def pyramid_taps(
    image: Any, center: Place, branches: Iterable[Branch], ax: Any = None, *, title: str = ""
) -> Any:
    """An image with the taps of each branch around `center`.

    Taps bear the name of their branch; the one that all share is a dark dot.
    """
    ax = show(image, _axes(ax, 4.2, 4.2), title=title)
    done = {tuple(center)}
    for branch in branches:
        for y, x in branch.taps:
            if (y, x) not in done:
                ax.plot(x, y, "o", ms=14, mfc="white", mec="black", mew=0.6)
                text = {"ha": "center", "va": "center_baseline", "fontsize": 8}
                ax.text(x, y, branch.name, fontweight="bold", color="black", **text)
            done.add((y, x))
    ax.plot(center[1], center[0], "o", ms=8, mfc="black", mec="white", mew=1)
    return ax
