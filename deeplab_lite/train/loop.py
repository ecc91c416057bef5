"""The training loop, spelled out. Taught in lesson 09."""

import math
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from .config import Config
from .data import Augment, Stream, batches, mix, open_data, validation
from .folder import Folder
from .loss import IGNORE, loss_sum, normalizer
from .optim import Average, factor, make_optimizer
from .sync import synchronize

Batch = tuple[Tensor, Tensor]  # images B x 3 x H x W, labels B x H x W


class Trained(NamedTuple):
    """model: in eval mode, averaged weights; metrics: on the validation set; weights: their file,
    None for a model of the caller's own."""

    model: nn.Module
    metrics: dict[str, Any]
    weights: Path | None


def train(
    config: Config,
    model: nn.Module | None = None,
    data: tuple[Any, Any] | None = None,
    augment: Augment | None = None,
) -> Trained:
    """Train config.model on config.data, on a CPU, a GPU, or all that torchrun started.

    model: a network of your own in its place; data: (training set, validation set) of (image
    3 x H x W float, label H x W int64) in its place. With the same config, a run that was killed
    and resumed gives the same weights, bit for bit on CPUs; `torch`'s global generator is left as
    it was. Raises FloatingPointError when the loss is no number, with the batch saved.
    """
    fabric = start(config)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(config.seed)
        network = build(config) if model is None else model
        return run(fabric, config, network, data or open_data(config), augment, model is None)


def run(
    fabric: Fabric,
    config: Config,
    network: nn.Module,
    data: tuple[Any, Any],
    augment: Augment | None,
    ship: bool,
) -> Trained:
    """The loop: see `train`."""
    rank, world = fabric.global_rank, fabric.world_size
    folder = Folder(config, fabric.is_global_zero)
    state = folder.open()
    if config.init and state is None:
        fabric.print(initialize(network, config.init))
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    if world > 1 and config.sync_batch_norm:
        network = synchronize(network, fabric.device)
    model, optimizer = fabric.setup(network, make_optimizer(network, config))
    average = Average(network, config.ema)
    weights = torch.tensor(config.class_weights, device=fabric.device)
    scaler = fabric.strategy.precision

    step, seconds, losses = 0, 0.0, []
    if state is not None:
        network.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        step, seconds, losses = state["step"], state["seconds"], state["losses"]
    fabric.barrier()
    folder.start(step)

    bar = tqdm(
        total=config.steps * config.batch,
        initial=step * config.batch,
        unit="img",
        disable=not (config.progress and fabric.is_global_zero),
        dynamic_ncols=True,
        mininterval=0.5,
    )
    began = lap = time.perf_counter() - seconds
    lap_step = step
    metrics: dict[str, Any] = {}
    model.train()
    stream = batches(Stream(data[0], config.seed, augment), config, rank, world, step)
    while step < config.steps:
        torch.manual_seed(mix(config.seed, step, rank))  # of dropout: no state to keep either
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor(step, config)
        parts = [to_device(next(stream), fabric, config) for _ in range(config.accumulate)]
        loss = backward(fabric, model, parts, config, weights if config.class_weights else None)
        if not math.isfinite(loss):
            stop(folder, rank, step, loss, parts, network)
        if config.clip:
            fabric.clip_gradients(model, optimizer, max_norm=config.clip)
        optimizer.step()
        optimizer.zero_grad()
        average.update(network, step)
        step += 1
        losses.append(loss)
        bar.update(config.batch)
        bar.set_postfix(loss=f"{loss:.3f}", mIoU=metrics.get("miou", "-"), refresh=False)

        last = step == config.steps
        if validated := step % config.val_every == 0 or last:
            metrics = validate(fabric, average.model, data[1], config)
            model.train()
        if validated or step % config.log_every == 0:
            now = time.perf_counter()
            folder.log(
                {
                    "step": step,
                    "images": step * config.batch,
                    "lr": f"{optimizer.param_groups[0]['lr']:.6g}",
                    "loss": f"{sum(losses) / len(losses):.6g}",
                    "val_miou": metrics["miou"] if validated else "",
                    "images_per_s": f"{(step - lap_step) * config.batch / (now - lap):.1f}",
                    "seconds": f"{now - began:.1f}",
                }
            )
            losses, lap_step = [], step
            lap = time.perf_counter()
        if step % config.save_every == 0 or last:
            folder.save(
                {
                    "step": step,
                    "seconds": time.perf_counter() - began,
                    "losses": losses,
                    "model": network.state_dict(),
                    "average": average.model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "scaler": scaler.state_dict(),
                }
            )
    bar.close()
    folder.close()
    final = average.model.eval()
    if not metrics:  # resumed after its last step
        metrics = validate(fabric, final, data[1], config)
    path = None
    if ship and fabric.is_global_zero:
        path = keep(folder, config, final, data[1], metrics, time.perf_counter() - began, fabric)
    return Trained(final, metrics, path)


def start(config: Config) -> Fabric:
    """Fabric on this machine's devices, or as one of torchrun's processes."""
    if config.threads:
        torch.set_num_threads(config.threads)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    world = int(os.environ.get("WORLD_SIZE", local))
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=local,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=config.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def build(config: Config) -> nn.Module:
    """The network of the family that config names, with random weights."""
    from deeplab_lite.models import lite

    return lite.build(config.model, **config.changes())


def to_device(batch: Batch, fabric: Fabric, config: Config) -> Batch:
    images, labels = batch
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    images = images.to(fabric.device, memory_format=layout, non_blocking=True)
    return images, labels.to(fabric.device, non_blocking=True)


