"""The networks of the papers, one file per paper; lessons 03 to 08 walk through them."""

from importlib import import_module

HOMES = {"DeepLabV1": "v1", "DeepLabV2": "v2", "DeepLabV3": "v3", "DeepLabV3Plus": "v3plus"}
__all__ = ["DeepLabV1", "DeepLabV2", "DeepLabV3", "DeepLabV3Plus"]


def __getattr__(name: str) -> object:
    """Load a model's file when it is first used (PEP 562)."""
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"deeplab_lite.models has no attribute {name!r}; there are {__all__}")
