"""What a run shows: the progress bar, log.csv, TensorBoard's curves."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deeplab_lite.files import replacing
from deeplab_lite.workshop.train.config import Config

# Written by hand: Fabric's CSVLogger sorts the columns, names the file itself, and can't drop the
# rows after the checkpoint from which a run is resumed.
COLUMNS = ("step", "images", "lr", "loss", "val_miou", "images_per_s", "seconds")


class Log:
    """A row averages the losses since the row before. Only one process `writes`."""

    def __init__(self, config: Config, path: Path, writes: bool = True):
        self.config, self.writes = config, writes
        self.path = path / "log.csv"
        self.losses: list[float] = []
        self.score: float | None = None
        self.spent = 0.0  # seconds before the run was resumed

    def open(self, step: int) -> None:
        """Begin, or continue after `step`: later rows belong to steps that are trained again."""
        self.start = self.lap = time.perf_counter()
        self.lap_step, self.board = step, None
        if not self.writes:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for row in read(self.path) if int(row["step"]) <= step]
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        if self.config.tensorboard:
            from lightning_fabric.loggers import TensorBoardLogger

            self.board = TensorBoardLogger(
                self.path.parent, name="", version="tensorboard", purge_step=step + 1
            )
        self.bar = tqdm(
            total=self.config.steps * self.config.batch,
            initial=step * self.config.batch,
            unit="img",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=not self.config.progress,
        )

    def step(self, loss: float) -> None:
        """Take in the loss of a step."""
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
            self.board.log_metrics({k: v for k, v in curves.items() if v is not None}, step)

    def close(self) -> None:
        """Finish the bar and the curves."""
        if self.writes:
            self.bar.close()
        if self.board is not None:
            self.board.finalize("success")

    @property
    def seconds(self) -> float:
        """How long the run has taken, without the time between a kill and the resumption."""
        return self.spent + time.perf_counter() - self.start

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "score": self.score, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses, self.score = list(state["losses"]), state["score"]
        self.spent = state["seconds"]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a log.csv; none if it isn't there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
