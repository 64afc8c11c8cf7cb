"""The job as plain functions; only `tasks.steps` knows Prefect.

Packages import in one direction; `make lint` checks the order (see pyproject.toml).
"""

import os

# Before TensorFlow is imported anywhere: its start-up messages stay off stderr unless asked for.
# oneDNN only concerns operations outside XLA, of which this job has none worth speeding up; it is
# switched off because it announces itself on stderr whatever the log level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
