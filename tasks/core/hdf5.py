"""Writing HDF5 files on disks that may be full.

When a write fails, the HDF5 library keeps what it could not write and tries again when it closes
another file, or when the process ends; that can end the process with a segmentation fault. So it
never learns of a failure: the file takes its writes, and raises when HDF5 has let go of it.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _PatientFile(io.FileIO):
    """A file whose writes always seem to succeed; `error` has the first that did not."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, or nothing from the first error on."""
        left = memoryview(data)
        while left and not self.error:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return len(data)


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create a file that HDF5 1.8 reads and whose bytes depend on its contents alone.

    Raises:
        OSError: it could not be written.
    """
    with _PatientFile(path, "w+") as disk:
        try:
            with h5py.File(disk, "w", libver=("earliest", "v108"), track_order=False) as file:
                yield file
        finally:
            if disk.error:
                raise disk.error
