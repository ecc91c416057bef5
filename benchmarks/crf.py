"""The CRF's lattice in torch beside the reference C++ code, in one run on the same problems.

    python -m benchmarks.crf               3 minutes on two cores; writes assets/crf.csv
    python -m benchmarks.crf --rounds 1    a quick look, writes nothing

A ratio below 1 means that ours is faster. "build" is the time for no iteration, "step" for one
more. Turns are taken, but two threads wait for each other where other programs run: then only the
rows of one thread can be compared. Beside speed: the share of equal labels, the mean difference of
the marginals, and what memory each takes, in a process of its own.
"""

import argparse
import csv
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from benchmarks.peers import turns
from deeplab_lite import checkpoints, photos, scenes
from deeplab_lite.crf import dense_crf, exact

ASSETS = Path(__file__).parents[1] / "assets"
#          (sigma_xy, sigma_rgb): DeepLab v1's script, the one for COCO, wide ones of the search
SIGMAS = ((50, 3), (67, 3), (80, 13))
SIZE, CLASSES, BATCH = 321, 21, 8
MIB = 2**20


class Problem(NamedTuple):
    """What to solve, and how often to time it."""

    name: str
    probs: Tensor
    image: Tensor
    sigma_xy: float = 50
    sigma_rgb: float = 3
    threads: int = 2
    backend: str = "lattice"
    rounds: int = 9

    def solve(self, backend: str, iterations: int = 10) -> Tensor:
        return dense_crf(
            self.probs,
            self.image,
            sigma_xy=self.sigma_xy,
            sigma_rgb=self.sigma_rgb,
            iterations=iterations,
            backend=backend,
        )


def photograph(size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Pascal VOC's size and number of classes: a photograph's mask under noise, and the image."""
    image, mask = photos.photo("astronaut"), photos.reference_mask("astronaut", band=0)
    first = (len(mask) - SIZE) // 2
    window = slice(first, first + size)
    label = torch.from_numpy(mask[window, window] % CLASSES).long()
    random = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(CLASSES, size, size, generator=random)
    logits.scatter_add_(0, label[None], torch.full((1, size, size), 2.0))
    return logits.softmax(0), torch.from_numpy(np.ascontiguousarray(image[window, window]))


def scene_problem() -> tuple[Tensor, Tensor]:
    """A test scene, and what v1 says of it."""
    image, _ = scenes.scene(scenes.SPLITS["test"][0])
    with torch.inference_mode():
        logits = checkpoints.load("v1-scenes")(scenes.normalize(image)[None])[0]
    return logits.clone().softmax(0), torch.from_numpy(image)


def problems() -> Iterator[Problem]:
    probs, image = photograph()
    for threads in (2, 1):
        for sigmas in SIGMAS:
            yield Problem("photograph", probs, image, *sigmas, threads)
    yield Problem(f"{BATCH} photographs", *shifted(probs, image), *SIGMAS[1], rounds=3)
    yield Problem("scene", *scene_problem(), *SIGMAS[0], rounds=21)
    small = round(exact.MAX_PIXELS**0.5)
    yield Problem("crop, all pairs", *photograph(small), *SIGMAS[0], backend="exact", rounds=3)
    if torch.cuda.is_available():
        for count, pair in ((1, (probs, image)), (BATCH, shifted(probs, image))):
            name = f"{count} on {torch.cuda.get_device_name()}"
            yield Problem(name, *(array.cuda() for array in pair), *SIGMAS[1])


def shifted(probs: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """A batch of different images: the same one, rolled to the right."""
    steps = range(0, SIZE, SIZE // BATCH)[:BATCH]
    return (
        torch.stack([probs.roll(step, -1) for step in steps]),
        torch.stack([image.roll(step, 1) for step in steps]),
    )


def measure(problem: Problem, rounds: int | None) -> dict[str, Any]:
    """A row of the table. Pydensecrf is always on one thread of the CPU."""
    ours, theirs = problem.backend, "pydensecrf"
    torch.set_num_threads(problem.threads)
    on_cpu = problem._replace(probs=problem.probs.cpu(), image=problem.image.cpu())

    def run(backend: str, iterations: int) -> Tensor:
        found = (on_cpu if backend == theirs else problem).solve(backend, iterations)
        if found.is_cuda:
            torch.cuda.synchronize()
        return found

    keys = [(backend, steps) for backend in (ours, theirs) for steps in (10, 0)]
    seconds = turns({key: lambda key=key: run(*key) for key in keys}, rounds or problem.rounds)
    mine, other = (run(backend, 10).cpu() for backend in (ours, theirs))
    return {
        "problem": f"{problem.name}, {' x '.join(map(str, problem.probs.shape))}",
        "sigma_xy": problem.sigma_xy,
        "sigma_rgb": problem.sigma_rgb,
        "threads": problem.threads,
        "backend": ours,
        "ratio": round(seconds[ours, 10] / seconds[theirs, 10], 3),
        "ms": round(1000 * seconds[ours, 10], 1),
        "pydensecrf_ms": round(1000 * seconds[theirs, 10], 1),
        "build_ratio": round(seconds[ours, 0] / seconds[theirs, 0], 3),
        "step_ratio": round(
            (seconds[ours, 10] - seconds[ours, 0]) / (seconds[theirs, 10] - seconds[theirs, 0]), 3
        ),
        "same_labels": round(float((mine.argmax(-3) == other.argmax(-3)).double().mean()), 6),
        "mean_difference": float(f"{float((mine - other).abs().double().mean()):.1e}"),
    }


def peak_memory(backend: str) -> float:
    """MiB that one photograph takes above what the process held before, in this very process."""
    probs, image = photograph()
    problem = Problem("photograph", probs, image, *SIGMAS[1])
    small = problem._replace(probs=probs[:, :9, :9], image=image[:9, :9])
    small.solve(backend)  # loads what it needs
    torch.set_num_threads(problem.threads)
    before, held = most_held(), psutil.Process().memory_info().rss
    problem.solve(backend)
    if most_held() == before:
        raise RuntimeError("the process had held more before: its peak says nothing")
    return (most_held() - held) / MIB


def most_held() -> int:
    """Bytes that this process held at most. Linux counts its parent's too in ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="timed rounds of each problem; writes nothing")
    parser.add_argument("--memory-of", metavar="BACKEND", help="print its peak in MiB, only")
    options = parser.parse_args()
    if options.memory_of:
        print(peak_memory(options.memory_of))
        return
    if psutil.getloadavg()[0] > 1:
        print("This machine is busy: rows of two threads will be too slow.", file=sys.stderr)
    memory = {}
    for backend in ("lattice", "pydensecrf"):
        command = [sys.executable, "-m", "benchmarks.crf", "--memory-of", backend]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        memory[backend] = float(done.stdout)
    rows = []
    for problem in problems():
        rows.append(measure(problem, options.rounds))
        if len(rows) == 1:
            print("  ".join(f"{name:>{width(name)}}" for name in rows[0]))
        print("  ".join(f"{value:>{width(name)}}" for name, value in rows[-1].items()), flush=True)
    ratio = memory["lattice"] / memory["pydensecrf"]
    print(
        f"peak memory of a photograph at {SIGMAS[1]}: lattice {memory['lattice']:.0f} MiB, "
        f"pydensecrf {memory['pydensecrf']:.0f} MiB, ratio {ratio:.2f}"
    )
    if options.rounds is None:
        for row in rows:
            row["memory_ratio"] = round(ratio, 2) if row is rows[1] else ""
        with (ASSETS / "crf.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def width(name: str) -> int:
    return max(len(name), 34 if name == "problem" else 7)


if __name__ == "__main__":
    main()
