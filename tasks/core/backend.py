"""Keras and TensorFlow, imported after the environment variables that they need are set.

Import them from here only. The user's own settings (another Keras backend, XLA flags for other
programs, keras.json) must not change the results.
"""

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.cores import usable_cores
from tasks.core.errors import StepError
from tasks.core.memory import garbage_ignored, limit_heaps
from tasks.core.settings import PREFIX, pin_environment, read_settings
from tasks.core.versions import installed_versions

PROCESSOR = Path("/proc/cpuinfo")
BOOT = Path("/proc/sys/kernel/random/boot_id")


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


def keras_folder() -> Path:
    """Where Keras keeps what it downloads: `KERAS_HOME`, or ~/.keras."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()


@contextmanager
def keras_settings_ignored() -> Iterator[None]:
    """Import Keras within this: it neither reads keras.json nor writes one.

    Keras ends with a traceback where that file is no JSON object or has unknown values.
    """
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # in which there is no file
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home
    # Keras has no other setting for the folder of its downloads.
    vars(sys.modules["keras.src.backend.config"])["_KERAS_DIR"] = str(keras_folder())


pin_environment()
limit_heaps()
if folder := cache_folder():
    os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={folder}"
with garbage_ignored(), keras_settings_ignored():
    import keras as keras
    import tensorflow as tf

# Those of Keras, whatever its default.
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")
keras.config.set_dtype_policy("float32")
keras.config.disable_interactive_logging()  # it would print amid what a terminal shows
# TensorFlow counts the machine's cores, of which a container may have a share.
tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
tf.config.threading.set_inter_op_parallelism_threads(usable_cores())

__all__ = ["keras", "tf"]
