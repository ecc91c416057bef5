"""A network as a graph: normalisation inside, free sides, 8-bit integers. Taught in lesson 09."""

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from deeplab_lite import checkpoints
from deeplab_lite.sizes import check_size, extra_of

Model = nn.Module | str | Path
Size = tuple[int, int]  # height, width


class Deployed(nn.Module):
    """A network with its normalisation before it: images in [0, 1] to logits of their size."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits = self.network(2 * image - 1)  # as scenes.normalize
        return logits["out"] if isinstance(logits, dict) else logits


def deployed(model: Model) -> Deployed:
    """In eval mode, float32, on the CPU; a network that is given is left as it is."""
    network = copy.deepcopy(model) if isinstance(model, nn.Module) else checkpoints.load(model)
    return Deployed(network.to("cpu", torch.float32)).eval()


def sides(network: Any) -> tuple[int, int]:
    """(s, e): a network takes sides of k s + e pixels; exported ones, k of 2 or more.

    Raises ValueError for a module that is not a network of this package.
    """
    stride = getattr(network, "output_stride", None)
    if not isinstance(stride, int):
        raise ValueError(
            f"a {type(network).__name__} has no output_stride: expected a network of "
            "deeplab_lite.models, or the name of a checkpoint"
        )
    return stride, extra_of(network)


@torch.no_grad()
def program(
    whole: Deployed, size: Size | None = None, int8: Iterable[np.ndarray] | None = None
) -> ExportedProgram:
    """The graph of a network, for batches of any length, and sides of `size` or any that fit.

    With images `int8`, uint8 (H, W, 3), the graph of its 8-bit form. Raises ValueError for a size
    that does not fit, and for no images.
    """
    step, extra = sides(whole.network)
    calibration = None if int8 is None else list(batches(int8))
    shapes: dict[int, Any] = {0: Dim("batch")}
    height, width = size or (8 * step + extra, 9 * step + extra)
    if size is None:
        shapes[2] = step * Dim("rows", min=2) + extra
        shapes[3] = step * Dim("columns", min=2) + extra
    check_size((height, width), step, extra)
    images = torch.full((2, 3, height, width), 0.5)

    def traced(module: nn.Module) -> ExportedProgram:
        return torch.export.export(module, (images,), dynamic_shapes=(shapes,))

    with quiet():
        whole(images)
        if calibration is None:
            return traced(whole)
        return traced(quantised(traced(whole).module(), calibration))


def quantised(graph: Any, images: Iterable[Tensor]) -> Any:
    """A traced network whose convolutions compute in 8-bit integers, by torchao's PT2E.

    Static: the scales of activations are measured on `images`; weights have one per channel. Batch
    norm is folded into the convolution before it. The graph only says where values are rounded; it
    is for the runtime to compute in integers between. x86 CPUs without VNNI add pairs of products
    in 16 bits, where they can overflow: on such a machine, see what `compare` says.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    watched = prepare_pt2e(graph, quantizer)
    for image in images:
        watched(image)
    converted = convert_pt2e(watched)
    used = {str(node.target) for node in converted.graph.nodes if node.op == "get_attr"}
    for name, _ in [*converted.named_parameters(), *converted.named_buffers()]:
        if name not in used:  # a weight in its float form
            owner, _, last = name.rpartition(".")
            delattr(converted.get_submodule(owner), last)
    return converted


def batches(images: Iterable[np.ndarray]) -> Iterator[Tensor]:
    """Each image as 1 x 3 x H x W in [0, 1], contiguous: AOTInductor takes strides for granted.

    Raises ValueError for what is no image, and for none.
    """
    empty = True
    for image in images:
        empty = False
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"an image of {image.dtype} and shape {image.shape}: expected uint8 (H, W, 3)"
            )
        channels = np.ascontiguousarray(np.moveaxis(image, -1, 0))
        yield torch.from_numpy(channels)[None] / 255
    if empty:
        raise ValueError("there are no images: expected some of the kind that will be seen")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter tells its own authors, and warnings about our small examples."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
