"""SHA-256 of an array, whatever file it is stored in: that of its uncompressed IDX file.

So Fashion-MNIST from any place has the digests of the four files that were published.
"""

import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.records import Sha256
from tasks.images.formats.idx import UNSIGNED_BYTE
from tasks.images.rows import ArrayRows, Rows


class ArrayDigest:
    """The digest of an array that is passed block by block.

    IDX has no unsigned 16-bit values and is big-endian. All types but unsigned bytes are digested
    in their own byte order, with their NumPy name, such as `<u2`, in place of IDX's type.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        kind = bytes([UNSIGNED_BYTE]) if dtype == np.uint8 else dtype.str.encode()
        header = bytes(2) + kind + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        self._digest = hashlib.sha256(header)

    def update(self, block: NDArray[Any]) -> None:
        """Digest the next rows."""
        self._digest.update(np.ascontiguousarray(block).data)

    def hexdigest(self) -> Sha256:
        """The digest so far."""
        return self._digest.hexdigest()


def rows_sha256(rows: Rows) -> Sha256:
    """The digest of rows that have still to be read."""
    digest = ArrayDigest(rows.shape, rows.dtype)
    for block in rows.blocks():
        digest.update(block)
    return digest.hexdigest()


def array_sha256(array: NDArray[Any]) -> Sha256:
    """The digest of an array in memory or of a memory map."""
    return rows_sha256(ArrayRows("array", array))
