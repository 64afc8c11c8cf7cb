import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.errors import StepError
from tasks.images.formats.pictures import PictureRows, find_classes, find_pictures

GREY = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)


def save(folder: Path, *names: str, picture: Image.Image | None = None) -> list[Path]:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture or Image.fromarray(GREY)).save(path)
    return find_pictures(folder, None)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_grey_or_colour(mode: str, tmp_path: Path) -> None:
    converted = Image.fromarray(GREY).convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    found = PictureRows(tmp_path, save(tmp_path, f"a.{suffix}", picture=converted)).read()
    grey = mode in ("1", "L", "LA", "I;16")
    assert found.shape == ((1, 6, 5) if grey else (1, 6, 5, 3))
    assert found.dtype == (np.uint16 if mode == "I;16" else np.uint8)


def test_pictures_stand_in_the_order_of_their_paths(tmp_path: Path) -> None:
    files = save(tmp_path, "b/2.png", "b/10.PNG", "a/3.jpeg", ".b/0.png", "a/.1.png")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    names = [str(file.relative_to(tmp_path)) for file in files]
    assert names == ["a/3.jpeg", "b/10.PNG", "b/2.png"]  # nothing that is hidden


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = tmp_path / "turned.png"
    Image.fromarray(GREY).save(path, exif=exif)
    assert np.array_equal(PictureRows(tmp_path, [path]).read()[0], np.rot90(GREY, -1))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (Image.fromarray(GREY[:, :4]), "6 x 4 pixels, grey, 8 bit"),
        (Image.fromarray(GREY).convert("RGB"), "6 x 5 pixels, in colour, 8 bit"),
        (Image.fromarray(GREY.astype(np.uint16)), "6 x 5 pixels, grey, 16 bit"),
    ],
)
def test_a_picture_that_differs_is_named(other: Image.Image, found: str, tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.png")
    files = save(tmp_path, "c.png", picture=other)
    with pytest.raises(StepError, match=rf"c\.png is {found}, expected 6 x 5 .* as in a\.png"):
        PictureRows(tmp_path, files).read()


@pytest.mark.parametrize("keep", [0, 20, 60])
def test_an_unreadable_picture_is_named(keep: int, tmp_path: Path) -> None:
    files = save(tmp_path, "a.png", "b.png")
    files[1].write_bytes(files[1].read_bytes()[:keep])
    with pytest.raises(StepError, match=r"b\.png cannot be read as a PNG or JPEG picture"):
        PictureRows(tmp_path, files).read()


def test_another_format_under_the_name_of_a_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(StepError, match="cannot be read as a PNG or JPEG"):
        PictureRows(tmp_path, find_pictures(tmp_path, None))


@pytest.mark.parametrize(("width", "height"), [(1025, 1024), (30_000, 30_000), (2**31 - 1, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(
    width: int, height: int, tmp_path: Path
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))
    with pytest.raises(StepError, match=r"bomb\.png (has|is too large)"):
        PictureRows(tmp_path, find_pictures(tmp_path, None))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="holds no PNG or JPEG file"):
        find_pictures(tmp_path, None)


def test_a_picture_beside_the_classes_is_named(tmp_path: Path) -> None:
    files = save(tmp_path, "a/1.png", "b/1.png", "stray.png")
    with pytest.raises(StepError, match=r"stray\.png is not in a sub-folder"):
        find_classes(tmp_path, files)


def test_sub_folders_of_classes_do_not_matter(tmp_path: Path) -> None:
    files = save(tmp_path, "coat/winter/1.png", "boot/1.png")
    assert find_classes(tmp_path, files) == ["boot", "coat"]


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colour_of_16_bits_is_refused(channels: int, tmp_path: Path) -> None:
    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", 2, 2, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(4 * channels) for _ in range(2))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    (tmp_path / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(StepError, match=r"deep\.png has colour or transparency in 16 bits"):
        PictureRows(tmp_path, [tmp_path / "deep.png"])


def test_a_linked_class_does_not_vanish(tmp_path: Path) -> None:
    save(tmp_path, "pictures/coat/1.png", "elsewhere/1.png")
    (tmp_path / "pictures" / "boot").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StepError, match="boot is a link to a folder"):
        find_pictures(tmp_path / "pictures", None)


def test_a_class_that_cannot_be_read_does_not_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "boot/1.png", "coat/1.png")
    scandir = os.scandir

    def forbidding(folder: str | Path) -> object:
        if Path(folder).name == "boot":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(StepError, match="boot cannot be read: Permission denied"):
        find_pictures(tmp_path, None)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(StepError, match=r"pipe\.png is not a file"):
        find_pictures(tmp_path, None)


def test_a_class_must_have_a_name_that_is_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    files = save(folder, "1.png")
    with pytest.raises(StepError, match="not a printable name"):
        find_classes(tmp_path, files)
