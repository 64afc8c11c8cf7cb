"""Reader of codes files, `codes/<split>.h5`; `contract` says what they are.

A file is verified as a whole when it is opened; open it once to read several models:

    with open_codes(path) as file:
        shallow, deep = file.read("shallow"), file.read("deep")
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .contract import check_contract, chunks_of
from .errors import CodesError
from .provenance import ModelProvenance, SplitProvenance, read_provenance


@dataclass(frozen=True)
class Codes:
    """One model's codes of one split, in memory."""

    codes: NDArray[np.float32]
    """(N, code_size)."""
    reconstruction_mse: NDArray[np.float32]
    """(N,) mean squared error over the image's pixels, on the 0..1 scale."""
    labels: NDArray[np.int64] | None
    """(N,) class; none if the source has no labels."""
    index: NDArray[np.int64]
    """(N,) row in the source split, rising."""
    split: SplitProvenance
    model: ModelProvenance

    @property
    def basis(self) -> str:
        """Names the coordinate system: only codes of one basis can be compared."""
        return self.model.basis


@dataclass(frozen=True)
class CodesFile:
    """A verified codes file, open for reading."""

    path: Path
    hdf5: h5py.File
    split: SplitProvenance
    models: dict[str, ModelProvenance]

    def read(self, model: str = "deep", rows: NDArray[np.int64] | None = None) -> Codes:
        """Read one model's codes.

        Args:
            rows: row numbers in the file, (M,), rising; all by default.

        Raises:
            CodesError: the file has no such model or rows; names those it has.
        """
        if model not in self.models:
            raise CodesError(f"{self.path} has no model {model}, only {', '.join(self.models)}")
        last = len(self.hdf5["index"]) - 1
        if rows is not None and (np.diff(rows, prepend=-1, append=last + 1) < 1).any():
            raise CodesError(f"rows of {self.path} must rise from row to row, from 0 to {last}")
        return Codes(
            codes=_read(self.hdf5[f"{model}/codes"], rows),
            reconstruction_mse=_read(self.hdf5[f"{model}/reconstruction_mse"], rows),
            labels=_read(self.hdf5["labels"], rows) if "labels" in self.hdf5 else None,
            index=_read(self.hdf5["index"], rows),
            split=self.split,
            model=self.models[model],
        )


def _read(dataset: h5py.Dataset, rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """Read rows chunk by chunk: HDF5 itself reads a list of rows one by one."""
    if rows is None:
        return dataset[...]  # type: ignore[no-any-return]
    parts, start = [], 0
    for chunk in chunks_of(dataset):
        first, last = np.searchsorted(rows, (start, start + len(chunk)))
        parts.append(chunk[rows[first:last] - start])
        start += len(chunk)
    return np.concatenate(parts)


@contextmanager
def open_codes(path: Path | str, sha256: str | None = None) -> Iterator[CodesFile]:
    """Open a codes file and check all of it against the contract.

    Opens without HDF5's file lock, which read-only and network file systems may refuse; a
    published file never changes.

    Args:
        sha256: of a file that was checked before; only its bytes are then compared, which is
            faster.

    Raises:
        CodesError: the file is missing, damaged or does not follow the contract.
    """
    path = Path(path)
    with refusals_explained(path):
        if sha256 and (found := sha256_of_file(path)) != sha256:
            raise CodesError(f"it has SHA-256 {found[:12]}..., expected {sha256[:12]}...")
        hdf5 = h5py.File(path, "r", locking=False)
    with hdf5:
        with refusals_explained(path):
            split, models = read_provenance(hdf5) if sha256 else check_contract(hdf5)
        yield CodesFile(path, hdf5, split, models)


@contextmanager
def refusals_explained(path: Path, kind: str = "a codes file") -> Iterator[None]:
    """Raise whatever goes wrong while a file is read as a CodesError of one line."""
    try:
        yield
    except CodesError as error:
        raise CodesError(f"{path} does not follow the contract of {kind}: {error}") from error
    except Exception as error:  # on damaged bytes, h5py raises almost any type
        code = getattr(error, "errno", None)  # set where the operating system refused
        reason = os.strerror(code) if code else " ".join(str(error).split())
        raise CodesError(f"{path} cannot be read as {kind}: {reason}") from error


def read_codes(
    path: Path | str, model: str = "deep", rows: NDArray[np.int64] | None = None
) -> Codes:
    """Verify a codes file and read one model's codes; see `open_codes` and `CodesFile.read`."""
    with open_codes(path) as file:
        return file.read(model, rows)


def verify_codes(path: Path | str) -> None:
    """Check a codes file against the contract; raise CodesError as `open_codes` does."""
    with open_codes(path):
        pass


def is_valid(path: Path | str) -> bool:
    """Whether a codes file exists and follows the contract."""
    try:
        verify_codes(path)
    except CodesError:
        return False
    return True


def sha256_of_file(path: Path) -> str:
    """SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
