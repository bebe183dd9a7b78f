"""What this machine has: processor, memory, disk, graphics cards. Detection never fails, it only finds less.

Memory is what this process may really use: a container's limit counts, and so does what others use already. NVIDIA
cards are asked through NVML (``nvidia-ml-py``), AMD cards through the kernel's sysfs, Apple's share the main memory.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from backends.llama.build import libraries

_CGROUP = Path("/sys/fs/cgroup")
_DRM = Path("/sys/class/drm")
_APPLE_SHARE = 0.75
"""Share of the main memory that Metal lets one process use (Apple's recommendedMaxWorkingSetSize, 64 % to 75 %)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One graphics card. Bytes."""

    name: str
    kind: str
    """``nvidia``, ``amd`` or ``apple``."""
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """One machine. Bytes, except cores."""

    processor: str
    cores: int
    """Physical cores this process may use."""
    features: frozenset[str]
    """Of ``avx2 avx512 amx neon dotprod i8mm``: what decides which kernels llama.cpp takes."""
    memory: int
    """Main memory, or the container's limit where that is smaller."""
    available: int
    """Main memory that can be used now without swapping."""
    swap: int
    disk_free: int
    """In the folder where tiers are made."""
    gpus: tuple[Gpu, ...] = ()
    gpu_backends: frozenset[str] = frozenset()
    """GPU backends the installed llama.cpp was built with: ``cuda hip vulkan metal sycl``."""
    container_limit: int = 0
    """The container's memory limit; 0 when there is none."""

    @property
    def usable_gpus(self) -> tuple[Gpu, ...]:
        """Cards the installed llama.cpp can use."""
        serves = {"nvidia": {"cuda", "vulkan"}, "amd": {"hip", "vulkan"}, "apple": {"metal"}}
        return tuple(gpu for gpu in self.gpus if serves[gpu.kind] & self.gpu_backends)


def detect(folder: Path) -> Hardware:
    """Look at this machine. ``folder`` names the disk whose free space counts (it need not exist yet)."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = _container()
    total, available = memory.total, memory.available
    if 0 < limit < total:
        total, available = limit, min(available, max(limit - used, 0))
    return Hardware(
        processor=_processor(),
        cores=_cores(),
        features=_features(),
        memory=total,
        available=available,
        swap=psutil.swap_memory().total,
        disk_free=_disk_free(folder),
        gpus=(*_nvidia(), *_amd(), *_apple(total, available)),
        gpu_backends=_gpu_backends(),
        container_limit=limit if 0 < limit < memory.total else 0,
    )


def _cores() -> int:
    import psutil

    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or allowed or 1, allowed or 1))


def _processor() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _features() -> frozenset[str]:
    flags: set[str] = set()
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            break
    found: set[str] = {name for name in ("avx2", "i8mm") if name in flags}
    found |= {"avx512"} if "avx512f" in flags else set()
    found |= {"amx"} if "amx_int8" in flags else set()
    if platform.machine().lower() in ("arm64", "aarch64"):
        found |= {"neon"}
        # Every Apple chip has dotprod, and i8mm since the M2; without a flag list the common case is assumed.
        found |= {"dotprod"} if "asimddp" in flags or not flags else set()
    return frozenset(found)


def _container() -> tuple[int, int]:
    """Limit and use of this control group (version 2, else 1); zeros where there is no limit."""
    for limit, used in (
        (_CGROUP / "memory.max", _CGROUP / "memory.current"),
        (_CGROUP / "memory/memory.limit_in_bytes", _CGROUP / "memory/memory.usage_in_bytes"),
    ):
        text = "".join(_lines(limit)).strip()
        if text.isdigit():
            current = "".join(_lines(used)).strip()
            return int(text), int(current) if current.isdigit() else 0
    return 0, 0


def _disk_free(folder: Path) -> int:
    for place in (folder, *folder.absolute().parents):
        if place.is_dir():
            return shutil.disk_usage(place).free
    return 0


def _nvidia() -> list[Gpu]:
    if importlib.util.find_spec("pynvml") is None:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = pynvml.nvmlDeviceGetName(handle)
            found.append(Gpu(name if isinstance(name, str) else name.decode(), "nvidia", memory.total, memory.free))
        return found
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _amd() -> list[Gpu]:
    found = []
    for card in sorted(_DRM.glob("card[0-9]*/device/mem_info_vram_total")):
        total = "".join(_lines(card)).strip()
        used = "".join(_lines(card.with_name("mem_info_vram_used"))).strip()
        if total.isdigit():
            name = "".join(_lines(card.with_name("product_name"))).strip() or "AMD graphics"
            found.append(Gpu(name, "amd", int(total), int(total) - (int(used) if used.isdigit() else 0)))
    return found


def _apple(total: int, available: int) -> list[Gpu]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    return [Gpu("Apple graphics (shared memory)", "apple", int(total * _APPLE_SHARE), int(available * _APPLE_SHARE))]


def _gpu_backends() -> frozenset[str]:
    names = [path.name.lower() for path in libraries("*ggml-*")]
    return frozenset(kind for kind in ("cuda", "hip", "vulkan", "metal", "sycl") if any(kind in name for name in names))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