def backward(
    fabric: Fabric,
    model: Any,
    parts: list[Batch],
    config: Config,
    class_weights: Tensor | None = None,
) -> float:
    """Add the gradient of the mean loss over all parts of all processes; return that loss."""
    counts = [normalizer(labels, class_weights, config.ohem) for _, labels in parts]
    count = add_up(fabric, torch.stack(counts).sum())
    count = torch.where(count > 0, count, 1)  # a batch of 255 alone has no loss, and no gradient
    total = torch.zeros((), device=fabric.device)
    for index, (images, labels) in enumerate(parts):
        with fabric.no_backward_sync(model, enabled=index < len(parts) - 1):
            logits = model(images)
            loss = loss_sum(logits, labels, class_weights, config.ohem, config.aux_weight) / count
            fabric.backward(loss * fabric.world_size)  # DDP will divide by it
        total += loss.detach()
    return float(add_up(fabric, total))


def add_up(fabric: Fabric, value: Tensor) -> Tensor:
    """The sum over processes."""
    return cast(Tensor, fabric.all_reduce(value, reduce_op="sum"))


@torch.no_grad()
def validate(fabric: Fabric, model: nn.Module, dataset: Any, config: Config) -> dict[str, Any]:
    """{"miou", "accuracy", "iou": per class} of `model` on the validation images; leaves it in eval
    mode."""
    model.eval()
    confusion: Tensor | None = None
    loader = validation(dataset, config, fabric.global_rank, fabric.world_size)
    for batch in loader:
        images, labels = to_device(batch, fabric, config)
        with fabric.autocast():
            logits = model(images)
        logits = logits["out"] if isinstance(logits, dict) else logits
        classes = logits.shape[1]
        counted = labels != IGNORE
        pairs = classes * labels[counted] + logits.argmax(1)[counted]
        seen = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        confusion = seen if confusion is None else confusion + seen
    assert confusion is not None
    confusion = add_up(fabric, confusion).double()
    hit = confusion.diag()
    iou = hit / (confusion.sum(0) + confusion.sum(1) - hit)
    return {
        "miou": round(float(iou.nanmean()), 4),
        "accuracy": round(float(hit.sum() / confusion.sum()), 4),
        "iou": [round(float(value), 4) for value in iou],
    }


def stop(
    folder: Folder, rank: int, step: int, loss: float, parts: Iterable[Batch], network: nn.Module
) -> None:
    """Save what made the loss no number, and raise FloatingPointError."""
    path = folder.path / f"bad-batch-{rank}.pt"
    images, labels = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    content = {"step": step, "images": images, "labels": labels, "model": network.state_dict()}
    torch.save(content, path)
    raise FloatingPointError(
        f"the loss of step {step} is {loss}: its images, labels and the weights are in {path}. "
        "Look for images that are no numbers; if there are none, lower lr, lengthen warmup or set "
        "clip"
    )


def initialize(network: nn.Module, source: str) -> str:
    """Take over the tensors of a checkpoint whose names and shapes fit; say in a line which."""
    from safetensors.torch import load_file

    from deeplab_lite import checkpoints

    if Path(source).suffix == ".safetensors":
        state = load_file(source)
    elif Path(source).suffix == ".pt":
        state = torch.load(source, map_location="cpu", weights_only=True)
        state = state.get("average", state)
    else:
        state = checkpoints.load(source).state_dict()
    own = network.state_dict()
    fitting = {n: t.float() for n, t in state.items() if n in own and t.shape == own[n].shape}
    if not fitting:
        raise ValueError(f"{source} holds no tensor of this {type(network).__name__}")
    network.load_state_dict(fitting, strict=False)
    fresh = [name for name in own if name not in fitting]
    return (
        f"{source}: {len(fitting)} of {len(own)} tensors taken over"
        + (f"; new: {', '.join(fresh)}" if fresh else "")
        + (f"; {unused} of it unused" if (unused := len(state) - len(fitting)) else "")
    )


# ---- The card ------------------------------------------------------------------------------------


def keep(
    folder: Folder,
    config: Config,
    model: nn.Module,
    dataset: Any,
    metrics: dict[str, Any],
    seconds: float,
    fabric: Fabric,
) -> Path:
    """Write NAME.safetensors and its card; return its path."""
    from deeplab_lite import checkpoints
    from deeplab_lite.models import lite

    kind, options = lite.FAMILY[config.model]
    options = options | config.changes()
    classes = classes_of(config, len(metrics["iou"]))
    card = {
        "model": {"class": kind, "options": options},
        "classes": classes,
        "data": {"name": config.data, "size": config.size, "images": config.steps * config.batch},
        "seed": config.seed,
        "command": config.command(),
        "commit": commit(),
        "hardware": hardware(fabric),
        "time": f"{seconds / 60:.1f} minutes",
        "metrics": {
            "val": metrics | {"iou": dict(zip(classes, metrics["iou"], strict=True))},
        },
    }
    return checkpoints.save(model, folder.path / f"{config.name}.safetensors", card)


def classes_of(config: Config, count: int) -> list[str]:
    if config.data == "scenes":
        from deeplab_lite.scenes import CLASSES

        return list(CLASSES)
    return [str(index) for index in range(count)]


def commit() -> str:
    """The commit of the repository that this code is in, "unknown" outside of one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def hardware(fabric: Fabric) -> str:
    """What it was trained on, in words."""
    if fabric.device.type == "cuda":
        return f"{fabric.world_size} x {torch.cuda.get_device_name(fabric.device)}"
    threads = torch.get_num_threads()
    return f"{fabric.world_size} x CPU ({platform.machine()}), {threads} threads each"
