"""What is seen of a run: the progress bar, log.csv, TensorBoard's curves."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deeplab_lite.files import replacing
from deeplab_lite.workshop.train.config import Config

COLUMNS = ("step", "images", "lr", "loss", "val_miou", "images_per_s", "seconds")


class Log:
    """Losses are averaged from row to row of log.csv. Only one process `writes`."""

    def __init__(self, config: Config, path: Path, begins: bool, writes: bool = True):
        self.config, self.writes, self.begins = config, writes, begins
        self.path, self.curves = path / "log.csv", path / "tensorboard"
        self.losses: list[float] = []
        self.score: float | None = None
        self.spent = 0.0  # seconds before the run was resumed

    def open(self, step: int) -> None:
        """Begin, or go on after `step`: later rows are of a future that was lost."""
        self.began = self.lap = time.perf_counter()
        self.lap_step, self.board = step, None
        if not self.writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [] if self.begins else read(self.path)
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(row for row in rows if int(row["step"]) <= step)
        if self.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.curves), purge_step=step + 1)
        self.bar = tqdm(
            total=self.config.steps * self.config.batch,
            initial=step * self.config.batch,
            unit="img",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=not self.config.progress,
        )

    def step(self, loss: float) -> None:
        """A step was made."""
        self.losses.append(loss)
        if self.writes:
            score = "-" if self.score is None else f"{self.score:.3f}"
            self.bar.set_postfix_str(f"loss {loss:.3f}, val mIoU {score}", refresh=False)
            self.bar.update(self.config.batch)

    def row(self, step: int, lr: float, score: float | None) -> None:
        """Add a row to log.csv, and its numbers to the curves."""
        self.score = self.score if score is None else score
        loss, self.losses = sum(self.losses) / len(self.losses), []
        images = (step - self.lap_step) * self.config.batch
        rate = images / (time.perf_counter() - self.lap)
        self.lap, self.lap_step = time.perf_counter(), step
        if not self.writes:
            return
        row = {
            "step": step,
            "images": step * self.config.batch,
            "lr": f"{lr:.6g}",
            "loss": f"{loss:.6g}",
            "val_miou": "" if score is None else f"{score:.4f}",
            "images_per_s": f"{rate:.1f}",
            "seconds": f"{self.seconds:.1f}",
        }
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        if self.board is not None:
            curves = {"lr": lr, "loss": loss, "images_per_s": rate, "val_miou": score}
            for name, value in curves.items():
                if value is not None:
                    self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """The last step was made."""
        if self.writes:
            self.bar.close()
        if self.board is not None:
            self.board.close()

    @property
    def seconds(self) -> float:
        """How long the run has taken, without the time between a kill and the resumption."""
        return self.spent + time.perf_counter() - self.began

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "score": self.score, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses, self.score = list(state["losses"]), state["score"]
        self.spent = state["seconds"]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a log.csv."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
