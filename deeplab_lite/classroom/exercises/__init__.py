"""Graders of the exercises: `from deeplab_lite.classroom import exercises as check`, then
`check.<name>(answer)`.

A grader says one of three things and never raises: not attempted yet (the stub still returns
`...`), a tick with what the answer shows, or a cross that names the misconception behind it.
A module for each lesson; `grading` is what they share.
"""

from deeplab_lite.classroom.exercises.lesson_00 import mean_iou
from deeplab_lite.classroom.exercises.lesson_01 import (
    energy_of_pixels,
    field_by_hand,
    thrifty_stack,
)
from deeplab_lite.classroom.exercises.lesson_02 import (
    dense_by_hand,
    rates_without_holes,
    traded_by_hand,
)
from deeplab_lite.classroom.exercises.lesson_03 import decimated_fc6, loss_on_map, training_step
from deeplab_lite.classroom.exercises.lesson_04 import (
    mean_field_step,
    settings_for_textures,
    what_a_vote_is_worth,
)
from deeplab_lite.classroom.exercises.lesson_05 import branch_fields, fused_scales, one_kernel
from deeplab_lite.classroom.exercises.lesson_06 import (
    dilations_and_rates,
    lasting_freeze,
    pyramid_by_hand,
)
from deeplab_lite.classroom.exercises.lesson_07 import (
    decoder_shapes,
    decoder_with_skips,
    merged_separable,
)
from deeplab_lite.classroom.exercises.lesson_08 import asked_again, paired_by_hand, pareto_front
from deeplab_lite.classroom.exercises.lesson_09 import (
    colours_to_classes,
    frozen_part,
    honest_split,
)

__all__ = [
    "asked_again",
    "branch_fields",
    "colours_to_classes",
    "decimated_fc6",
    "decoder_shapes",
    "decoder_with_skips",
    "dense_by_hand",
    "dilations_and_rates",
    "energy_of_pixels",
    "field_by_hand",
    "frozen_part",
    "fused_scales",
    "honest_split",
    "lasting_freeze",
    "loss_on_map",
    "mean_field_step",
    "mean_iou",
    "merged_separable",
    "one_kernel",
    "paired_by_hand",
    "pareto_front",
    "pyramid_by_hand",
    "rates_without_holes",
    "settings_for_textures",
    "thrifty_stack",
    "traded_by_hand",
    "training_step",
    "what_a_vote_is_worth",
]
