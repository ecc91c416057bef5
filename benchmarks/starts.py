"""What a fine-tuning begins from: assets/starts.csv, which lesson 09 draws.

    python -m benchmarks.starts

v3+ on EfficientNet-Lite0 learns the parts of lesson 09 three times, with nothing different but its
first weights: those of the course's scenes, ImageNet's in the backbone, and random ones.
"""

import csv
import tempfile
from pathlib import Path

from deeplab_lite.classroom import trays
from deeplab_lite.files import replacing
from deeplab_lite.workshop.datasets.importing import Options, import_data
from deeplab_lite.workshop.train import Config, train

FILE = Path(__file__).resolve().parents[1] / "assets" / "starts.csv"
STARTS = {"scenes": "v3plus-lite0-scenes", "ImageNet": "imagenet", "random": ""}
STEPS = 240


def config(start: str, data: Path, out: Path) -> Config:
    """The training from `start`, a name in STARTS."""
    return Config(
        model="v3plus-lite0", init=STARTS[start], data=str(data), out=str(out),
        steps=STEPS, batch=8, size=161, scale=(0.75, 1.5), lr=2e-3, head_lr=2.0,
        warmup=20, ema=0.9, val_every=30, log_every=30, workers=0,
        progress=False, tensorboard=False,
    )  # fmt: skip


def main() -> None:
    """Train all, and write the table when the last one is done."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        export = trays.export(Path(folder, "export"))
        data = Path(folder, "parts")
        print(import_data(export, data, options=Options(colours=str(export / "colours.txt"))))
        trays.mend(data)
        for start in STARTS:
            out = Path(folder, start)
            print(start, train(config(start, data, out)).metrics["miou"])
            with (out / "log.csv").open(newline="") as file:
                rows += [
                    {"start": start} | {k: row[k] for k in ("images", "loss", "val_miou")}
                    for row in csv.DictReader(file)
                ]
    with replacing(FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
