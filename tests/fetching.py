"""Fetching a dataset as a run does; also for benchmarks, whose environment has no pytest."""

from pathlib import Path

from tasks.core.records import DatasetRecord
from tasks.images.dataset import fetch_dataset
from tasks.parameters.images import DataParameters


def fetch(parameters: DataParameters, root: Path) -> DatasetRecord:
    """Fetch the dataset that the parameters of a run describe."""
    arguments = dict(parameters)
    return fetch_dataset(arguments.pop("dataset"), arguments.pop("source"), root, **arguments)
