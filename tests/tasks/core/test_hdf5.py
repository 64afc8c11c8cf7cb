"""Full disks in processes of their own: HDF5 may crash, and a limit cannot be raised again."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.core import hdf5
from tasks.core.hdf5 import create_hdf5

FILL = """
import resource, sys
from pathlib import Path
import h5py, numpy as np
from tasks.core.hdf5 import create_hdf5
folder, values = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with create_hdf5(folder / "large.h5") as file:
        for name in "abc":
            file.create_dataset(name, data=np.arange(values), chunks=(values,), compression="gzip")
            file.create_dataset(f"{name} whole", data=np.arange(values))
except OSError as error:
    print(type(error).__name__, error.strerror)
with create_hdf5(folder / "small.h5") as file:
    file["a"] = np.arange(3)
with h5py.File(folder / "small.h5") as file:
    print(file["a"][...].tolist())
"""
"""Write more than the largest file allowed, then a small file."""


@pytest.mark.parametrize("values", [5_000, 20_000, 1_000_000])
def test_a_failed_write_is_raised_once_and_nothing_crashes(values: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path), str(values)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["OSError File too large", "[0, 1, 2]"]
    assert done.stderr == ""


class BrokenDisk(io.FileIO):
    """A file whose length cannot be set."""

    def truncate(self, size: int | None = None) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_failed_change_of_length_is_raised_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_on_it = type("FileOnIt", (hdf5._FailureHidingFile, BrokenDisk), {})
    monkeypatch.setattr(hdf5, "_FailureHidingFile", file_on_it)
    with (
        pytest.raises(OSError, match="Input/output error"),
        create_hdf5(tmp_path / "a.h5") as file,
    ):
        file.create_dataset("a", data=np.arange(9))


def test_a_full_disk_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device"), create_hdf5(Path("/dev/full")):
        pass


def test_other_errors_are_raised_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(KeyError), create_hdf5(tmp_path / "a.h5") as file:
        file["absent"]


def test_the_bytes_depend_on_the_contents_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with create_hdf5(tmp_path / name) as file:
            file.create_dataset("x", data=np.arange(9), track_times=False)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content[8] == 0  # the version of the superblock; HDF5 1.8 reads up to 2
