"""Training under torchrun, as its command line starts it: two machines, and one that is hurt."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from ports import free_port
from train_child import DATA, environment, net, small

from deeplab_lite import checkpoints
from deeplab_lite.workshop.train import loop, scoring
from deeplab_lite.workshop.train.log import read

TESTS = Path(__file__).parents[1]
STEPS = 40
# Without it, processes that torchrun starts again may meet the addresses of those that died, and
# wait for them (github.com/pytorch/pytorch/issues/135712). The commands of the course set it too.
FRESH = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
TRAIN = (
    *("-m", "deeplab_lite", "train", "--model", "v1-small", "--options", '{"width": 0.0625}'),
    *("--size", "65", "--batch", "4", "--steps", str(STEPS), "--save-every", "4"),
    *("--val-images", "4", "--workers", "0", "--threads", "1", "--accelerator", "cpu"),
    *("--no-progress", "--no-tensorboard", "--resume"),
)


def agent(said, *words):
    """torchrun, what it and its workers say in the file `said`."""
    command = [sys.executable, str(TESTS / "torchrun.py"), "--local-addr=127.0.0.1", *words]
    with said.open("w") as file:
        return subprocess.Popen(command, env=environment() | FRESH, stdout=file, stderr=file)


def rendezvous(run):
    """Where the machines of a run meet."""
    where = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    return ("--rdzv-backend=c10d", where, f"--rdzv-id={run}")


@pytest.fixture
def started():
    """Processes that end with the test, and theirs with them."""
    processes = []
    yield processes
    for process in processes:
        if process.poll() is None:
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                each.kill()
            process.wait()


def workers(process):
    """The training processes of an agent."""
    return [p for p in psutil.Process(process.pid).children() if "deeplab_lite" in p.cmdline()]


def wait_for(condition, process, said, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.02)


def trained(folder):
    """All that a finished run leaves, save times."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    rows = [
        [row[c] for c in ("step", "lr", "loss", "val_miou")] for row in read(folder / "log.csv")
    ]
    weights = (folder / "v1-small-scenes.safetensors").read_bytes()
    return state, rows, weights


def test_two_machines_and_one_with_a_killed_worker_train_the_same_weights(tmp_path, started):
    meeting = ("--nnodes=2", "--nproc-per-node=1", *rendezvous("two-machines"))
    two, hurt = tmp_path / "two", tmp_path / "hurt"
    said = [tmp_path / f"machine-{number}.txt" for number in (0, 1)]
    started += [agent(file, *meeting, *TRAIN, "--out", str(two)) for file in said]
    for process, file in zip(started, said, strict=True):
        assert process.wait(300) == 0, file.read_text()

    words = tmp_path / "hurt.txt"
    own = ("--nnodes=1", "--nproc-per-node=2", "--max-restarts=1", *rendezvous("hurt"))
    process = agent(words, *own, *TRAIN, "--out", str(hurt))
    started.append(process)
    wait_for((hurt / "checkpoint.pt").exists, process, words)
    victim = workers(process)[-1]
    victim.send_signal(signal.SIGKILL)
    assert process.wait(300) == 0, words.read_text()
    text = words.read_text()
    (step,) = re.findall(r"hurt: going on after step (\d+)", text)
    assert 0 < int(step) < STEPS and int(step) % 4 == 0, text

    (state, rows, weights), (other, other_rows, other_weights) = trained(two), trained(hurt)
    assert state["step"] == other["step"] == STEPS
    for part in ("model", "average"):
        assert all(torch.equal(value, other[part][name]) for name, value in state[part].items())
    assert rows == other_rows and weights == other_weights
    assert checkpoints.card(two / "v1-small-scenes.json")["hardware"].startswith("2 x CPU")


def test_processes_that_see_different_folders_are_told(tmp_path):
    fabric = SimpleNamespace(all_gather=lambda step: torch.stack([step, torch.tensor(0)]))
    assert loop.agree(fabric, 0, tmp_path) == 0
    with pytest.raises(ValueError, match=r"of the steps \[0, 250\]: --out must be a folder that"):
        loop.agree(fabric, 250, tmp_path)


def test_a_process_without_a_validation_image_takes_part(monkeypatch):
    """As the last one of 16 with 8 images: it adds nothing, and knows the number of classes."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    config = small("")
    whole = loop.validate(fabric, net(), DATA[1], config)
    empty = lambda dataset, config, rank, world: ([], [], len(dataset))  # noqa: E731
    monkeypatch.setattr(scoring, "validation", empty)
    monkeypatch.setattr(
        fabric,
        "all_reduce",
        lambda value, reduce_op: {"max": torch.tensor(3)}.get(reduce_op, value),
    )
    nothing = loop.validate(fabric, net(), DATA[1], config)
    assert nothing.shape == whole.shape and nothing.dtype == whole.dtype and not nothing.any()
