"""Choosing where to compute."""

import ctypes
import logging
from typing import Any

from tasks.core.errors import StepError
from tasks.core.records import DeviceChoice, DeviceKind

logger = logging.getLogger(__name__)

DRIVER = "libcuda.so.1"
"""NVIDIA's; TensorFlow's builds for GPUs open it."""


def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Make TensorFlow use what was asked for, and say what that is.

    Raises:
        StepError: a GPU was asked for and none is visible.
    """
    gpus = _visible_gpus()
    if requested == "gpu" and not gpus:
        raise StepError(
            "device=gpu, but TensorFlow sees no GPU: install the gpu requirements and the driver, "
            "or choose device=auto"
        )
    if requested == "cpu" or not gpus:
        if gpus:
            _hide_gpus()
        logger.info("Computing on the CPU%s", "" if requested == "cpu" else ": no GPU is visible")
        return "cpu"
    _take_memory_as_needed(gpus)
    logger.info("Computing on %s", gpus[0].name)
    return "gpu"


def _visible_gpus() -> list[Any]:
    """What TensorFlow sees. It takes seconds to import, and sees nothing without the driver."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return []
    from tasks.core.backend import tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    return gpus


def _hide_gpus() -> None:
    from tasks.core.backend import tf

    tf.config.set_visible_devices([], "GPU")


def _take_memory_as_needed(gpus: list[Any]) -> None:
    """Otherwise TensorFlow takes all memory of a GPU, whatever else runs there."""
    from tasks.core.backend import tf

    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
