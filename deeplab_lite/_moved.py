"""Import paths of version 0.1 that README or lessons published: they work until 0.3, and warn."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

MOVED = {
    "app": "workshop.app",
    "datasets": "workshop.datasets",
    "doctor": "workshop.doctor",
    "draw": "classroom.draw",
    "evaluate": "workshop.evaluate",
    "exercises": "classroom.exercises",
    "export": "workshop.export",
    "intake": "image_files",
    "models.common": "models.base",
    "models.full": "models.zoo",
    "models.lite": "models.zoo",
    "models.trunks": "models.zoo",
    "own_scene": "classroom.own_scene",
    "segment": "workshop.segment",
    "taps": "receptive_field",
    "train": "workshop.train",
    "train.loss": "losses",
    "widgets": "classroom.widgets",
}


class Finder(Loader):
    """Finds an old name as an alias of the new module: one module object under two names."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        if package != "deeplab_lite" or old not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        old, new = spec.name, f"deeplab_lite.{MOVED[spec.name.partition('.')[2]]}"
        importer = _importer()
        warnings.warn_explicit(
            f"{old} has moved: import {new}; the old name goes with version 0.3",
            DeprecationWarning,
            importer.f_code.co_filename,
            importer.f_lineno,
            importer.f_globals.get("__name__"),
        )
        self._kept = import_module(new)
        self._spec = self._kept.__spec__
        return self._kept

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importlib has written the alias's over it


def install() -> None:
    """Look for old names where no module of ours is found, once."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())


def _importer() -> FrameType:
    """Where the import statement is: the first frame that is neither importlib's nor ours."""
    frame = sys._getframe(2)
    ours = (__name__, "deeplab_lite")
    while frame.f_back and (
        "importlib" in frame.f_code.co_filename or frame.f_globals.get("__name__") in ours
    ):
        frame = frame.f_back
    return frame
