"""Choosing where to compute."""

import logging

import tensorflow as tf

from tasks.errors import StepError
from tasks.records import DeviceChoice, DeviceKind

logger = logging.getLogger(__name__)


def choose_device(requested: DeviceChoice) -> DeviceKind:
    """Make TensorFlow use what was asked for, and say what that is.

    Raises:
        StepError: a GPU was asked for and none is visible.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if requested == "gpu" and not gpus:
        raise StepError(
            "device=gpu, but TensorFlow sees no GPU: install the gpu requirements and the driver, "
            "or choose device=auto"
        )
    if requested == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        logger.info("Computing on the CPU%s", "" if requested == "cpu" else ": no GPU is visible")
        return "cpu"
    for gpu in gpus:
        # Otherwise TensorFlow takes all memory of the GPU, whatever else runs there.
        tf.config.experimental.set_memory_growth(gpu, True)
    logger.info("Computing on %s", gpus[0].name)
    return "gpu"
