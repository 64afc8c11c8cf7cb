"""Settings of a deployment: the environment variables that begin with `AUTOENCODER_`.

Those of other programs must not change results: `pin_environment` sees to that. A run's parameters
cannot change either. `AUTOENCODER_ARTIFACTS` is read in `tasks.codes`, because
jobs that only read codes need it too.
"""

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.codes.errors import CodesError
from tasks.codes.remote.address import check_address
from tasks.core.cores import usable_cores
from tasks.core.errors import StepError, explain

PREFIX = "AUTOENCODER_"
FOREIGN = ("TF_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "NVIDIA_TF32_OVERRIDE")
"""How the variables begin that choose kernels, precision, threads and the like."""
HARMLESS = {
    *("TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_VMODULE"),
    *("TF_FORCE_GPU_ALLOW_GROWTH", "TF_PER_DEVICE_MEMORY_LIMIT_MB"),
    "KERAS_HOME",  # where keras.datasets keeps what it downloads; its keras.json counts for nothing
}
"""What is logged, and where things are kept: the user decides."""


class Settings(BaseSettings):
    """One field for each variable; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    data_root: Path | None = None
    """Sources must lie in this folder; anywhere if unset."""
    publish_to: str | None = None
    """Address of an object store, to which what is published is copied; nowhere if unset."""
    runner: Literal["threads", "dask"] = "threads"
    """Where parallel steps run."""
    workers: int = Field(default_factory=usable_cores, ge=1, le=1024)
    """Threads, or processes of a local Dask cluster; ignored with `dask_scheduler`."""
    dask_scheduler: str | None = Field(None, pattern=r"^(tcp|tls)://")
    """Address of a running Dask cluster; if unset, each run starts a local one."""
    keep: int = Field(5, ge=1, le=1000)
    """How many published runs of a dataset to keep, as many others, and as many sweeps."""
    grace_hours: float = Field(1, ge=0, le=10000)
    """Nothing is deleted that is younger, or was superseded more recently, than so many hours."""
    max_age_hours: float = Field(192, gt=0)
    """What is published counts as overdue if no run confirmed it for so many hours."""
    approval_tolerance: float | None = Field(None, ge=0)
    """A run whose loss above the entropy floor is worse than the best published by more than this
    fraction, and still passes the gate, waits for a person; none does if unset."""
    approval_hours: float = Field(72, gt=0)
    """A run for which no person decided in so many hours is refused."""
    server_seconds: float = Field(600, gt=0)
    """How long a Prefect server of ours may take to start: a run's own, or that of `make serve`."""
    beat_seconds: float = Field(30, gt=0)
    """How often a run tells the server that it is alive, and asks whether it is still wanted."""
    silence_seconds: float = Field(300, gt=0)
    """A run that has not told the server for so long is dead; its host died with its worker."""
    pending_seconds: float = Field(600, gt=0)
    """How long a run may take to start before it is given to another worker."""
    look_seconds: float = Field(5, gt=0)
    """How often a worker looks for dead runs."""
    xla_flags: str = ""
    """Flags for XLA; part of the fingerprint, because they may change the trained weights."""
    compilation_cache: Path | None = None
    """Folder in which XLA keeps what it compiled; compiled anew in each process if unset."""

    @property
    def grace(self) -> timedelta:
        """`grace_hours` as a time."""
        return timedelta(hours=self.grace_hours)

    @property
    def max_age(self) -> timedelta:
        """`max_age_hours` as a time."""
        return timedelta(hours=self.max_age_hours)

    @property
    def approval_time(self) -> timedelta:
        """`approval_hours` as a time."""
        return timedelta(hours=self.approval_hours)

    @model_validator(mode="after")  # whose errors do not repeat the value, unlike a field's
    def _address_without_password(self) -> Self:
        if self.publish_to is not None:
            try:
                check_address(self.publish_to)
            except CodesError as error:
                raise ValueError(f"{PREFIX}PUBLISH_TO: {error}") from None
        return self

    @model_validator(mode="after")
    def _scheduler_needs_dask(self) -> Self:
        if self.dask_scheduler and self.runner != "dask":
            raise ValueError(f"{PREFIX}DASK_SCHEDULER is set: set {PREFIX}RUNNER to dask too")
        return self


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        StepError: a variable has a value that is not allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise StepError(f"Among the variables {PREFIX}*: {explain(error)}") from None


@cache
def pin_environment() -> None:
    """Set what Keras, TensorFlow and Matplotlib read when they are imported, once in a process.

    Called before the first import of each of them (Keras imports Matplotlib too).

    Raises:
        StepError: a variable of ours has a value that is not allowed.
    """
    ours = {
        "KERAS_BACKEND": "tensorflow",
        "XLA_FLAGS": read_settings().xla_flags,
        # oneDNN concerns only operations outside XLA, of which this job has none worth speeding up,
        # and writes a message to stderr at any log level.
        "TF_ENABLE_ONEDNN_OPTS": "0",
        # Not the backend of a notebook, and no personal configuration.
        "MPLBACKEND": "agg",
        "MATPLOTLIBRC": os.devnull,
    }
    for name in list(os.environ):
        if name.startswith(FOREIGN) and name not in HARMLESS | ours.keys():
            os.environ.pop(name, None)
    os.environ.update(ours)
    # Hide start-up messages unless the user has set a level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
