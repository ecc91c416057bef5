r"""Training: one explicit loop for a laptop, a GPU, or many under torchrun. Taught in lesson 09.

>>> from deeplab_lite.workshop.train import Config, train
>>> train(Config(model="v3plus", data="scenes", steps=12_500))  # doctest: +SKIP

One machine with 4 GPUs, and two machines, on each of which the same command is run. The variable
avoids that restarted processes wait for dead ones (github.com/pytorch/pytorch/issues/135712):

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 4 --max-restarts 3 \
        -m deeplab_lite train --recipe voc-v3 --resume
    torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 \
        --rdzv-backend c10d --rdzv-endpoint FIRST-MACHINE:29400 --rdzv-id voc \
        -m deeplab_lite train --recipe voc-v3 --resume --out SHARED-FOLDER/voc-v3

If a process dies, torchrun starts all of them again, and --resume continues from the last
checkpoint (--save-every) to the same weights. With --nnodes 1:2, one machine goes on if the other
is lost: a step has the same images on any number of processes that divides the batch. On GPUs,
batch norm sees the images of all processes (--sync-batch-norm); on CPUs, those of its own process.

`python -m deeplab_lite train --help` has a flag for each field of Config; `recipes` lists whole
sets of them. `loop.py` is the loop, and calls what stands beside it: `stream.py` says which images
come when, `optim.py` how weights move, `start_from.py` where they start, `run_folder.py` what a run
is resumed from, `log.py` what it shows, `card.py` the model card, `loss.py` what a step lowers,
`scoring.py` how it is validated. A run that has ended goes on with --resume --steps MORE.
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
