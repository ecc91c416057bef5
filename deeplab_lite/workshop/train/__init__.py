r"""Training: one explicit loop for a laptop, a GPU, or many under torchrun. Taught in lesson 09.

>>> from deeplab_lite.workshop.train import Config, train
>>> train(Config(model="v3plus", data="scenes", steps=12_500))  # doctest: +SKIP

One machine with 4 GPUs, and two machines, where the same line is given to each:

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # or restarted processes may wait for dead ones
    torchrun --standalone --nproc-per-node 4 --max-restarts 3 \
        -m deeplab_lite train --recipe voc-v3 --resume
    torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 \
        --rdzv-backend c10d --rdzv-endpoint FIRST-MACHINE:29400 --rdzv-id voc \
        -m deeplab_lite train --recipe voc-v3 --resume --out SHARED-FOLDER/voc-v3

If a process dies, torchrun starts all of them anew, and --resume goes on from the last checkpoint
(--save-every) to the same weights. With --nnodes 1:2 one machine goes on when it is left alone: a
step has the same images on any number of processes that divides the batch.

`python -m deeplab_lite train --help` has a flag for each field of Config, and `recipes` whole sets
of them. `loop.py` is the loop; what it calls stands beside it: `data.py` says which images come
when, `loss.py` what is minimised, `optim.py` how weights move, `start_from.py` from where,
`folder.py` what a run is resumed from, `log.py` what is seen of it, `sync.py` is batch norm over
processes, `card.py` the model card.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from deeplab_lite.workshop.train.config import Config

if TYPE_CHECKING:
    from deeplab_lite.workshop.train.loop import Trained, train

__all__ = ["Config", "Trained", "train"]


def __getattr__(name: str) -> object:
    """Load the loop, and torch with it, when it is first used (PEP 562)."""
    if name in __all__:
        return getattr(import_module(f"{__name__}.loop"), name)
    raise AttributeError(
        f"deeplab_lite.workshop.train has no attribute {name!r}; there are {__all__}"
    )
