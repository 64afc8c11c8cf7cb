"""Keras and TensorFlow, imported after the environment variables that they need are set.

Import them from here only. The user's own settings (another Keras backend, XLA flags for other
programs, keras.json) must not change the results.
"""

import os

from tasks.core.cores import usable_cores
from tasks.core.memory import garbage_ignored
from tasks.core.settings import read_settings

FOREIGN = ("TF_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "NVIDIA_TF32_OVERRIDE")
"""How the variables begin that choose kernels, precision, threads and the like."""
HARMLESS = {
    *("TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_VMODULE"),
    *("TF_FORCE_GPU_ALLOW_GROWTH", "TF_PER_DEVICE_MEMORY_LIMIT_MB"),
    "KERAS_HOME",  # where keras.datasets keeps what it downloads
}
"""What is logged, and where things are kept: the user decides."""


def pin_environment() -> None:
    """Remove the variables that could change results, and set ours."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in HARMLESS:
            del os.environ[name]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["XLA_FLAGS"] = read_settings().xla_flags
    # Hide start-up messages unless the user has set a level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN concerns only operations outside XLA, of which this job has none worth speeding up, and
    # writes a message to stderr at any log level.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"


pin_environment()
with garbage_ignored():
    import keras as keras
    import tensorflow as tf

# Whatever ~/.keras/keras.json says.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
keras.config.set_dtype_policy("float32")
# TensorFlow counts the machine's cores, of which a container may have a share.
tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
tf.config.threading.set_inter_op_parallelism_threads(usable_cores())

__all__ = ["keras", "tf"]
