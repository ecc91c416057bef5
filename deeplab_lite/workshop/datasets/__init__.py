"""Real data: CamVid, Pascal VOC 2012 with SBD, and folders of your own. Taught in lesson 09.

Items are as those of `deeplab_lite.scenes.Scenes`: an image float32 (3, H, W) in [-1, 1], and a
label int64 (H, W) with 255 where no loss and no score counts. `augment` changes both alike.

    train_set = CamVid("train", download=True)
    python -m deeplab_lite import my-export --out my-data   # from where people label
    print(check_folder("my-data"))                  # before a training, all problems at once
    python -m deeplab_lite train --data camvid --root FOLDER --model v3plus-lite0 --size 257

Where data is looked for, if no root is given: the folder in the environment variable
DEEPLAB_LITE_DATA, else deeplab_lite in the user's cache. In it are CamVid/, VOCdevkit/VOC2012/ and
sbd/, each laid out as it is published.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeplab_lite.workshop.datasets.augmentation import augment
    from deeplab_lite.workshop.datasets.camvid import CamVid
    from deeplab_lite.workshop.datasets.check import check_folder
    from deeplab_lite.workshop.datasets.folder import Folder
    from deeplab_lite.workshop.datasets.sheet import contact_sheet
    from deeplab_lite.workshop.datasets.voc import VOC

ROOMS = {
    "CamVid": "camvid",
    "Folder": "folder",
    "VOC": "voc",
    "augment": "augmentation",
    "check_folder": "check",
    "contact_sheet": "sheet",
}
__all__ = ["VOC", "CamVid", "Folder", "augment", "check_folder", "contact_sheet"]


def __getattr__(name: str) -> object:
    """Load a data set when it is first used (PEP 562)."""
    if name in ROOMS:
        return getattr(import_module(f"{__name__}.{ROOMS[name]}"), name)
    raise AttributeError(
        f"deeplab_lite.workshop.datasets has no attribute {name!r}; there are {__all__}"
    )
