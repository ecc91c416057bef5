"""Any torch network: its exact receptive fields, and its strides traded for dilation.

A library of its own behind lessons 01 and 02: `fields` follows every tensor of a forward pass
(`tracker`) by one rule for each family of operations (`windows`, `rules`), `brute_force` proves it
right on small inputs, `output_stride` makes a strided network dense with the same weights: by
dilation (`dense_layers`), and by `phases` where an operation cannot be dilated. Both look at copies
(`twins`); `input_shape` finds out what a network wants to be given.
"""
