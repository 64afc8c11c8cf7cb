"""Keras and TensorFlow, imported after the environment variables that they need are set.

Import them from here only. The user's own settings (another Keras backend, XLA flags for other
programs, keras.json) must not change the results.
"""

import hashlib
import os
import platform
from pathlib import Path

from tasks.core.cores import usable_cores
from tasks.core.errors import StepError
from tasks.core.memory import garbage_ignored
from tasks.core.settings import PREFIX, read_settings
from tasks.core.versions import installed_versions

FOREIGN = ("TF_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "NVIDIA_TF32_OVERRIDE")
"""How the variables begin that choose kernels, precision, threads and the like."""
HARMLESS = {
    *("TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_VMODULE"),
    *("TF_FORCE_GPU_ALLOW_GROWTH", "TF_PER_DEVICE_MEMORY_LIMIT_MB"),
    "KERAS_HOME",  # where keras.datasets keeps what it downloads
}
"""What is logged, and where things are kept: the user decides."""
PROCESSOR = Path("/proc/cpuinfo")
BOOT = Path("/proc/sys/kernel/random/boot_id")


def pin_environment() -> None:
    """Remove the variables that could change results, and set ours."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in HARMLESS:
            del os.environ[name]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["XLA_FLAGS"] = read_settings().xla_flags
    if folder := cache_folder():
        os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={folder}"
    # Hide start-up messages unless the user has set a level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN concerns only operations outside XLA, of which this job has none worth speeding up, and
    # writes a message to stderr at any log level.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"


def cache_folder() -> Path | None:
    """Where XLA keeps what it compiles; nowhere without `AUTOENCODER_COMPILATION_CACHE`.

    What is in it is machine code, and TensorFlow checks little of what it loads. So processes share
    a folder only if they would compile the same: on the same processor, with as many cores, the
    same TensorFlow and flags. A power failure can leave damaged files: each start of the machine
    has a folder of its own.

    Raises:
        StepError: TensorFlow cannot take such a path.
    """
    settings = read_settings()
    if settings.compilation_cache is None:
        return None
    versions, start = installed_versions(), _read(BOOT)
    facts = (settings.xla_flags, usable_cores(), versions.tensorflow, _processor(), start)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    folder = settings.compilation_cache.absolute() / digest[:16]
    if len(str(folder).split()) > 1:
        raise StepError(f"{PREFIX}COMPILATION_CACHE: {folder} has a space, expected none")
    return folder


def _processor() -> str:
    """Its model and what it can do, in the system's words."""
    lines = _read(PROCESSOR).splitlines()
    found = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    return "\n".join([platform.machine(), *sorted(found)])


def _read(path: Path) -> str:
    """A file of the system; empty where there is none."""
    return path.read_text() if path.exists() else ""


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
