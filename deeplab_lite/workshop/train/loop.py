"""The training loop, spelled out. Taught in lesson 09."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import torch
from torch import Tensor, nn

from deeplab_lite import checkpoints
from deeplab_lite.metrics import miou
from deeplab_lite.workshop import intervals
from deeplab_lite.workshop.train.card import class_names, classes_of, model_card
from deeplab_lite.workshop.train.config import Config
from deeplab_lite.workshop.train.log import Log
from deeplab_lite.workshop.train.objective import loss_counts, loss_terms
from deeplab_lite.workshop.train.optim import make_average, make_optimizer, make_schedule
from deeplab_lite.workshop.train.run_folder import RunFolder
from deeplab_lite.workshop.train.scoring import Batch, Best, to_device, validate
from deeplab_lite.workshop.train.start_from import freeze, last_layers, start_from
from deeplab_lite.workshop.train.stream import (
    Augment,
    Stream,
    batches,
    mix,
    open_data,
    open_test,
    unguarded,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Trained(NamedTuple):
    """What a run leaves. The network is in eval mode, and has the averaged weights.

    metrics, test: `workshop.intervals.report` of the validation and of the test images; test is
    None unless config.test. weights: the file that `deeplab_lite.checkpoints.load` reads; None for
    a network of the caller's own.
    """

    model: nn.Module
    metrics: dict[str, Any]
    weights: Path | None
    test: dict[str, Any] | None = None


def train(
    config: Config,
    model: nn.Module | None = None,
    data: Sequence[Any] | None = None,
    augment: Augment | None = None,
) -> Trained:
    """Train config.model on config.data: on a CPU, a GPU, or all that torchrun has started.

    In their place, model is a network of your own, B x 3 x H x W to logits B x K x H x W or a dict
    {"out", "aux"} of such, and data your training set, validation set and, for config.test, test
    set, whose items are an image 3 x H x W and a label H x W, int64 with 255 ignored.
    augment(image, label, generator) changes training items.

    A run that was killed and resumed gives the weights of one that was not: bit for bit on a CPU
    with as many threads. torch's global generator is left as it was.

    Raises FloatingPointError when the loss is no number, with the batch saved; FileExistsError
    where `out` holds a run and resume is False; ValueError where it was begun with another config,
    and for less than two validation images.
    Taught in lesson 09.
    """
    fabric = start(config)
    if config.workers and (problem := unguarded()):
        fabric.print(problem)
        config = replace(config, workers=0)
    with torch.random.fork_rng([fabric.device] if fabric.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        with fabric.rank_zero_first(local=True):  # one process of a machine downloads
            train_set, val_set, crop = (*data[:2], None) if data else open_data(config)
            test_set = None
            if config.test and data and len(data) < 3:
                raise ValueError(
                    "test: expected a third data set beside those to train and validate"
                )
            if config.test:
                test_set = data[2] if data else open_test(config, classes_of(val_set))
        if len(val_set) < 2:
            raise ValueError(
                f"{len(val_set)} images to validate on: expected 2 or more, as the interval of the "
                "score is that of other such images"
            )
        names = classes_of(val_set)
        if names and len(config.class_weights) not in (0, len(names)):
            raise ValueError(
                f"class_weights has {len(config.class_weights)} values for the {len(names)} "
                f"classes {', '.join(names)}: give one for each, in this order"
            )
        network = build(config, names) if model is None else model
        stream = Stream(train_set, config.seed, augment or crop)
        folder = RunFolder(config)
        average, seconds, steps = run(fabric, config, folder, network, stream, val_set)
        metrics = score(fabric, average, val_set, config)
        test = None
        if test_set is not None:
            test = score(fabric, average, test_set, replace(config, val_images=0))
    path = None
    if model is None and fabric.is_global_zero:
        machine = fabric.device, fabric.world_size
        card = model_card(config, metrics, seconds, *machine, steps, folder.earlier, test)
        path = checkpoints.save(average, folder.path / f"{config.name}.safetensors", card)
    return Trained(average, metrics, path, test)


def score(fabric: Fabric, network: nn.Module, dataset: Any, config: Config) -> dict[str, Any]:
    """`intervals.report` of the images of a data set, by its `groups` if it has them."""
    matrices = validate(fabric, network, dataset, config)
    names = class_names(dataset, matrices.shape[-1])
    return intervals.report(matrices, names, getattr(dataset, "groups", ()))


def run(
    fabric: Fabric,
    config: Config,
    folder: RunFolder,
    network: nn.Module,
    stream: Stream,
    val_set: Any,
) -> tuple[nn.Module, float, int]:
    """The loop, from the folder's checkpoint if there is one: averaged weights, seconds, steps."""
    rank, world = fabric.global_rank, fabric.world_size
    state = folder.load(classes_of(val_set))
    step = agree(fabric, 0 if state is None else state["step"], folder.path)
    if config.init and state is None:
        with fabric.rank_zero_first(local=True):
            names = classes_of(val_set)
            report_line = start_from(network, config.init, names, head_of(config, names, network))
        fabric.print(report_line)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    apart = world > 1  # whether each process has batch norm of its own
    if apart and config.sync_batch_norm:
        if fabric.device.type == "cuda":
            network, apart = nn.SyncBatchNorm.convert_sync_batchnorm(network), False
        else:
            fabric.print("batch norm sees the images of one process: only GPUs synchronize it")
    freeze(network, config.freeze_bn)
    inner = make_optimizer(network, config)
    model, optimizer = fabric.setup(network, inner)
    average = make_average(network, config.ema)
    log = Log(config, folder.path, writes=fabric.is_global_zero)
    best = Best(config.patience)
    saved: dict[str, Any] = {
        "model": network,
        "average": average.module,
        "optimizer": optimizer,
        "scaler": fabric.strategy.precision,  # of 16-mixed
        "log": log,
    } | ({"best": best} if config.patience else {})
    if state is not None:
        folder.restore(saved, state)
        average.n_averaged.fill_(step)
    schedule = make_schedule(inner, config, step)
    if state is not None:
        text = f"{folder.path}: going on after step {step}"
        if (before := state["config"]["steps"]) != config.steps:
            best.since = 0
            text += (
                f" to {config.steps} in place of {before}: the learning rate is that of a run of "
                f"{config.steps} steps, so it goes on at {schedule.get_last_lr()[0]:.2g}"
            )
        fabric.print(text)
    log.open(step)
    loader = batches(stream, config, rank, world, step)
    model.train()
    while step < config.steps and not best.over:
        torch.manual_seed(mix(config.seed, step, rank))  # dropout, too, needs no state
        parts = [to_device(next(loader), fabric, config) for _ in range(config.accumulate)]
        loss = backward(fabric, model, parts, config)
        if not math.isfinite(loss):
            stop(folder.path / f"bad-batch-{rank}.pt", step, loss, parts, network)
        if config.clip:
            fabric.clip_gradients(model, optimizer, max_norm=config.clip)
        lr = float(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if apart:
            share_statistics(fabric, network)
        average.update_parameters(network)
        step += 1
        log.step(loss)

        ended = step == config.steps
        score = None
        if step % config.val_every == 0 or ended:
            score = float(miou(validate(fabric, average.module, val_set, config).sum(0)))
            best.see(step, score, average.module)
            ended = ended or best.over
            model.train()
        if score is not None or step % config.log_every == 0:
            log.row(step, lr, score)
        if (step % config.save_every == 0 or ended) and fabric.is_global_zero:
            parts_now = {name: part.state_dict() for name, part in saved.items()}
            folder.save(parts_now | {"step": step, "ended": ended, "classes": classes_of(val_set)})
    log.close()
    if best.weights:
        average.module.load_state_dict(best.weights)
        fabric.print(f"ended after step {step}: the best validation was after step {best.step}")
    return average.module, log.seconds, step


def start(config: Config) -> Fabric:
    """Fabric on this machine's devices, or as one of torchrun's processes."""
    from lightning_fabric import Fabric  # a second or more, which only a run needs

    if config.threads:
        torch.set_num_threads(config.threads)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    world = int(os.environ.get("WORLD_SIZE", local))
    mps: Any = torch.backends.mps
    there = {"cuda": torch.cuda.is_available, "mps": mps.is_available}
    known = config.accelerator in ("auto", "cpu", *there)
    if not known or (config.accelerator in there and not there[config.accelerator]()):
        raise ValueError(
            f"accelerator {config.accelerator!r} is not there: expected auto, cpu, cuda or mps"
        )
    if config.accelerator in ("auto", "cuda") and 0 < torch.cuda.device_count() < local:
        raise ValueError(
            f"devices {local}: this machine has {torch.cuda.device_count()} that torch can see"
        )
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=config.precision,  # type: ignore[arg-type]
    )
    if config.precision == "16-mixed" and fabric.device.type != "cuda":
        raise ValueError("precision 16-mixed is for GPUs of NVIDIA: take bf16-mixed or 32-true")
    fabric.launch()
    return fabric


