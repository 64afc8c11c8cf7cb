"""Keras and TensorFlow, imported after the environment variables that they need are set.

Import them from here only. The user's own settings (another Keras backend, XLA flags for other
programs) must not change the results.
"""

import os

from tasks.core.memory import garbage_ignored
from tasks.core.settings import read_settings

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["XLA_FLAGS"] = read_settings().xla_flags
os.environ.pop("TF_XLA_FLAGS", None)
os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
# Hide start-up messages unless the user has set a level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN concerns only operations outside XLA, of which this job has none worth speeding up, and
# writes a message to stderr at any log level.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

with garbage_ignored():
    import keras as keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
