"""Receptive fields: the recurrence, any network's exact field, brute force, the effective field.

Taught in lesson 01. Pixels are counted from 0. Unit u of a map of stride S, padding P and size r
covers the pixels [u S - P, u S - P + r - 1]; those before 0 and past the picture's end are padding.
"""

from deeplab_lite.receptive_field.chain import Field1D, Layer, chain
from deeplab_lite.receptive_field.exact import ReceptiveField, receptive_fields
from deeplab_lite.receptive_field.measured import brute_force, effective_receptive_field

__all__ = [
    "Field1D",
    "Layer",
    "ReceptiveField",
    "brute_force",
    "chain",
    "effective_receptive_field",
    "receptive_fields",
]
