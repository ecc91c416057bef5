"""Networks as files that run without this package: ONNX and torch.export. Taught in lesson 09.

    >>> from deeplab_lite import export
    >>> export.onnx("v3plus-scenes", "v3plus.onnx")
    >>> export.compare("v3plus.onnx", "v3plus-scenes", images)

Such a file takes float32 images B x 3 x H x W, RGB from 0 to 1, and gives logits of the same size:
the network's own normalisation is inside, softmax and argmax are left to the caller. B, H and W are
free, as far as the network takes them. What else one must know to use it travels in the file as
metadata: class names, colours, which sides fit, licence. The command writes predict.py beside an
ONNX file: from photographs to masks without torch. Needs deeplab-lite[export].
"""

from deeplab_lite.workshop.export.formats import compare, load, onnx, pt2, read_card
from deeplab_lite.workshop.export.program import Deployed, sides
from deeplab_lite.workshop.export.script import script

__all__ = ["Deployed", "compare", "load", "onnx", "pt2", "read_card", "script", "sides"]
