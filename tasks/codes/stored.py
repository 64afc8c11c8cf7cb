"""Codes that are kept to be searched, whichever runs made them; all of one basis.

stored = join_codes(run.codes("train", "deep"))
stored.write("stored.npz")
...
stored = read_stored("stored.npz")
rows, distances = stored.search(codes.codes, codes.basis)
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from .errors import CodesError
from .provenance import short_basis
from .reader import Codes, refusals_explained
from .search import search_nearest


class Neighbors(NamedTuple):
    """The stored codes that are nearest to each of some other codes, nearest first."""

    rows: NDArray[np.int64]
    """(Q, count) rows of the stored codes."""
    distances: NDArray[np.float64]
    """(Q, count) Euclidean distances."""


@dataclass(frozen=True, eq=False)
class StoredCodes:
    """Codes of one basis, and the classes of their images."""

    codes: NDArray[np.float32]
    """(N, code_size)."""
    labels: NDArray[np.int64] | None
    """(N,) class, by its place in `class_names`; none if images of a source without are among
    them."""
    class_names: tuple[str, ...]
    basis: str

    def search(self, codes: NDArray[np.float32], basis: str, count: int = 5) -> Neighbors:
        """Search the nearest stored codes; exact, of equally distant ones the smallest rows first.

        Args:
            codes: (Q, code_size).
            basis: of these codes: `basis` of the `Codes`, or of the `Encoder` that made them.
            count: how many; fewer codes than that are all found.

        Raises:
            CodesError: the codes have another basis, so distances to them mean nothing.
        """
        check_basis(basis, self.basis, "The codes to search for")
        found = search_nearest(self.codes, codes, count)
        return Neighbors(found.rows, np.sqrt(found.squares))

    def write(self, path: Path | str) -> None:
        """Write everything to a file in NumPy's format `.npz`, in one step.

        Raises:
            CodesError: the file cannot be written.
        """
        arrays: dict[str, Any] = {"codes": self.codes, "basis": self.basis}
        arrays["class_names"] = np.array(self.class_names, np.str_)
        if self.labels is not None:
            arrays["labels"] = self.labels
        path = Path(path)
        partial = path.with_name(f".partial-{path.name}")
        try:
            with partial.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise CodesError(f"{path} cannot be written ({error.strerror})") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def join_codes(*parts: Codes | StoredCodes) -> StoredCodes:
    """Join codes of one basis, from any runs and splits; the rows of each part in turn.

    Raises:
        CodesError: the parts differ in their basis, or in the class names that labels stand for.
    """
    if not parts:
        raise CodesError("There are no codes to join")
    first = parts[0]
    for number, part in enumerate(parts[1:], 2):
        check_basis(part.basis, first.basis, f"Part {number} of the codes")
    labels = [part.labels for part in parts if part.labels is not None]
    names = {_class_names(part) for part in parts} if len(labels) == len(parts) else {()}
    if len(names) > 1:
        raise CodesError(
            "The parts have other class names, so their labels cannot be joined: join the codes as "
            "arrays of NumPy, each with the names of its classes"
        )
    return StoredCodes(
        codes=np.concatenate([part.codes for part in parts]),
        labels=np.concatenate(labels) if len(labels) == len(parts) else None,
        class_names=names.pop(),
        basis=first.basis,
    )


def _class_names(codes: Codes | StoredCodes) -> tuple[str, ...]:
    return codes.split.class_names if isinstance(codes, Codes) else codes.class_names


def read_stored(path: Path | str) -> StoredCodes:
    """Read what `StoredCodes.write` wrote.

    Raises:
        CodesError: the file is missing, damaged or another.
    """
    path = Path(path)
    # NumPy's own `load` leaves a file open that is no archive.
    with (
        refusals_explained(path, "a file of stored codes"),
        path.open("rb") as file,
        NpzFile(file, allow_pickle=False) as arrays,
    ):
        found = StoredCodes(
            codes=arrays["codes"],
            labels=arrays.get("labels"),
            class_names=tuple(arrays["class_names"].tolist()),
            basis=str(arrays["basis"]),
        )
        rows = found.codes.shape[:1] if found.labels is None else found.labels.shape
        if found.codes.ndim != 2 or rows != found.codes.shape[:1]:
            raise CodesError(f"its codes have shape {found.codes.shape}, its labels {rows}")
    return found


def check_basis(found: str, expected: str, what: str) -> None:
    """Refuse codes of another basis.

    Raises:
        CodesError: names both.
    """
    if found != expected:
        raise CodesError(
            f"{what} have basis {short_basis(found)}, expected {short_basis(expected)}: codes of "
            "two bases cannot be compared, so rebuild what you stored from codes of the new one"
        )
