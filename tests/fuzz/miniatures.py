"""Small valid files of each format, which are damaged then."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOURED = np.random.default_rng(1).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


class Miniature(NamedTuple):
    """A file as it is damaged, and what is done with the damaged content."""

    content: bytes
    finish: Callable[[bytes], bytes] = bytes
    """Packs it, or corrects its checksums, so that the damage is not noticed by those alone."""


def _idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub has a flag among them
    return file.getvalue()


def _zip_images(images: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", images)
        archive.writestr("y_train.npy", _npy(LABELS))
    return file.getvalue()


def _hdf5(images: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as archive:
        chunks = (2, *images.shape[1:])
        archive.create_dataset("images", data=images, chunks=chunks, compression="gzip")
        archive["labels"] = LABELS
    return file.getvalue()


def _picture(image: NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def _correct_png(content: bytes) -> bytes:
    """Give each chunk of a PNG file the checksum of what it holds now."""
    start, parts = 8, [content[:8]]
    while start + 12 <= len(content):
        length = int.from_bytes(content[start : start + 4])
        chunk = content[start + 4 : start + 8 + length]
        parts += [content[start : start + 4], chunk, zlib.crc32(chunk).to_bytes(4)]
        start += 12 + length
    return b"".join(parts)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    return exif


LARGE = np.kron(IMAGES[0, :4], np.ones((8, 8), np.uint8))
"""Of several blocks of JPEG; square, as some are turned."""
MINIATURES: dict[str, list[Miniature]] = {
    "idx": [
        Miniature(_idx(IMAGES)),
        Miniature(_idx(COLOURED)),
        Miniature(gzip.compress(_idx(IMAGES), mtime=0)),
        Miniature(_idx(IMAGES), gzip.compress),
    ],
    "npy": [
        Miniature(_npy(IMAGES)),
        Miniature(_npy(COLOURED.astype(">f4"))),
        Miniature(_npy(np.asfortranarray(IMAGES.astype(np.int64)))),
    ],
    "npz": [
        Miniature(_npz(x_train=IMAGES, y_train=LABELS)),
        Miniature(_npy(IMAGES), _zip_images),
        Miniature(_npy(IMAGES.astype(np.float16)), _zip_images),
    ],
    "hdf5": [
        Miniature(_hdf5(IMAGES)),
        Miniature(_hdf5(COLOURED.astype(np.float32), libver="latest")),
    ],
    "png": [
        Miniature(_picture(LARGE, "PNG")),
        Miniature(_picture(LARGE, "PNG"), _correct_png),
        Miniature(_picture(np.dstack([LARGE] * 4), "PNG", exif=_exif()), _correct_png),
        Miniature(_picture(LARGE, "PNG", bits=4), _correct_png),
    ],
    "jpeg": [
        Miniature(_picture(LARGE, "JPEG")),
        Miniature(_picture(np.dstack([LARGE] * 3), "JPEG", exif=_exif())),
        Miniature(_picture(np.dstack([LARGE] * 3), "JPEG", progressive=True)),
    ],
}
