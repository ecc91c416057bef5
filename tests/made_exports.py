"""Exports as the label tools write them: the same photos and regions from each.

A photo is 40 x 30; a car covers the box from (5, 4) to (15, 14), a tree the one from (22, 20) to
(33, 26) without its first pixel.
"""

import base64
import io
import json
from xml.etree import ElementTree

import numpy as np
from image_sets import save
from PIL import Image

WIDTH, HEIGHT = 40, 30
NAMES = tuple(f"day{day}_{i}" for day in "abcde" for i in range(2))
CAR = [(5, 4), (15, 4), (15, 14), (5, 14)]
TREE = (22, 20, 11, 6)  # left, top, width, height


def tree():
    mask = np.ones((6, 11), bool)
    mask[0, 0] = False
    return mask


def truth():
    """The label map that every tool means: 0, car 1, tree 2."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4:14, 5:15] = 1
    label[20:26, 22:33][tree()] = 2
    return label


def photos(folder, names=NAMES, exif=None):
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{name}.jpg", **({"exif": exif} if exif else {}))


def runs(flat):
    """Lengths of runs of 0, 1, 0, ..."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]]).astype(int)))
    return np.diff(np.concatenate([[0], edges])).tolist()


def coco(root, names=NAMES):
    photos(root / "images", names)
    whole = truth() == 2
    regions = [
        {"category_id": 7, "segmentation": [np.ravel(CAR).tolist()], "area": 100},
        {
            "category_id": 9,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(whole.T.ravel())},
            "area": 65,
        },
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": 9, "name": "tree"}, {"id": 7, "name": "car"}],
        "annotations": [
            {"id": 2 * i + j, "image_id": i, "iscrowd": 0, **region}
            for i in range(len(names))
            for j, region in enumerate(regions)
        ],
    }
    return written(root / "annotations" / "instances.json", content)


def labelme(root, names=NAMES):
    photos(root, names)
    left, top, width, height = TREE
    file = io.BytesIO()
    Image.fromarray(tree()).save(file, "PNG")
    shapes = [
        {"label": "car", "shape_type": "polygon", "points": CAR},
        {
            "label": "tree",
            "shape_type": "mask",
            "points": [[left, top], [left + width - 1, top + height - 1]],
            "mask": base64.b64encode(file.getvalue()).decode(),
        },
    ]
    for name in names:
        size = {"imageWidth": WIDTH, "imageHeight": HEIGHT}
        content = {"imagePath": f"{name}.jpg", "imageData": None, "shapes": shapes, **size}
        written(root / f"{name}.json", content)
    return root


def cvat(root, names=NAMES):
    photos(root / "images", names)
    top = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(top, "meta"), "task"), "labels"
    )
    for name in ("car", "tree"):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for name in names:
        size = {"width": str(WIDTH), "height": str(HEIGHT)}
        image = ElementTree.SubElement(top, "image", name=f"{name}.jpg", **size)
        place = dict(zip(("left", "top", "width", "height"), map(str, TREE), strict=True))
        rle = ", ".join(map(str, runs(tree().ravel())))
        ElementTree.SubElement(image, "mask", label="tree", rle=rle, z_order="0", **place)
        corners = {"xtl": "5.00", "ytl": "4.00", "xbr": "15.00", "ybr": "14.00"}
        ElementTree.SubElement(image, "box", label="car", z_order="1", **corners)
    root.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(top).write(root / "annotations.xml")
    return root


def brush(mask):
    """Label Studio's packed bits of a mask (H, W): runs of up to 256, and values one by one."""
    values = np.repeat(np.where(mask.ravel(), 255, 0), 4).tolist()
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    place = 0
    while place < len(values):
        run = 1
        while run < 256 and values[place : place + run + 1] == [values[place]] * (run + 1):
            run += 1
        if run > 4:
            bits += f"1{2:02b}{run - 1:08b}{values[place]:08b}"
        else:
            run = min(4, len(values) - place)
            bits += f"0{0:02b}{run - 1:03b}" + "".join(
                f"{v:08b}" for v in values[place : place + run]
            )
        place += run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def label_studio(root, names=NAMES):
    photos(root / "images", names)
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    corners = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CAR]
    marks = [
        {"type": "polygonlabels", "value": {"points": corners, "polygonlabels": ["car"]}},
        {
            "type": "brushlabels",
            "value": {"format": "rle", "rle": brush(truth() == 2), "brushlabels": ["tree"]},
        },
    ]
    tasks = [
        {
            "id": i,
            "file_upload": f"1a2b3c4d-{name}.jpg",
            "data": {"image": f"/data/upload/1/1a2b3c4d-{name}.jpg"},
            "annotations": [{"id": i, "result": [mark | size for mark in marks]}],
        }
        for i, name in enumerate(names)
    ]
    return written(root / "project.json", tasks)


COLOURS = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)


def cvat_masks(root, names=NAMES):
    """CVAT's "segmentation mask 1.1"."""
    photos(root / "JPEGImages", names)
    for name in names:
        save(root / "SegmentationClass" / f"{name}.png", COLOURS[truth()])
        save(root / "SegmentationObject" / f"{name}.png", COLOURS[truth()])
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    (root / "labelmap.txt").write_text("\n".join([*lines, "car:250,50,83::", "tree:51,221,255::"]))
    return root


def named_masks(root, names=NAMES):
    """photo.jpg and photo_mask.png side by side, with the names in a file."""
    photos(root, names)
    for name in names:
        save(root / f"{name}_mask.png", truth())
    (root / "classes.txt").write_text("background\ncar\ntree")
    return root


def own_palettes(root, names=NAMES):
    """Palette masks whose palettes differ, and a table of the colours."""
    photos(root / "img", names)
    for i, name in enumerate(names):
        order = np.roll(np.arange(3), i)
        mask = np.argsort(order).astype(np.uint8)[truth()]
        save(root / "gt" / f"{name}.png", mask, [tuple(c) for c in COLOURS[order].tolist()])
    lines = ["name,r,g,b", "background,0,0,0", "car,250,50,83", "tree,51,221,255"]
    (root / "class_dict.csv").write_text("\n".join(lines))
    return root


TOOLS = (coco, labelme, cvat, label_studio, cvat_masks, named_masks, own_palettes)


def written(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file
