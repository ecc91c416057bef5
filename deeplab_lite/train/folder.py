"""What a run keeps on disk: checkpoint.pt to resume from, log.csv, TensorBoard's curves."""

import csv
import pickle
from pathlib import Path
from typing import Any

import torch

from deeplab_lite.files import replacing

from .config import Config

COLUMNS = ("step", "images", "lr", "loss", "val_miou", "images_per_s", "seconds")
State = dict[str, Any]


class Folder:
    """The folder of one run. Only the process with `writes` touches it."""

    def __init__(self, config: Config, writes: bool = True):
        self.path, self.config, self.writes = Path(config.folder), config, writes
        self.checkpoint, self.table = self.path / "checkpoint.pt", self.path / "log.csv"
        self.board: Any = None

    def open(self) -> State | None:
        """The state to go on from, None for a new run.

        Raises FileExistsError where a run would be overwritten, ValueError where the folder's run
        was made by other choices or its checkpoint is damaged.
        """
        state = self._load() if self.checkpoint.exists() else None
        if state is not None and not self.config.resume:
            raise FileExistsError(
                f"{self.path} holds a run of {state['step']} steps: go on with --resume "
                "(resume=True), or choose another --out"
            )
        return state

    def start(self, step: int) -> None:
        """Make the folder and its log, without lines after `step`: those were of a lost future."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        rows = [row for row in self.rows() if int(row["step"]) <= step]
        with replacing(self.table) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        if self.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def rows(self) -> list[dict[str, str]]:
        """The lines of log.csv."""
        if not self.table.exists():
            return []
        with self.table.open(newline="") as file:
            return list(csv.DictReader(file))

    def log(self, row: dict[str, float | int | str]) -> None:
        """Add a line to log.csv, and its numbers to the curves."""
        if not self.writes:
            return
        with self.table.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        for name, value in row.items():
            if self.board is not None and name not in ("step", "images") and value != "":
                self.board.add_scalar(name, float(value), int(row["step"]))

    def save(self, state: State) -> None:
        """Replace checkpoint.pt, whole or not at all, whenever the process is killed."""
        if self.writes:
            with replacing(self.checkpoint) as temporary:
                torch.save(state | {"config": self.config.exact()}, temporary)

    def _load(self) -> State:
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{self.checkpoint} is damaged ({str(error).splitlines()[0]}): "
                "delete it to begin anew"
            ) from error
        here, there = self.config.exact(), state["config"]
        changed = [name for name in here if here[name] != there.get(name, here[name])]
        if changed and self.config.resume:
            listed = ", ".join(f"{n} was {there[n]!r}, now {here[n]!r}" for n in changed)
            raise ValueError(
                f"{self.path} was begun with other choices: {listed}. Resume with the same ones, "
                "or choose another --out"
            )
        return state

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
