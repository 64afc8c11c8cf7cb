"""Choosing where to compute."""

import ctypes
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks.core.errors import StepError
from tasks.core.records import DeviceChoice, DeviceKind
from tasks.core.settings import PREFIX, read_settings

logger = logging.getLogger(__name__)

CHECKOUT = Path(__file__).parents[2]
TRIAL = """
from tasks.core.backend import tf
tf.function(lambda x: x + x, jit_compile=True)(tf.constant(1.0))
"""
DRIVER = "libcuda.so.1"
"""NVIDIA's driver; TensorFlow sees no GPU without it."""


def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Make TensorFlow use the requested device, and return which one that is.

    Raises:
        StepError: a GPU was requested and none is there, or TensorFlow computes elsewhere already.
    """
    gpus = _find_gpus()
    if requested == "gpu" and not gpus:
        raise StepError(
            "device=gpu, but TensorFlow sees no GPU: install the gpu requirements and the driver, "
            "or choose device=auto"
        )
    if requested == "cpu" or not gpus:
        if gpus:
            _show_gpus([])
        logger.info("Computing on the CPU%s", "" if requested == "cpu" else ": no GPU is visible")
        return "cpu"
    _show_gpus(gpus)
    _take_memory_as_needed(gpus)
    logger.info("Computing on %s", gpus[0].name)
    return "gpu"


def check_xla_flags() -> None:
    """Try ours in another process: XLA ends one whose flags it does not know, within the training.

    Raises:
        StepError: XLA does not take them.
    """
    flags = read_settings().xla_flags
    if not flags:
        return
    tried = subprocess.run(
        [sys.executable, "-c", TRIAL], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
        raise StepError(f"{PREFIX}XLA_FLAGS={flags} cannot be used: {lines[-1].split('] ')[-1]}")


def _find_gpus() -> list[Any]:
    """The GPUs of this machine, hidden ones too.

    Without the driver, spare the seconds of importing TensorFlow.
    """
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return []
    from tasks.core.backend import tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    return gpus


def _show_gpus(gpus: list[Any]) -> None:
    """Let TensorFlow compute on these GPUs, or on the CPU if there are none.

    A process of Dask may serve several runs, and TensorFlow cannot change once it has computed.

    Raises:
        StepError: it computes elsewhere.
    """
    from tasks.core.backend import tf

    try:
        tf.config.set_visible_devices(gpus, "GPU")
    except RuntimeError as error:
        here, wanted = ("CPU", "GPU") if gpus else ("GPU", "CPU")
        raise StepError(
            f"This process has computed on the {here} before, and cannot change to the {wanted}: "
            "restart it (a Dask worker keeps the device of the first run that it served)"
        ) from error


def _take_memory_as_needed(gpus: list[Any]) -> None:
    """By default, TensorFlow takes all memory of a GPU, whatever else runs there."""
    from tasks.core.backend import tf

    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
