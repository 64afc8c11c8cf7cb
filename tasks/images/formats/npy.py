"""NumPy's `.npy` files: one array, memory-mapped.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from pathlib import Path

import numpy as np

from tasks.core.errors import StepError
from tasks.images.formats.errors import read_errors_explained
from tasks.images.rows import ArrayRows, Rows


def open_npy(path: Path) -> Rows:
    """Open the array of an `.npy` file.

    Raises:
        StepError: it is missing, damaged, or holds Python objects.
    """
    with read_errors_explained(path, "an .npy file", ValueError, OverflowError, EOFError):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise StepError(f"{path} is no .npy file with rows")
    if not array.flags.c_contiguous:  # each row would be read from all over the file
        raise StepError(f"{path} must hold rows in C order: save np.ascontiguousarray of it")
    return ArrayRows(str(path), array)
