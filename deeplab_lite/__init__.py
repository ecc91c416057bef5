"""DeepLab from receptive fields to v3+, one idea at a time. The lessons are in notebooks/.

`import deeplab_lite` loads nothing else: a submodule is imported when it is first used, so that
the command line and the doctor answer at once, even where torch is missing.
"""

from importlib import import_module

__version__ = "0.1.0"

_SUBMODULES = (
    "atrous",
    "doctor",
    "draw",
    "exercises",
    "photos",
    "receptive_field",
    "widgets",
)


def __getattr__(name: str) -> object:
    """Import `deeplab_lite.<name>` on first use (PEP 562)."""
    if name not in _SUBMODULES:
        raise AttributeError(
            f"deeplab_lite has no attribute {name!r}; its modules are {', '.join(_SUBMODULES)}"
        )
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__):
            raise
        raise ModuleNotFoundError(
            f"deeplab_lite.{name} needs {error.name}, which is not installed: "
            "`pip install 'deeplab-lite[lab]'` brings what the lessons use",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBMODULES])
