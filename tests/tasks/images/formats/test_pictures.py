import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.errors import StepError
from tasks.images import rows
from tasks.images.faults import collect_faults
from tasks.images.formats.picture import Reading
from tasks.images.formats.picture_files import find_pictures
from tasks.images.formats.pictures import open_pictures
from tasks.images.rows import LeftOut, RawDataset
from tests.conftest import read_all
from tests.tasks.images.formats.test_picture import age

GREY = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
PICTURE = Image.fromarray(GREY)


def save(folder: Path, *names: str, picture: Image.Image = PICTURE) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def open_folder(folder: Path, test: Path | None = None, reading: Reading = Reading()) -> RawDataset:
    test_found = find_pictures(test, None, reading) if test else None
    return open_pictures(find_pictures(folder, None, reading), test_found, reading)


def grey_palette() -> Image.Image:
    picture = PICTURE.copy().convert("P")
    picture.putpalette([level for level in range(256) for _ in range(3)])
    picture.putdata(GREY.ravel().tolist())
    return picture


def test_grey_pictures_are_read_as_colour_for_an_encoder_of_colour(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    images = open_folder(tmp_path, reading=Reading(in_color=True)).train.images
    assert images.shape == (1, 6, 5, 3)
    assert np.array_equal(images.read()[0], np.stack([GREY] * 3, axis=-1))


def test_grey_pictures_are_widened_where_one_is_coloured(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    save(tmp_path, "b.png", picture=grey_palette())
    assert np.array_equal(open_folder(tmp_path).train.images.read(), [GREY, GREY])
    save(tmp_path, "c.png", picture=Image.new("RGB", (5, 6), (1, 2, 3)))
    images = open_folder(tmp_path).train.images
    assert images.shape == (3, 6, 5, 3)
    for channel in range(3):
        assert np.array_equal(images.read()[:2, ..., channel], [GREY, GREY])
    assert (images.read()[2] == [1, 2, 3]).all()


def test_training_and_test_pictures_become_alike(tmp_path: Path) -> None:
    save(tmp_path, "train/a/1.png", "train/b/1.png")
    save(tmp_path, "test/a/1.png", picture=PICTURE.convert("RGB"))
    joined = open_folder(tmp_path)
    apart = open_folder(tmp_path / "train", tmp_path / "test")
    for raw in (joined, apart):
        assert raw.test is not None
        assert raw.train.images.shape == (2, 6, 5, 3)
        assert np.array_equal(raw.test.images.read()[..., 0], [GREY])
        assert read_all(raw.test.labels).tolist() == [0]
        assert raw.class_names == ("a", "b")


def test_validation_pictures_are_joined_to_the_others_for_training(tmp_path: Path) -> None:
    levels = {"train/a": 1, "val/a": 2, "train/b": 3, "val/b": 4, "test/b": 5}
    for name, level in levels.items():
        save(tmp_path, f"{name}/1.png", picture=Image.new("L", (5, 6), level))
    raw = open_folder(tmp_path)
    assert raw.test is not None
    assert raw.train.images.read()[:, 0, 0].tolist() == [1, 3, 2, 4]
    assert read_all(raw.train.labels).tolist() == [0, 1, 0, 1]
    assert raw.test.images.read()[:, 0, 0].tolist() == [5]
    assert raw.train.images.row_name(2).endswith("val/a/1.png")


@pytest.mark.parametrize(
    ("other", "contrast"),
    [
        (PICTURE.crop((0, 0, 4, 6)), "6 x 4 pixels, .*a.png 6 x 5 pixels, 2 sizes in all: resize"),
        (Image.fromarray(GREY.astype(np.uint16)), "grey, 16 bit, .*a.png grey, 8 bit: store"),
    ],
)
def test_a_picture_that_differs_is_named(other: Image.Image, contrast: str, tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.png")
    save(tmp_path, "c.png", picture=other)
    with pytest.raises(StepError, match=rf"c\.png is {contrast}") as refusal:
        open_folder(tmp_path)
    assert str(refusal.value).endswith(("--source.resize 6x5", "store them alike"))


def test_pictures_of_several_sizes_can_be_resized(tmp_path: Path) -> None:
    save(tmp_path, "a.png", picture=Image.new("L", (50, 60), 7))
    save(tmp_path, "b.png", picture=Image.new("L", (9, 3), 8))
    images = open_folder(tmp_path, reading=Reading(size=(4, 2))).train.images
    assert images.shape == (2, 4, 2)
    assert images.read()[:, 0, 0].tolist() == [7, 8]


def test_selected_pictures_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 60)
    save(tmp_path, *(f"{number}.png" for number in range(5)))
    images = open_folder(tmp_path).train.images
    assert [len(block) for block in images.blocks()] == [2, 2, 1]
    (tmp_path / "0.png").unlink()
    chosen = images.select(np.arange(5) > 2)
    assert np.array_equal(chosen.read(), [GREY, GREY])
    assert chosen.row_name(0) == f"{tmp_path}/3.png"


def test_a_picture_that_was_replaced_meanwhile_is_named(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    images = open_folder(tmp_path).train.images
    save(tmp_path, "a.png", picture=PICTURE.crop((0, 0, 4, 6)))
    with pytest.raises(StepError, match=r"a\.png cannot be read .* pixels of shape \(6, 4\)"):
        images.read()


def test_what_is_left_out_is_counted_in_both_folders(tmp_path: Path) -> None:
    save(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    for name in ("train/a", "test/a"):
        (tmp_path / name / "notes.txt").write_text("no picture")
    raw = open_folder(tmp_path / "train", tmp_path / "test")
    assert raw.left_out == {LeftOut("no pictures", ".txt", "a"): 2}


def test_an_inspection_collects_all_damaged_pictures(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number}.png" for number in range(4)))
    for name, keep in (("1.png", 0), ("3.png", -30)):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
        age(tmp_path / name)
    with collect_faults() as faults:
        images = open_folder(tmp_path).train.images.read()
    assert faults.count == 2
    assert ["1.png" in faults.named[0], "3.png" in faults.named[1]] == [True, True]
    assert np.array_equal(images[:2], [GREY, GREY])
    with pytest.raises(StepError, match=r"1\.png cannot be read"):
        open_folder(tmp_path)


def test_an_inspection_names_each_damaged_picture_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 60)
    save(tmp_path, *(f"{number}.png" for number in range(6)))
    (tmp_path / "1.png").write_bytes(b"no picture")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])  # its header is whole
    for name in ("1.png", "3.png"):
        os.utime(tmp_path / name, (0, 0))
    with collect_faults() as faults:
        images = open_folder(tmp_path).train.images
        read = images.read()
    assert faults.count == 2
    assert "1.png cannot be read as a picture" in faults.named[0]
    assert "3.png cannot be read as a picture" in faults.named[1]
    assert np.array_equal(read, [GREY, GREY, np.zeros_like(GREY), GREY, GREY])


def test_an_inspection_shows_pictures_of_other_sizes_resized(tmp_path: Path) -> None:
    save(tmp_path, "a/1.png", "a/2.png")
    save(tmp_path, "b/3.png", picture=Image.new("L", (9, 9), 7))
    with collect_faults() as faults:
        raw = open_folder(tmp_path)
        read = raw.train.images.read()
    assert faults.count == 1
    assert "--source.resize 6x5" in faults.named[0]
    assert np.array_equal(read, [GREY, GREY, np.full_like(GREY, 7)])