def agree(fabric: Fabric, step: int, path: Path) -> int:
    """`step`, once all processes have read it in the run's folder, before any writes there.

    Raises ValueError where they read different ones.
    """
    steps = cast(Tensor, fabric.all_gather(torch.tensor(step))).flatten().tolist()
    if len(set(steps)) > 1:
        raise ValueError(
            f"{path} holds different checkpoints for different processes, of the steps "
            f"{sorted(set(steps))}: --out must be a folder that all machines share"
        )
    return step


def build(config: Config, classes: Sequence[str] = ()) -> nn.Module:
    """The network of the family that config names, for these classes, with random weights."""
    from deeplab_lite.models import zoo

    head = {"num_classes": len(classes)} if classes else {}
    try:
        return zoo.build(config.model, **(config.changes() | head))
    except TypeError as error:
        raise ValueError(
            f"options {config.options!r} do not fit {config.model}: {error}"
        ) from error


def head_of(config: Config, classes: Sequence[str], network: nn.Module) -> list[str]:
    """The tensors of a network of the family that have a row for each class; else none."""
    if not classes:
        return []
    with torch.device("meta"):
        one, other = (build(config, names).state_dict() for names in (classes, [*classes, ""]))
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if own != {name: tensor.shape for name, tensor in one.items()}:
        return []  # a network of the caller's own
    return last_layers(other, one)


