"""Any torch network: its exact receptive fields, and its strides traded for dilation.

A library of its own behind lessons 01 and 02: `fields` follows every tensor of a forward pass
(`tracker`) by one rule for each family of operations (`rules`), `brute_force` proves it right on
small inputs, `output_stride` makes a strided network dense with the same weights.
"""
