"""SHA-256 of an array, whatever file it is stored in: that of its uncompressed IDX file.

So Fashion-MNIST from any place has the digests of the four files that were published. IDX has no
unsigned 16-bit values and is big-endian: all types but unsigned bytes are digested in their own
byte order, with their NumPy name, such as `<u2`, in place of IDX's type.
"""

import hashlib
import struct

import numpy as np

from tasks.core.records import Sha256
from tasks.images.formats.idx import IDX_FILES, UNSIGNED_BYTE
from tasks.images.rows import Rows

PARTS = (*IDX_FILES, "all_images", "all_labels")
"""The arrays that a dataset can have, in the order in which their digests are digested."""


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


def payload_sha256(payloads: dict[str, Sha256]) -> Sha256:
    """SHA-256 of the digests of all images and labels, in the order of `PARTS`."""
    ordered = [payloads[part] for part in PARTS if part in payloads]
    return hashlib.sha256("".join(ordered).encode()).hexdigest()


def dataset_folder(name: str, payloads: dict[str, Sha256]) -> str:
    """The folder of a dataset, relative to the artifacts folder."""
    return f"datasets/{name}-{payload_sha256(payloads)[:12]}"
