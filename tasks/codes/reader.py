"""Reader of the codes files, `codes/<split>.h5`; the contract is in `codes_contract`.

    run = open_published("fashion-mnist")
    codes = run.codes("test", "deep")

`python -m tasks.codes FILE` shows what a file holds; `--verify` checks it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tasks.codes.contract import (
    ModelProvenance,
    SplitProvenance,
    check_contract,
    chunks_of,
    provenance_of,
)
from tasks.core.errors import StepError
from tasks.core.records import Split
from tasks.core.storage import artifacts_folder
from tasks.runs.manifest import (
    Manifest,
    check_file,
    read_manifest,
    resolve_published,
    run_folder,
)


@dataclass(frozen=True)
class Codes:
    """One model's codes of one split, read whole."""

    codes: NDArray[np.float32]
    """(N, code_size)."""
    reconstruction_mse: NDArray[np.float32]
    """(N,) over the image's pixels, on the 0..1 scale."""
    labels: NDArray[np.int64] | None
    """(N,) class; none if the source has none."""
    index: NDArray[np.int64]
    """(N,) row in the source split, rising."""
    split: SplitProvenance
    model: ModelProvenance


def read_codes(path: Path, model: str = "deep", rows: NDArray[np.int64] | None = None) -> Codes:
    """Verify a codes file, whole, and read one model's codes.

    Args:
        rows: of the file, rising; all by default.

    Raises:
        StepError: one line with what is wrong with the file, or which models it has.
    """
    with open_codes(path) as file:
        split, models = provenance_of(file)
        if model not in models:
            raise StepError(f"{path} has no model {model}, but {', '.join(models)}")
        return Codes(
            codes=_read(file[f"{model}/codes"], rows),
            reconstruction_mse=_read(file[f"{model}/reconstruction_mse"], rows),
            labels=_read(file["labels"], rows) if "labels" in file else None,
            index=_read(file["index"], rows),
            split=split,
            model=models[model],
        )


def _read(dataset: h5py.Dataset, rows: NDArray[np.int64] | None) -> NDArray[Any]:
    """Read rows chunk by chunk: HDF5 itself takes a list of rows one by one."""
    if rows is None:
        return dataset[...]  # type: ignore[no-any-return]
    parts, start = [], 0
    for chunk in chunks_of(dataset):
        first, last = np.searchsorted(rows, (start, start + len(chunk)))
        parts.append(chunk[rows[first:last] - start])
        start += len(chunk)
    return np.concatenate(parts)


def verify_codes(path: Path) -> None:
    """Read a codes file whole and check it against the contract.

    Raises:
        StepError: one line with what was found and what was expected.
    """
    with open_codes(path):
        pass


def is_sound(path: Path) -> bool:
    """Whether there is a codes file by the contract."""
    try:
        verify_codes(path)
    except StepError:
        return False
    return True


@contextmanager
def open_codes(path: Path) -> Iterator[h5py.File]:
    """Open a codes file that was checked against the contract from end to end.

    Raises:
        StepError: one line with what was found and what was expected.
    """
    with _refusals_explained(path):
        file = h5py.File(path)
    with file:
        with _refusals_explained(path):
            check_contract(file)
        yield file


@contextmanager
def _refusals_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (StepError, ValidationError) as error:
        reason = _first_fact(error) if isinstance(error, ValidationError) else str(error)
        raise StepError(f"{path} is no codes file that can be used: {reason}") from error
    except Exception as error:  # on damaged bytes, h5py raises almost any type
        code = getattr(error, "errno", None)  # of the system, where it refused
        reason = os.strerror(code) if code else " ".join(str(error).split())
        raise StepError(f"{path} cannot be read as a codes file: {reason}") from error


def _first_fact(error: ValidationError) -> str:
    fact = error.errors()[0]
    return f"attribute {fact['loc'][0]}: {fact['msg']}, found {fact['input']!r}"


class PublishedRun(NamedTuple):
    """A published run, its link resolved: all files come from the same run."""

    folder: Path
    manifest: Manifest

    def file(self, path: str) -> Path:
        """The path of one of the run's files, found to be what the manifest says.

        Raises:
            StepError: the run has no such file, or another.
        """
        return check_file(self.folder, self.manifest, path)

    def codes(self, split: Split = "test", model: str = "deep") -> Codes:
        """The codes of a split.

        Raises:
            StepError: one line with what is wrong with the file, or which models it has.
        """
        return read_codes(self.file(f"codes/{split}.h5"), model)


def open_published(dataset: str, root: Path | None = None) -> PublishedRun:
    """Resolve `published/<dataset>` once; a run that is published meanwhile changes nothing.

    Args:
        root: the artifacts folder; by default the one that the flow writes to.

    Raises:
        StepError: nothing is published, or what is published is damaged.
    """
    folder = resolve_published(dataset, artifacts_folder() if root is None else root)
    return PublishedRun(folder, read_manifest(folder))


def open_run(run: str, root: Path) -> PublishedRun:
    """Open a finished run by its name, published or not.

    Raises:
        StepError: there is no such run, or it is damaged.
    """
    folder = run_folder(run, root)
    return PublishedRun(folder, read_manifest(folder))


def open_wanted(dataset: str, run: str | None, root: Path) -> PublishedRun:
    """The run of that name, or, where none is named, the published one of a dataset."""
    return open_run(run, root) if run else open_published(dataset, root)
