"""The checkpoint that a run is resumed from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deeplab_lite.files import replacing
from deeplab_lite.workshop.train.config import Config

State = dict[str, Any]


class RunFolder:
    """The folder of one run, with its checkpoint.pt: tensors and numbers, no code."""

    def __init__(self, config: Config):
        self.path, self.config = Path(config.folder), config
        self.checkpoint = self.path / "checkpoint.pt"
        self.earlier: list[int] = []  # steps after which the run had ended, and was continued

    def load(self, classes: Sequence[str] = ()) -> State | None:
        """The state to go on from, None for a new run. One that has ended may go on to more steps.

        Raises FileExistsError where a run would be overwritten; ValueError where the folder's run
        was begun with another config or other classes, or its checkpoint is damaged or of another
        version.
        """
        if not self.checkpoint.exists():
            return None
        if not self.config.resume:
            raise FileExistsError(
                f"{self.path} holds a run: go on with --resume (resume=True in Python), "
                "or choose another --out"
            )
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load has many
            raise ValueError(
                f"{self.checkpoint} is damaged ({type(error).__name__}): begin anew with another "
                "--out, or move that file away"
            ) from error
        for name in ("step", "config"):
            if name not in state:
                raise self._other_version(f"it has no {name}")
        here, there = self.config.exact(), state["config"]
        self.earlier = state.get("earlier", [])
        ended = state.get("ended", state["step"] == there["steps"])
        if ended and here["steps"] > there["steps"]:
            self.earlier, there = [*self.earlier, there["steps"]], there | {"steps": here["steps"]}
        changed = [name for name in here if here[name] != there.get(name, here[name])]
        if changed:
            listed = ", ".join(f"{n} was {there[n]!r} and is {here[n]!r}" for n in changed)
            raise ValueError(
                f"the run in {self.path} was begun with another config: {listed}. "
                "Resume it with the same one, or choose another --out"
            )
        if (learnt := list(state.get("classes", classes))) != list(classes):
            raise ValueError(
                f"the run in {self.path} has learnt {', '.join(learnt)}, and the data has "
                f"{', '.join(classes)}: begin another run with --init {self.checkpoint}, which "
                "goes by the names"
            )
        return state

    def restore(self, parts: dict[str, Any], state: State) -> None:
        """Load the state of each part of a run.

        Raises ValueError where it does not fit, before it changes a network: torch copies the
        tensors that fit, and then raises.
        """
        for name, part in parts.items():
            if name not in state:
                raise self._other_version(f"it has no {name}")
            if isinstance(part, nn.Module) and shapes(part.state_dict()) != shapes(state[name]):
                raise self._other_version(f"its {name} does not fit")
        for name, part in sorted(parts.items(), key=lambda item: isinstance(item[1], nn.Module)):
            try:
                part.load_state_dict(state[name])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise self._other_version(f"its {name} does not fit") from error

    def _other_version(self, reason: str) -> ValueError:
        return ValueError(
            f"{self.checkpoint} is of another version of this package, or of another network "
            f"({reason}): finish the run with that version, or begin a new one with another --out"
        )

    def save(self, state: State) -> None:
        """Replace checkpoint.pt, whole or not at all, whenever the process is killed.

        Raises FloatingPointError, and keeps the old one, if a weight is no number.
        """
        wrong = [n for n, t in state["model"].items() if not bool(t.isfinite().all())]
        if wrong:
            raise FloatingPointError(
                f"{wrong[0]} is no longer finite at step {state['step']}: lower lr, lengthen "
                f"warmup or set clip. {self.checkpoint} is the last good one"
            )
        for left in self.path.glob(f".{self.checkpoint.name}.*"):  # by a process that was killed
            left.unlink()
        with replacing(self.checkpoint) as temporary:
            state = state | {"config": self.config.exact(), "earlier": self.earlier}
            torch.save(state, temporary)


def shapes(state: Any) -> Any:
    """Of the tensors of a state dict; of what is none, its type."""
    if not isinstance(state, dict):
        return type(state)
    return {name: getattr(tensor, "shape", None) for name, tensor in state.items()}