def backward(fabric: Fabric, model: Any, parts: list[Batch], config: Config) -> float:
    """Add the gradient of the mean loss over the parts of all processes; return that loss."""
    weights = None
    if config.class_weights:
        weights = torch.tensor(config.class_weights, device=fabric.device)
    counts = [loss_counts(labels, config, weights) for _, labels in parts]
    count = add_up(fabric, torch.stack(counts).sum(0))
    count = torch.where(count > 0, count, 1)  # 255 everywhere: the loss is 0, and not 0 / 0
    total = torch.zeros((), device=fabric.device)
    for index, (images, labels) in enumerate(parts):
        with fabric.no_backward_sync(model, enabled=index < len(parts) - 1):
            logits = model(images)
            loss = (loss_terms(logits, labels, config, weights) / count).sum()
            fabric.backward(loss * fabric.world_size)  # DDP divides by it
        total += loss.detach()
    return float(add_up(fabric, total))


def share_statistics(fabric: Fabric, network: nn.Module) -> None:
    """Average batch norm's statistics over processes, so that all of them have one network."""
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.copy_(cast(Tensor, fabric.all_reduce(buffer, reduce_op="mean")))


def add_up(fabric: Fabric, value: Tensor) -> Tensor:
    """The sum over processes."""
    return cast(Tensor, fabric.all_reduce(value, reduce_op="sum"))


def stop(path: Path, step: int, loss: float, parts: list[Batch], network: nn.Module) -> NoReturn:
    """Save the batch and the weights that made the loss no number, and raise."""
    images, labels = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    content = {"step": step, "images": images, "labels": labels, "model": network.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)  # of a process on another machine
    torch.save(content, path)
    raise FloatingPointError(
        f"the loss of step {step} is {loss}: its batch and the weights are in {path}. If the "
        "images are finite, lower lr, lengthen warmup or set clip; the last checkpoint is good"
    )
