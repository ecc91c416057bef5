"""Small data sets on disk, laid out as their archives are."""

import numpy as np
from PIL import Image

from deeplab_lite.colors import voc_palette

VOC_NAMES = {"train": ["2007_01", "2007_02"], "val": ["2007_03", "2007_04"]}
VOC_NAMES["trainval"] = VOC_NAMES["train"] + VOC_NAMES["val"]
SBD_NAMES = {"train": ["2007_02", "2008_01", "2007_03"], "val": ["2008_02", "2007_04"]}


def save(path, array, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(sum(palette, ()))
    image.save(path)


def voc(root, sbd=True):
    """VOC 2012 and SBD with two images a split: the layout of the published archives."""
    from scipy.io import savemat

    base, random = root / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in VOC_NAMES.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    for name in VOC_NAMES["trainval"]:
        label = random.integers(0, 21, (9, 12), dtype=np.uint8)
        label[0] = 255
        save(base / "JPEGImages" / f"{name}.jpg", np.full((9, 12, 3), 100, np.uint8))
        palette = [*map(tuple, voc_palette(256).tolist())]
        save(base / "SegmentationClass" / f"{name}.png", label, palette)
    if sbd:
        (root / "sbd" / "cls").mkdir(parents=True)
        for split, names in SBD_NAMES.items():
            (root / "sbd" / f"{split}.txt").write_text("\n".join(names) + "\n")
            for name in names:
                save(root / "sbd" / "img" / f"{name}.jpg", np.full((7, 8, 3), 100, np.uint8))
                content = {"Segmentation": np.full((7, 8), 20, np.uint8), "Boundaries": []}
                savemat(root / "sbd" / "cls" / f"{name}.mat", {"GTcls": content})
    return root
