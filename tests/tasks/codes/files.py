"""Codes files with random codes, for tests of reader and writer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.records import DatasetRecord
from tasks.encoding.writer import CodesBlock, ModelCodes, write_codes
from tests.conftest import EXAMPLE_DATASET, example_model


def blocks(
    codes: NDArray[np.float32], mse: NDArray[np.float32], sizes: list[int]
) -> Iterator[CodesBlock]:
    """The rows in blocks of these sizes, again and again."""
    start = index = 0
    while start < len(codes):
        stop = start + sizes[index % len(sizes)]
        yield CodesBlock(codes[start:stop], mse[start:stop])
        start, index = stop, index + 1


def with_classes(count: int) -> DatasetRecord:
    """Facts about images of classes that are named by their numbers."""
    return EXAMPLE_DATASET.model_copy(update={"class_names": tuple(map(str, range(count)))})


def write_random_codes(
    path: Path,
    rows: int,
    sizes: list[int],
    code_size: int = 32,
    labels: NDArray[np.int64] | None = None,
    announced: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Write random codes of one model; give them back."""
    generator = np.random.default_rng(rows)
    codes = generator.random((rows, code_size), np.float32)
    mse = generator.random(rows, np.float32)
    models = [ModelCodes(example_model(code_size=code_size), blocks(codes, mse, sizes))]
    dataset = with_classes(0 if labels is None else int(labels.max()) + 1)
    write_codes(path, "test", dataset, np.arange(announced or rows), labels, models)
    return codes, mse
