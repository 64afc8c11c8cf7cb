"""Writing HDF5 files to disks that may be full.

After a failed write, the HDF5 library tries again when it closes another file or the process ends,
and may crash with a segmentation fault. So failures are hidden from it, and raised once it has
closed the file.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _FailureHidingFile(io.FileIO):
    """A file whose changes always seem to succeed; `error` has the first failure."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write everything; nothing after the first error."""
        left = memoryview(data)
        while left and not self.error:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length; nothing after the first error."""
        try:
            if not self.error:
                return super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create a file that HDF5 1.8 can read and whose bytes depend only on its contents.

    Raises:
        OSError: it could not be written.
    """
    with _FailureHidingFile(path, "w+") as disk:
        try:
            with h5py.File(disk, "w", libver=("earliest", "v108"), track_order=False) as file:
                yield file
        finally:
            if disk.error:
                raise disk.error
