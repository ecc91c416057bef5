"""Pictures: numbers in, picture out. Used by every lesson and every widget.

Functions of arrays return uint8 arrays. Functions that take `ax` draw on it, or on a new pyplot
figure, and return it: a lesson composes them, a widget renders them without pyplot's global state.
"""

from deeplab_lite.classroom.draw.architecture import Column, layer_chain, unit_on_image
from deeplab_lite.classroom.draw.arrays import heat, png, scale
from deeplab_lite.classroom.draw.axes import box, heat_bar, pixels, show, style
from deeplab_lite.classroom.draw.boundary import (
    band_errors,
    banded,
    boundary_segments,
    magnified,
    window,
)
from deeplab_lite.classroom.draw.classes import class_bars
from deeplab_lite.classroom.draw.comparison import (
    disagreement,
    disagreement_kinds,
    entropy,
    surprise,
)
from deeplab_lite.classroom.draw.crf_steps import change_kinds, changes, energy_chart
from deeplab_lite.classroom.draw.decoder import decoder_diagram
from deeplab_lite.classroom.draw.differences import CHANGES, DISAGREEMENT, ERRORS
from deeplab_lite.classroom.draw.family import FAMILY, family
from deeplab_lite.classroom.draw.front import front
from deeplab_lite.classroom.draw.ladder import ladder
from deeplab_lite.classroom.draw.legend import (
    LegendRow,
    class_rows,
    hex_color,
    kind_rows,
    kinds,
    legend,
    legend_html,
    scale_html,
    table_html,
    titles_html,
)
from deeplab_lite.classroom.draw.paired import paired
from deeplab_lite.classroom.draw.pyramid import Branch, pyramid_taps
from deeplab_lite.classroom.draw.rates import map_taps, score_table
from deeplab_lite.classroom.draw.segmentation import (
    doubt,
    error_kinds,
    errors,
    grey,
    strip,
)
from deeplab_lite.classroom.draw.taps import cone, tap_colors, tap_grid, tap_shade
from deeplab_lite.colors import COLORS, PALETTE, SCENE_PALETTE, checked, overlay, paint

__all__ = [
    "CHANGES",
    "COLORS",
    "DISAGREEMENT",
    "ERRORS",
    "FAMILY",
    "PALETTE",
    "SCENE_PALETTE",
    "Branch",
    "Column",
    "LegendRow",
    "band_errors",
    "banded",
    "boundary_segments",
    "box",
    "change_kinds",
    "changes",
    "checked",
    "class_bars",
    "class_rows",
    "cone",
    "decoder_diagram",
    "disagreement",
    "disagreement_kinds",
    "doubt",
    "energy_chart",
    "entropy",
    "error_kinds",
    "errors",
    "family",
    "front",
    "grey",
    "heat",
    "heat_bar",
    "hex_color",
    "kind_rows",
    "kinds",
    "ladder",
    "layer_chain",
    "legend",
    "legend_html",
    "magnified",
    "map_taps",
    "overlay",
    "paint",
    "paired",
    "pixels",
    "png",
    "pyramid_taps",
    "scale",
    "scale_html",
    "score_table",
    "show",
    "strip",
    "style",
    "surprise",
    "table_html",
    "tap_colors",
    "tap_grid",
    "tap_shade",
    "titles_html",
    "unit_on_image",
    "window",
]
