"""The taps of several atrous branches at one position of an image. Lesson 05."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from deeplab_lite.classroom.draw.axes import _axes, show

Place = tuple[float, float]


class Branch(NamedTuple):
    """What one branch reads and sees from one position, in pixels."""

    name: str  # written on its taps: the rate
    taps: list[Place]  # (y, x) of those that meet the map
    field: tuple[tuple[int, int], tuple[int, int]]  # first and last row, first and last column


def pyramid_taps(
    image: Any, center: Place, branches: Iterable[Branch], ax: Any = None, *, title: str = ""
) -> Any:
    """An image with the taps of each branch around `center`, and what each sees as dashed frames.

    Taps bear the name of their branch; the one that all share is a dark dot.
    """
    ax = show(image, _axes(ax, 4.2, 4.2), title=title)
    from matplotlib.patches import Rectangle

    done = {tuple(center)}
    for branch in branches:
        (top, bottom), (left, right) = branch.field
        frame = ((left - 0.1, top - 0.1), right - left - 0.8, bottom - top - 0.8)
        for color, width, dashes in (("#404040", 1.6, "solid"), ("white", 0.9, (0, (4, 3)))):
            look: dict[str, Any] = {"ec": color, "lw": width, "ls": dashes}
            ax.add_patch(Rectangle(*frame, fill=False, **look))
        for y, x in branch.taps:
            if (y, x) not in done:
                ax.plot(x, y, "o", ms=9, mfc="white", mec="black", mew=0.6)
                text = {"ha": "center", "va": "center_baseline", "fontsize": 6.5}
                ax.text(x, y, branch.name, fontweight="bold", color="black", **text)
            done.add((y, x))
    ax.plot(center[1], center[0], "o", ms=5.5, mfc="black", mec="white", mew=1)
    return ax
