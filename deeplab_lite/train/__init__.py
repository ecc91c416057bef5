"""Training: one explicit loop for a laptop, a GPU, or many under torchrun. Taught in lesson 09.

>>> from deeplab_lite.train import Config, train
>>> train(Config(model="v3plus", data="scenes", steps=12_500))  # doctest: +SKIP

`python -m deeplab_lite train --help` has a flag for each field of Config. `loop.py` is the loop;
what it calls stands beside it: `data.py` says which images come when, `loss.py` what is minimised,
`optim.py` how weights move, `start_from.py` from where, `folder.py` what a run is resumed from,
`log.py` what is seen of it, `sync.py` is batch norm over processes, `card.py` the model card.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .config import Config

if TYPE_CHECKING:
    from .loop import Trained, train

__all__ = ["Config", "Trained", "train"]


def __getattr__(name: str) -> object:
    """Load the loop, and torch with it, when it is first used (PEP 562)."""
    if name in __all__:
        return getattr(import_module(f"{__name__}.loop"), name)
    raise AttributeError(f"deeplab_lite.train has no attribute {name!r}; there are {__all__}")
