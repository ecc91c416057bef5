"""Pictures: numbers in, picture out. Used by every lesson and every widget.

Functions of arrays return uint8 arrays. Functions that take `ax` draw on it, or on a new pyplot
figure, and return it: a lesson composes them, a widget renders them without pyplot's global state.
"""

from .architecture import Column, layer_chain, unit_on_image
from .arrays import COLORS, PALETTE, SCENE_PALETTE, VOID, checked, heat, overlay, paint, png
from .aspp import Branch, pyramid_taps
from .axes import box, pixels, show, style
from .boundary import band_errors, banded, boundary_segments, magnified, window
from .classes import class_bars
from .comparison import DISAGREEMENT, disagreement, disagreement_kinds, entropy, surprise
from .family import FAMILY, family
from .ladder import ladder
from .mean_field import CHANGES, change_kinds, changes, energy_chart
from .rates import map_taps, score_table
from .segmentation import ERRORS, doubt, error_kinds, errors, grey, strip
from .taps import cone, tap_colors, tap_grid, tap_shade

__all__ = [
    "CHANGES",
    "COLORS",
    "DISAGREEMENT",
    "ERRORS",
    "FAMILY",
    "PALETTE",
    "SCENE_PALETTE",
    "VOID",
    "Branch",
    "Column",
    "band_errors",
    "banded",
    "boundary_segments",
    "box",
    "change_kinds",
    "changes",
    "checked",
    "class_bars",
    "cone",
    "disagreement",
    "disagreement_kinds",
    "doubt",
    "energy_chart",
    "entropy",
    "error_kinds",
    "errors",
    "family",
    "grey",
    "heat",
    "ladder",
    "layer_chain",
    "magnified",
    "map_taps",
    "overlay",
    "paint",
    "pixels",
    "png",
    "pyramid_taps",
    "score_table",
    "show",
    "strip",
    "style",
    "surprise",
    "tap_colors",
    "tap_grid",
    "tap_shade",
    "unit_on_image",
    "window",
]
