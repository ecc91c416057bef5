"""How far do two trainings of one recipe end apart? Lesson 08.

    python -m benchmarks.seeds     trains v1 and v2 with four seeds each on small scenes: three
                                   minutes on one thread, and writes assets/seeds.csv

The ladder's networks take twenty minutes each; these see smaller scenes, and fewer. A row of the
table is a pair of trainings: their scores on the same 200 test scenes, and the paired difference
with its interval, which knows of the scenes and not of the seeds.
"""

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import torch

from deeplab_lite import metrics
from deeplab_lite.files import replacing
from deeplab_lite.scenes import CLASSES, SMALL, Scenes
from deeplab_lite.workshop.train import Config, train

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "assets" / "seeds.csv"
SEEDS, SIDE = range(4), 65
SAME = Config(
    data="small-scenes", size=SIDE, init="assets/ladder/backbone.safetensors", batch=16,
    steps=150, lr=4e-3, warmup=20, ema=0.95, threads=1, workers=0, val_every=150, val_images=50,
    tensorboard=False, progress=False, resume=True,
)  # fmt: skip
RECIPES = {  # rates for maps of 9 positions
    "v1": replace(SAME, model="v1", options='{"rate": 2}'),
    "v2": replace(SAME, model="v2", options='{"rates": [1, 2, 3, 4]}'),
}


def matrices(name: str, seed: int) -> torch.Tensor:
    """Confusion matrices of the test scenes, of a recipe trained with this seed."""
    config = replace(RECIPES[name], seed=seed, out=f"runs/seeds/{name}-{seed}")
    network, test = train(config).model, Scenes("test", 200, SIDE, SMALL)
    items = [test[i] for i in range(len(test))]
    images, labels = (torch.stack(each) for each in zip(*items, strict=True))
    with torch.inference_mode():
        return metrics.confusion_matrices(network(images), labels, len(CLASSES))


def main() -> None:
    runs = {(n, s): matrices(n, s) for s in SEEDS for n in RECIPES}
    scores = {run: float(metrics.miou(each.sum(0))) for run, each in runs.items()}
    rows = []
    for first, second in itertools.combinations(runs, 2):
        step = metrics.paired_difference(runs[second], runs[first])
        numbers = (scores[first], scores[second], *step)
        rows.append((*first, *second, *(round(number, 4) for number in numbers)))
        print(*rows[-1], flush=True)
    names = ("first", "first_seed", "second", "second_seed")
    with replacing(TABLE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*names, "first_miou", "second_miou", "step", "low", "high"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
