"""What test_train.py trains on, and the processes that are killed or run in twos."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from deeplab_lite.workshop.train import (
    Config,
    loop,
    optim,
)
from deeplab_lite.workshop.train import (
    run_folder as folder,
)
from deeplab_lite.workshop.train import (
    stream as data,
)

CLASSES = 3


class Colours(torch.utils.data.Dataset):
    """Noisy squares whose colour is their class. As many rows are 255 as chance will have."""

    def __init__(self, length, size=16, first=0):
        self.length, self.size, self.first = length, size, first

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        random = data.generator(self.first, index)
        blocks = torch.randint(CLASSES, (4, 4), generator=random)
        label = blocks.repeat_interleave(self.size // 4, 0).repeat_interleave(self.size // 4, 1)
        image = nn.functional.one_hot(label, CLASSES).movedim(-1, 0).float()
        image += 0.3 * torch.randn(image.shape, generator=random)
        label[: int(torch.randint(self.size, (), generator=random))] = 255
        return image, label


DATA = (Colours(40), Colours(8, first=1))


def net(dropout=0.0, seed=0):
    """Two convolutions with batch norm, and dropout."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, CLASSES, 1),
        )


def small(out, **changes):
    """A config for `net` and DATA."""
    options = {
        **{"steps": 20, "batch": 8, "size": 16, "lr": 1e-2, "warmup": 3, "workers": 0},
        **{"threads": 1, "log_every": 5, "val_every": 8, "save_every": 5},
        **{"progress": False, "tensorboard": False, "accelerator": "cpu"},
    }
    return Config(out=str(out), **(options | changes))


def everything(out, resume=False):
    """All that has a state: AdamW, the average, dropout, bf16, a worker, two passes a step."""
    options = {"precision": "bf16-mixed", "workers": 1, "accumulate": 2, "clip": 1.0, "ohem": 0.7}
    return small(out, resume=resume, val_every=16, **options)


def killed(out, resume, when):
    """Train, and die without warning: "in step 13", or "saving step 10" with half a file."""
    what, _, step = when.split()
    save, update = torch.save, optim.Average.update

    def die_in_step(self, model, now):
        update(self, model, now)
        if now == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

    def die_saving(state, path):
        save(state, path)
        if state["step"] == int(step):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "in":
        loop.Average.update = die_in_step
    else:
        folder.torch.save = die_saving
    loop.train(everything(out, resume == "resumed"), net(dropout=0.5), DATA)


BATCH = data.order(small(""), 0, 1, 0).__next__()
CHOICES = {"class_weights": (1.0, 0.2, 3.0), "ohem": 0.6}


def gradient(config, parts_of, train=True):
    """Loss, gradient and batch norm's statistics of one step; parts_of: rank to rows per pass."""
    fabric = loop.start(config)
    network = net().train(train)
    if fabric.world_size > 1:
        network = loop.synchronize(network, fabric.device)
    model = fabric.setup(network)
    items = [DATA[0][i] for i in BATCH]
    images, labels = (torch.stack(each) for each in zip(*items, strict=True))
    rows = parts_of(fabric.global_rank)
    loss = loop.backward(fabric, model, [(images[r], labels[r]) for r in rows], config)
    found = {f"grad {name}": p.grad.clone() for name, p in network.named_parameters()}
    return {"loss": torch.tensor(loss)} | found | dict(network.named_buffers())


def two(out):
    """As one of two processes: the gradient of half a batch each, then a whole run."""
    found = gradient(small("", **CHOICES), lambda rank: [slice(4 * rank, 4 * rank + 4)])
    trained = loop.train(small(Path(out) / "run", steps=5), net(), DATA)
    if int(os.environ["RANK"]) == 0:
        scores = {"miou": torch.tensor(trained.metrics["miou"])}
        torch.save(found | trained.model.state_dict() | scores, Path(out) / "two.pt")


def torchrun(*words):
    """torchrun as on a machine called localhost: it looks its name up, which tests may not do."""
    import socket

    from torch.distributed import run

    socket.gethostname = lambda: "localhost"
    run.main(list(words))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
