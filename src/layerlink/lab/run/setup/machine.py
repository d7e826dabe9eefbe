"""What this machine is and what it does fast."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import layerlink
from layerlink.errors import Problem, UsageError
from layerlink.lab.parallel.processes import here
from layerlink.lab.recipe.file import LoadedRecipe
from layerlink.lab.recipe.schema import Recipe
from layerlink.lab.recipe.texts import TEXT
from layerlink.taps.observed import Precision


def choose_device(name: str) -> torch.device:
    """The device that a recipe asks for; "auto" takes a GPU where there is one.

    Raises:
        UsageError: for a device that this machine lacks.
    """
    if here().size > 1 and not (name == "cpu" or (name == "auto" and not torch.cuda.is_available())):
        return _own_gpu(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device: this machine has {torch.cuda.device_count()} CUDA GPUs; {name!r} is not there")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device: this machine has no Apple GPU; use device=auto")
    return device


def _own_gpu(name: str) -> torch.device:
    """The GPU of this process, one of several of a training."""
    if name not in ("auto", "cuda"):
        raise UsageError(f"device: every process takes its own; got {name!r}. Use auto, cuda or cpu")
    count, processes = torch.cuda.device_count(), here()
    if processes.local_size > count:
        raise UsageError(
            f"device: this machine has {count} CUDA GPUs for {processes.local_size} processes. Start as many as there "
            "are GPUs (torchrun --nproc-per-node), or use device=cpu"
        )
    torch.cuda.set_device(processes.local_rank)
    return torch.device("cuda", processes.local_rank)


def choose_precision(name: str, device: torch.device) -> Precision:
    """What the arithmetic is done in; "auto" takes bfloat16 where the hardware multiplies it natively."""
    if name != "auto":
        return "bfloat16" if name == "bfloat16" else "float16" if name == "float16" else "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and _cpu_multiplies_bfloat16() else "float32"


def graph_problems(recipe: Recipe, device: torch.device) -> Iterator[str]:
    """Why a recipe's models cannot be replayed as CUDA graphs, where it asks for that."""
    if recipe.compile == "graphs" and device.type != "cuda":
        yield f"graphs are CUDA's, and the device is {device.type}: set compile=true, or device=cuda where there is one"
    if recipe.compile == "graphs" and recipe.data.name == TEXT:
        yield "a CUDA graph is of one shape, and texts are padded to many: set compile=true"


def process_problems(loaded: LoadedRecipe) -> Iterator[Problem]:
    """What of a recipe does not go with as many processes as train here."""
    recipe, count = loaded.recipe, here().size
    if recipe.data.views > 1 and count > 1:
        what = f"several views are compared in one process; {count} were started"
        yield loaded.problem(("data", "views"), what)
    if recipe.training.batch_size < count:
        what = f"must give each of the {count} processes an example; got {recipe.training.batch_size}"
        yield loaded.problem(("training", "batch_size"), what)


def tf32(device: torch.device) -> tuple[str, ...]:
    """What a GPU computes in TF32 where float32 is asked for: products then keep 10 bits of 23.

    As torch is set up: convolutions are by default, matrix products are not.
    """
    if device.type != "cuda" or torch.version.hip or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return ()
    if torch.cuda.get_device_capability(device) < (8, 0):
        return ()
    if hasattr(torch.backends.cudnn, "conv"):
        set_to = (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
        chosen = tuple(it == "tf32" for it in set_to)
    else:
        chosen = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    names = ("convolutions", "matrix products")
    return tuple(name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen)


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or "bf16 " in flags.partition("Features")[2]


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on ``device``; within the limits of the process's control group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_available_pages(), *_group_limits()]
    return min(number for number in free if number is not None)


def _available_pages() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        return pages * os.sysconf("SC_PAGE_SIZE") // 2 if pages > 0 else 4 << 30


def _group_limits() -> list[int | None]:
    """What the memory limit of the control group (versions 2 and 1) leaves, where there is one."""
    found: list[int | None] = []
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            most, now = (Path(folder, name).read_text(encoding="utf-8").strip() for name in (limit, used))
            found.append(None if most == "max" else max(int(most) - int(now), 0))
        except (OSError, ValueError):
            continue
    return found


def processor_name(device: torch.device) -> str:
    """The device's model, with what there is of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        told = ""
    name = f"{kind_of_processor(told)} with {torch.backends.cpu.get_cpu_capability()}"
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def kind_of_processor(told: str) -> str:
    """Its name, and the numbers that tell generations apart: virtual machines call many of them the same.

    Args:
        told: what Linux says of processors, ``/proc/cpuinfo``; may be empty.
    """
    known: dict[str, str] = {}
    for line in told.splitlines():
        field, _, value = (part.strip() for part in line.partition(":"))
        known.setdefault(field, value)
    name = known.get("model name") or platform.processor() or platform.machine()
    numbers = [(words, known.get(field)) for field, words in _NUMBERS.items()]
    kind = ", ".join(f"{words} {number}" for words, number in numbers if number)
    return f"{name} ({kind})" if kind else name


# Fields of /proc/cpuinfo on x86 and on Arm, and what they are called here.
_NUMBERS = {"cpu family": "family", "model": "model", "CPU implementer": "implementer", "CPU part": "part"}


def describe_machine(device: torch.device, precision: Precision) -> dict[str, Any]:
    """What has to be known to understand a run's numbers later: versions, commit, hardware, command."""
    packages = ("torch", "numpy", "safetensors", "pydantic", "scikit-learn", "pyarrow", "pillow")
    together = {"processes": here().size} if here().size > 1 else {}
    return {
        "layerlink": layerlink.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: version for name in packages if (version := _version(name))},
        "platform": platform.platform(),
        "hardware": processor_name(device),
        "device": str(device),
        "precision": precision,
        **together,
        "command": " ".join(["layerlink", *sys.argv[1:]]),
    }


def _version(package: str) -> str | None:
    try:
        # torch's own word has its build, such as +cu124, where the package's has none.
        return torch.__version__ if package == "torch" else metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit that this code is at, "+changes" where files differ from it; None where it is no checkout."""
    folder = Path(layerlink.__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        if not git("ls-files", "--error-unmatch", str(folder / "__init__.py")):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", str(folder)) else "")
    except (OSError, subprocess.SubprocessError):
        return None
