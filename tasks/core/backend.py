"""Keras and TensorFlow, imported with the environment they need.

Everything that uses them imports them from here: their environment has to be set before the first
import, and the user's own (another Keras backend, XLA flags of other programs) must not change
what comes out.
"""

import os

from tasks.core.settings import read_settings

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["XLA_FLAGS"] = read_settings().xla_flags
# Start-up messages stay off stderr unless somebody asks for them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN only concerns operations outside XLA, of which this job has none worth speeding up; it
# announces itself on stderr whatever the log level.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras as keras
import tensorflow as tf

__all__ = ["keras", "tf"]
