"""Atrous convolution, and strides traded for it in a trained network. Taught in lesson 02.

`convolution`: one operation computed three ways. `gridding`: what a stack of rates reads, and what
falls off the map. `output_stride`: any strided network made dense with the same weights.
"""

from deeplab_lite.atrous.convolution import (
    atrous_by_interleaving,
    atrous_by_zeros,
    batch_to_space,
    dilate_kernel,
    effective_kernel,
    space_to_batch,
)
from deeplab_lite.atrous.gridding import ValidTaps, coverage, tap_counts, valid_taps
from deeplab_lite.atrous.output_stride import with_output_stride

__all__ = [
    "ValidTaps",
    "atrous_by_interleaving",
    "atrous_by_zeros",
    "batch_to_space",
    "coverage",
    "dilate_kernel",
    "effective_kernel",
    "space_to_batch",
    "tap_counts",
    "valid_taps",
    "with_output_stride",
]
