"""SHA-256 of an array, whatever file it is stored in: that of its uncompressed IDX file.

So Fashion-MNIST from any place has the digests of the four files that were published. IDX has no
unsigned 16-bit values and is big-endian: all types but unsigned bytes are digested in their own
byte order, with their NumPy name, such as `<u2`, in place of IDX's type.
"""

import hashlib
import struct

import numpy as np

from tasks.core.records import Sha256
from tasks.images.formats.idx import UNSIGNED_BYTE
from tasks.images.rows import Rows


def start_digest(rows: Rows) -> "hashlib._Hash":
    """The digest of the header, to be updated with all blocks of the rows."""
    kind = bytes([UNSIGNED_BYTE]) if rows.dtype == np.uint8 else rows.dtype.str.encode()
    dimensions = len(rows.shape)
    lengths = struct.pack(f">{dimensions}I", *rows.shape)
    return hashlib.sha256(bytes(2) + kind + bytes([dimensions]) + lengths)


def rows_sha256(rows: Rows) -> Sha256:
    """The digest of rows, which are read."""
    digest = start_digest(rows)
    for block in rows.blocks():
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
