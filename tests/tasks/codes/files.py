"""Codes files with random codes, for tests of reader and writer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    write_codes(path, "test", EXAMPLE_DATASET, np.arange(announced or rows), labels, models)
    return codes, mse
