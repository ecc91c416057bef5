"""On the path of training processes, so that they find no torchmetrics, as after `make lab`.

Fabric imports it wherever it is, which takes longer than the training itself.
"""

raise ImportError("tests/absent stands in the way of torchmetrics")
