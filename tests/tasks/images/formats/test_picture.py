import errno
import os
import struct
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tasks.core.errors import StepError, TransientError
from tasks.images.formats.picture import (
    Background,
    DamagedPictureError,
    Header,
    Reading,
    formats_by_suffix,
    quiet_decoding,
    read_header,
    read_pixels,
)

GREY = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
PICTURE = Image.fromarray(GREY)
LATER = Reading(size=(3, 4))


def write_png(path: Path, depth: int, color: int, width: int, height: int, pixels: bytes) -> None:
    """Write a PNG of a kind that Pillow does not write, from its lines with their filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def age(path: Path, seconds: float = 3600) -> str:
    """Let a file be old; return its path as text."""
    os.utime(path, (time.time() - seconds,) * 2)
    return str(path)


def save(path: Path, picture: Image.Image = PICTURE, **options: Any) -> str:
    picture.save(path, **options)
    return age(path)


@pytest.mark.parametrize(
    "suffix",
    [
        *("png", "apng", "webp", "bmp", "dib", "tif", "tiff", "gif", "ppm", "pgm", "pnm", "jp2"),
        *("j2k", "tga", "pcx", "ico", "sgi", "qoi"),
    ],
)
def test_every_lossless_format_gives_the_pixels_that_were_put_in(
    suffix: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    if suffix == "ico":
        options = {"sizes": [(5, 6)]}
    picture = PICTURE.convert("RGB") if suffix in ("qoi", "webp") else PICTURE
    path = save(tmp_path / f"a.{suffix}", picture, **options)
    header = read_header(path, Reading())
    found = read_pixels(path, header.mode, Reading())
    assert (header.height, header.width) == found.shape[:2] == (6, 5)
    assert np.array_equal(found[..., 0] if found.ndim == 3 else found, GREY)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jfif", "jpe", "avif"])
def test_every_lossy_format_gives_nearly_those(suffix: str, tmp_path: Path) -> None:
    grey = np.full((32, 48), 77, np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(grey))
    header = read_header(path, Reading())
    found = read_pixels(path, header.mode, Reading())
    assert found.shape[:2] == (32, 48)
    assert abs(found.astype(int) - 77).max() <= 2


def test_the_name_of_a_file_does_not_decide_its_format(tmp_path: Path) -> None:
    save(tmp_path / "a.webp", PICTURE.convert("RGB"), lossless=True)
    for name in ("a.png", "a", "a.data"):
        path = age((tmp_path / "a.webp").rename(tmp_path / name))
        assert np.array_equal(read_pixels(path, "L", Reading()), GREY)
        (tmp_path / name).rename(tmp_path / "a.webp")


def test_formats_that_run_other_programs_are_not_read(tmp_path: Path) -> None:
    assert ".eps" not in formats_by_suffix()
    PICTURE.convert("RGB").save(tmp_path / "a.eps")
    with pytest.raises(DamagedPictureError):
        read_header(age((tmp_path / "a.eps").rename(tmp_path / "a.png")), Reading())


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        *(("1", "L"), ("L", "L"), ("LA", "L"), ("P", "L"), ("I;16", "I;16"), ("F", "F")),
        *(("RGB", "RGB"), ("RGBA", "RGB"), ("CMYK", "RGB"), ("I", "I;16")),
    ],
)
def test_every_mode_becomes_one_of_four(mode: str, becomes: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", PICTURE.convert(mode))
    header = read_header(path, Reading())
    assert header == Header(becomes, 6, 5, frames=False)  # type: ignore[arg-type]
    found = read_pixels(path, header.mode, Reading())
    assert found.dtype == {"I;16": "u2", "F": "f4"}.get(becomes, "u1")
    if mode not in ("1", "CMYK"):
        assert np.array_equal(found if found.ndim == 2 else found[..., 1], GREY)


@pytest.mark.parametrize(("colour", "mode"), [((7, 7, 7), "L"), ((7, 8, 7), "RGB")])
def test_a_palette_of_greys_is_grey(
    colour: tuple[int, int, int], mode: str, tmp_path: Path
) -> None:
    picture = Image.new("P", (5, 6), 1)
    picture.putpalette([0, 0, 0, *colour, 200, 0, 0])  # the last one is not used
    path = save(tmp_path / "a.png", picture)
    assert read_header(path, Reading()).mode == mode
    assert read_pixels(path, "L", Reading()).max() in (7, 8)


@pytest.mark.parametrize(
    ("background", "expected"), [("white", [255, 155]), ("black", [0, 100]), ("ignore", [0, 200])]
)
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_shows_the_background(
    mode: str, background: Background, expected: list[int], tmp_path: Path
) -> None:
    picture = Image.new("LA", (2, 1))
    picture.putpixel((0, 0), (0, 0))
    picture.putpixel((1, 0), (200 if background != "white" else 55, 128))
    reading = Reading(background)
    path = save(tmp_path / "a.png", picture.convert(mode))
    found = read_pixels(path, "L", reading)
    assert np.abs(found[0].astype(int) - expected).max() <= 1


def test_a_drawing_in_the_alpha_channel_is_seen(tmp_path: Path) -> None:
    """As icons are stored: black everywhere, the shape in the transparency."""
    picture = Image.merge("RGBA", [Image.new("L", (5, 6))] * 3 + [PICTURE])
    path = save(tmp_path / "a.png", picture)
    assert np.array_equal(read_pixels(path, "RGB", Reading())[..., 0], 255 - GREY)


def test_one_transparent_colour_shows_the_background_too(tmp_path: Path) -> None:
    palette = Image.new("P", (5, 6), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    for picture in (palette, Image.new("L", (5, 6), 1), Image.new("RGB", (5, 6), (1, 1, 1))):
        transparent = 1 if picture.mode != "RGB" else (1, 1, 1)
        path = save(tmp_path / "a.png", picture, transparency=transparent)
        header = read_header(path, Reading())
        assert header.mode == ("RGB" if picture.mode == "RGB" else "L")
        assert (read_pixels(path, header.mode, Reading()) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_picture_is_turned_as_its_camera_was_held(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    grey = np.full((16, 32), 50, np.uint8)
    grey[:, 16:] = 200
    path = save(tmp_path / f"turned.{suffix}", Image.fromarray(grey), exif=exif)
    header = read_header(path, Reading())
    assert (header.height, header.width) == (32, 16)
    upright = read_pixels(path, "L", Reading())
    assert upright.shape == (32, 16)
    assert abs(upright.astype(int) - np.rot90(grey, -1)).max() < 5


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\xff\xff\xff\xff\xff\xff",
        b"Exif\0\0nonsense" + bytes(30),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_damaged_exif_data_do_not_matter(suffix: str, exif: bytes, tmp_path: Path) -> None:
    path = save(tmp_path / f"a.{suffix}", PICTURE, exif=exif)
    with quiet_decoding():
        assert read_header(path, Reading()) == Header("L", 6, 5, frames=False)
        assert read_pixels(path, "L", Reading()).shape == (6, 5)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_of_several_frames_is_read(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (50, 200)]
    path = save(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    header = read_header(path, Reading())
    assert header.frames
    assert abs(int(read_pixels(path, "L", Reading()).mean()) - 50) <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16", "F"])
def test_resizing_averages_what_it_joins(mode: Any, tmp_path: Path) -> None:
    values = np.tile(
        np.array([0, 200], np.uint8), (40, 20)
    )  # stripes: without antialiasing all or nothing
    path = save(tmp_path / "a.tif", Image.fromarray(values).convert(mode))
    found = read_pixels(path, mode, Reading(size=(10, 5)))
    assert found.shape[:2] == (10, 5)
    assert found.dtype == {"I;16": "u2", "F": "f4"}.get(mode, "u1")
    assert abs(found.astype(float) - 100).max() < 12


def test_resizing_follows_turning(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", Image.fromarray(GREY), exif=exif)
    upright = read_pixels(path, "L", Reading(size=(5, 6)))
    assert np.array_equal(upright, np.rot90(GREY, -1))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colour_of_16_bits_is_refused(channels: int, tmp_path: Path) -> None:
    lines = b"".join(b"\0" + bytes(4 * channels) for _ in range(2))
    write_png(tmp_path / "deep.png", 16, {2: 4, 3: 2, 4: 6}[channels], 2, 2, lines)
    with pytest.raises(StepError, match=r"deep\.png has colour or transparency in 16 bits"):
        read_header(str(tmp_path / "deep.png"), Reading())


@pytest.mark.parametrize(
    ("content", "refused"),
    [(b"P6 1 1 65535\n" + bytes(6), True), (b"P6 1 1 255\n" + bytes(3), False)],
)
def test_colour_of_16_bits_is_refused_in_netpbm_files(
    content: bytes, refused: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.ppm").write_bytes(content)
    if not refused:
        assert read_header(str(tmp_path / "a.ppm"), Reading()).mode == "RGB"
        return
    with pytest.raises(StepError, match="a.ppm has colour or transparency in 16 bits"):
        read_header(str(tmp_path / "a.ppm"), Reading())


@pytest.mark.parametrize("value", [65536, -1])
def test_values_beyond_16_bits_are_refused(value: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.full((2, 2), value, np.int32)))
    with pytest.raises(StepError, match=rf"a\.tif has values from {value} to .* 0 to 65535"):
        read_pixels(path, "I;16", Reading())


@pytest.mark.parametrize("keep", [0, 4, 20, 60])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_damaged_picture_is_named_with_a_way_out(suffix: str, keep: int, tmp_path: Path) -> None:
    path = save(tmp_path / f"b.{suffix}", Image.fromarray(np.tile(GREY, (9, 9))))
    Path(path).write_bytes(Path(path).read_bytes()[:keep])
    age(Path(path))
    with pytest.raises(DamagedPictureError) as refusal:
        read_pixels(path, read_header(path, Reading()).mode, Reading())
    line = str(refusal.value)
    assert line.count(path) == 1
    assert "cannot be read as a picture" in line
    assert "--source.skip-damaged" in line
    assert "\n" not in line


def test_a_picture_that_is_still_being_copied_is_read_again_later(tmp_path: Path) -> None:
    path = save(tmp_path / "b.png")
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:50])  # just now
    with pytest.raises(TransientError, match="b.png .*: wait until it is copied"):
        read_pixels(path, "L", Reading())


def test_a_picture_that_is_removed_meanwhile_is_looked_for_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="b.png was removed"):
        read_pixels(str(tmp_path / "b.png"), "L", Reading())


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.EACCES, StepError, "a.png cannot be read: Permission denied: allow"),
        (errno.EIO, TransientError, "a.png cannot be read: Input/output error"),
    ],
)
def test_a_failure_of_the_disk_is_named_without_its_number(
    number: int,
    kind: type[StepError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = save(tmp_path / "a.png")

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(kind, match=message) as refusal:
        read_pixels(path, "L", Reading())
    assert "Errno" not in str(refusal.value)


@pytest.mark.parametrize(("width", "height"), [(1025, 1024), (30_000, 30_000), (2**31 - 1, 1)])
@pytest.mark.parametrize("reading", [Reading(), LATER])
def test_a_decompression_bomb_is_refused_by_its_header(
    reading: Reading, width: int, height: int, tmp_path: Path
) -> None:
    write_png(tmp_path / "bomb.png", 8, 0, width, height, bytes(10**6))
    path = age(tmp_path / "bomb.png")
    if reading == LATER and width == 1025:
        assert read_header(path, reading) == Header("L", height, width, frames=False)
        return
    with quiet_decoding(), pytest.raises(StepError, match=r"bomb\.png (has|is too large)"):
        read_header(path, reading)


def test_a_large_picture_can_be_resized(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("1", (2000, 1000), 1))
    with pytest.raises(StepError, match=r"1000 x 2000 pixels.*--source\.resize HEIGHTxWIDTH"):
        read_header(path, Reading())
    assert read_pixels(path, "L", LATER).tolist() == [[255] * 4] * 3


def test_warnings_of_what_can_be_read_over_are_silent(tmp_path: Path) -> None:
    with quiet_decoding():
        warnings.warn("Corrupt EXIF data", stacklevel=1)
