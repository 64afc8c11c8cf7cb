"""Describe the machine that a benchmark ran on."""

import platform
import re
from pathlib import Path

from tasks.core.cores import usable_cores

PROCESSOR = Path("/proc/cpuinfo")
INSTRUCTIONS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
"""By the kernel's name, the widest first: what XLA compiles for depends on them."""


def describe_machine() -> dict[str, str | int]:
    """Its processor, with the widest instructions, and how many cores a benchmark can use."""
    text = PROCESSOR.read_text() if PROCESSOR.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    known = flags[1].split() if flags else []
    widest = next((label for flag, label in INSTRUCTIONS.items() if flag in known), None)
    processor = name[1] if name else platform.machine()
    return {
        "processor": f"{processor}, {widest}" if widest else processor,
        "cores": usable_cores(),
    }
