"""DeepLab from receptive fields to v3+, one idea at a time. The lessons are in notebooks/.

README.md beside this file lists the core, in the order in which the lessons teach it. `import
deeplab_lite` loads nothing else: a submodule is imported when it is first used, so that the command
line and the doctor answer at once, even where torch is missing.
"""

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from deeplab_lite import _moved

__version__ = "0.2.0"
_moved.install()


def __getattr__(name: str) -> object:
    """Import `deeplab_lite.<name>` on first use (PEP 562)."""
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(
            f"deeplab_lite has no attribute {name!r}; its modules are {', '.join(_modules())}"
        )
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__):
            raise
        raise ModuleNotFoundError(
            f"deeplab_lite.{name} needs {error.name}, which is not installed: "
            "`pip install 'deeplab-lite[lab]'` brings all that the lessons use",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules()})


def _modules() -> list[str]:
    return [m.name for m in iter_modules(__path__) if not m.name.startswith("_")]
