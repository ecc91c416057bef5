"""What test_train.py trains on, and the processes that are killed or run in twos."""

import os
import signal
import sys
import traceback
from pathlib import Path

import torch
from torch import nn

from deeplab_lite.workshop.train import Config, loop, run_folder
from deeplab_lite.workshop.train import stream as data

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


def killed(out, when, resume):
    """Train, and die without warning: "in step 13", or "saving step 15" with half a file."""
    what, _, number = when.split()
    save, mix = torch.save, loop.mix

    def die_in_step(seed, step, rank):
        if step == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return mix(seed, step, rank)

    def die_saving(state, path):
        save(state, path)
        if state["step"] == int(number):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    if what == "in":
        loop.mix = die_in_step
    else:
        run_folder.torch.save = die_saving
    loop.train(everything(out, resume), net(dropout=0.5), DATA)


def killed_twice(out):
    """Both deaths, in processes that share this one's imports; prints how and where they ended."""
    for resume, when in enumerate(("in step 11", "saving step 15")):
        (end,) = forked([lambda when=when, resume=resume: killed(out, when, bool(resume))])
        state = torch.load(Path(out) / "checkpoint.pt", weights_only=True)
        print("signal", os.WTERMSIG(end), "after step", state["step"])


def forked(tasks):
    """Run the tasks at once, each in a process of its own; return their wait statuses."""
    children = []
    for task in tasks:
        child = os.fork()
        if child == 0:
            try:
                task()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


BATCH = data.order(small(""), 0, 1, 0).__next__()
CHOICES = {"class_weights": (1.0, 0.2, 3.0), "ohem": 0.6}


def gradient(config, parts_of):
    """Loss and gradient of one step; parts_of: rank to rows per pass.

    Batch norm is in eval mode: in train mode it sees the images of one pass of one process.
    """
    fabric = loop.start(config)
    network = net().eval()
    model = fabric.setup(network)
    items = [DATA[0][i] for i in BATCH]
    images, labels = (torch.stack(each) for each in zip(*items, strict=True))
    rows = parts_of(fabric.global_rank)
    loss = loop.backward(fabric, model, [(images[r], labels[r]) for r in rows], config)
    gradients = {f"grad {name}": p.grad.clone() for name, p in network.named_parameters()}
    return {"loss": torch.tensor(loss)} | gradients


def two(out, port):
    """Two processes: the gradient of half a batch each, then whole runs."""
    out = Path(out)

    def one_of_two(rank):
        os.environ |= {
            # the variables that torchrun sets; it looks up this machine's name, which tests don't
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
            **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
        }
        half = gradient(small("", **CHOICES), lambda rank: [slice(4 * rank, 4 * rank + 4)])
        frozen = loop.train(small(out / "frozen", steps=5, freeze_bn="all"), net(), DATA)
        network, seeds = net(), []
        network[3].register_forward_pre_hook(lambda *_: seeds.append(torch.initial_seed()))
        trained = loop.train(small(out / "apart", steps=5, val_every=9), network, DATA)
        scores = {"miou": torch.tensor(frozen.metrics["miou"])}
        torch.save(half | frozen.model.state_dict() | scores, out / f"two-{rank}.pt")
        state = trained.model.state_dict() | {"seeds": torch.tensor(seeds[:5])}
        torch.save(state, out / f"apart-{rank}.pt")

    if any(forked([lambda: one_of_two(0), lambda: one_of_two(1)])):
        sys.exit(1)


def environment():
    """Of processes that train: they find this folder and the package, and no torchmetrics."""
    tests = Path(__file__).parent
    paths = [tests / "absent", tests, tests.parent, os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    killed_twice(Path(sys.argv[1], "broken"))
    two(sys.argv[1], sys.argv[2])
