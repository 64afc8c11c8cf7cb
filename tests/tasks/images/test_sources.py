import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from tasks.core.errors import StepError, explain
from tasks.images import rows
from tasks.images.dataset import draw_test_images
from tasks.images.described import Source, allowed_path
from tasks.images.rows import RawDataset
from tasks.images.sources import DESCRIBED, AnySource, ArrayFiles, FashionMnist, field_names
from tests.conftest import SAMPLE_FOLDER, read_all

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (30, 5, 4), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (30, 5, 4, 3), dtype=np.uint8)
DEEP_GREY = GENERATOR.integers(0, 65536, (30, 5, 4), dtype=np.uint16)
LABELS = np.repeat([0, 1, 2], 10)
NAMES = ("boot", "coat", "shirt")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 7 * 20)


def write_npz(folder: Path, images: NDArray[Any]) -> dict[str, Any]:
    np.savez_compressed(folder / "all.npz", x_train=images, y_train=LABELS)
    return {"npz_file": str(folder / "all.npz"), "labels_array": "y_train"}


def write_npy(folder: Path, images: NDArray[Any]) -> dict[str, Any]:
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", LABELS)
    return {f"{name}_file": str(folder / f"{name}.npy") for name in ("images", "labels")}


def write_hdf5(folder: Path, images: NDArray[Any]) -> dict[str, Any]:
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_dataset("set/images", data=images, chunks=(4, *images.shape[1:]))
        file["set/labels"] = LABELS
    names = {f"{name}_dataset": f"set/{name}" for name in ("images", "labels")}
    return {"hdf5_file": str(folder / "all.h5"), **names}


def write_pictures(folder: Path, images: NDArray[Any]) -> dict[str, Any]:
    for row, image in enumerate(images):
        path = folder / "pictures" / NAMES[LABELS[row]] / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return {"picture_folder": str(folder / "pictures")}


WRITERS = (write_npz, write_npy, write_hdf5, write_pictures)


def validate(source: Any) -> AnySource:
    adapter: TypeAdapter[AnySource] = TypeAdapter(AnySource)
    return adapter.validate_python(source)


def open_source(source: dict[str, Any]) -> RawDataset:
    """Open a source that is described as the form describes it."""
    described = validate(source)
    assert isinstance(described, Source)
    return described.open()


@pytest.mark.parametrize("images", [GREY, COLOUR, DEEP_GREY], ids=["grey", "colour", "16 bit"])
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_kind_of_source_gives_what_was_put_in(
    write: Any, images: NDArray[Any], tmp_path: Path
) -> None:
    raw = open_source(write(tmp_path, images))
    for _ in range(2):  # they can be read again
        assert np.array_equal(raw.train.images.read(), images)
    assert raw.train.images.dtype == images.dtype
    assert np.array_equal(read_all(raw.train.labels), LABELS)
    assert raw.test is None
    assert raw.class_names == (NAMES if write is write_pictures else ())


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_share_can_be_drawn_from_every_kind(write: Any, tmp_path: Path) -> None:
    raw = open_source(write(tmp_path, GREY))
    drawn = draw_test_images(raw, 0.3, seed=1)
    for split, count in zip(drawn.splits.values(), (21, 9), strict=True):
        assert split.source_rows is not None
        assert len(split.images) == count
        assert np.array_equal(split.images.read(), GREY[split.source_rows])
        assert np.array_equal(read_all(split.labels), LABELS[split.source_rows])
        last = int(split.source_rows[-1])
        assert split.images.row_name(count - 1) == raw.train.images.row_name(last)


def test_test_images_are_read_from_every_array_that_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", a=GREY, b=LABELS, c=GREY[:3], d=LABELS[:3])
    names = {"images_array": "a", "labels_array": "b"}
    names |= {"test_images_array": "c", "test_labels_array": "d"}
    raw = open_source({"npz_file": str(tmp_path / "all.npz"), **names})
    assert raw.test is not None
    assert np.array_equal(raw.test.images.read(), GREY[:3])
    assert np.array_equal(read_all(raw.test.labels), LABELS[:3])


def test_a_picture_that_is_named_is_the_one_in_its_row(tmp_path: Path) -> None:
    raw = open_source(write_pictures(tmp_path, GREY))
    assert raw.train.images.row_name(11).endswith("coat/011.png")


def test_test_pictures_have_the_classes_of_the_others(tmp_path: Path) -> None:
    source = write_pictures(tmp_path, GREY)
    test = tmp_path / "test" / "shirt" / "1.png"
    test.parent.mkdir(parents=True)
    Image.fromarray(GREY[0]).save(test)
    raw = open_source({**source, "test_picture_folder": str(tmp_path / "test")})
    assert raw.test is not None
    assert read_all(raw.test.labels).tolist() == [2]
    test.parent.rename(tmp_path / "test" / "sock")
    with pytest.raises(StepError, match="sock/1.png is in none of the classes boot, coat, shirt"):
        open_source({**source, "test_picture_folder": str(tmp_path / "test")})


def test_names_the_missing_file_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"train-images-idx3-ubyte\.gz is missing"):
        open_source({"idx_folder": str(tmp_path)})


def test_no_two_kinds_share_a_field() -> None:
    """Prefect's form sends the fields of a source without its kind."""
    fields = [name for kind in DESCRIBED for name in field_names(kind)]
    assert len(fields) == len(set(fields))


def test_the_fields_tell_the_kind() -> None:
    assert validate({}) == FashionMnist()
    assert validate({"images_file": "x"}) == ArrayFiles(images_file="x")
    assert validate({"images_file": "x", "labels_array": ""}) == ArrayFiles(images_file="x")


def test_earlier_names_of_fields_are_still_read() -> None:
    assert validate({"npz_file": "x"}) == ArrayFiles(images_file="x")
    earlier = validate({"hdf5_file": "x", "images_dataset": "a", "labels_dataset": "b"})
    assert earlier == ArrayFiles(images_file="x", images_array="a", labels_array="b")
    assert earlier.model_dump(exclude_none=True) == {
        "images_file": "x",
        "images_array": "a",
        "labels_array": "b",
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"npz_file": 3}, "ArrayFiles.npz_file: Input should be a valid string, found 3"),
        ({"images_array": "x"}, "ArrayFiles.images_file: Field required"),
        ({"npz_file": "x", "idx": 1}, "ArrayFiles.idx: Extra inputs are not permitted, found 1"),
        ({"npz_file": ""}, "ArrayFiles.npz_file: Input should be a valid string, found None"),
        ({"images_file": "x", "test_labels_file": "y"}, "ArrayFiles: Test labels are"),
        ({"bogus": 1}, "FashionMnist.bogus: Extra inputs are not permitted, found 1"),
    ],
)
def test_a_wrong_value_is_reported_once_for_the_kind_that_was_meant(
    source: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        validate(source)
    assert explain(refusal.value).startswith(reason)
    assert refusal.value.error_count() == 1


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_everything_must_lie_beneath_the_data_root(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "data", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(inside))
    open_source(write(inside, GREY))
    source = write(outside, GREY)
    (inside / "link").symlink_to(outside)
    detours = [
        source,
        {k: v.replace(str(outside), f"{inside}/link") for k, v in source.items()},
        {k: v.replace(str(outside), f"{inside}/../elsewhere") for k, v in source.items()},
    ]
    for detour in detours:
        with pytest.raises(StepError, match="is outside"):
            open_source(detour)


def test_a_picture_may_not_be_a_link_that_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(tmp_path / "data"))
    secret = tmp_path / "secret.png"
    Image.fromarray(GREY[0]).save(secret)
    source = write_pictures(tmp_path / "data", GREY)
    (tmp_path / "data" / "pictures" / "boot" / "link.png").symlink_to(secret)
    with pytest.raises(StepError, match=r"boot/link\.png leads out"):
        open_source(source)


def test_an_idx_file_may_not_be_a_link_that_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOENCODER_DATA_ROOT", str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").symlink_to(
        SAMPLE_FOLDER / "train-images-idx3-ubyte.gz"
    )
    with pytest.raises(StepError, match="is outside"):
        open_source({"idx_folder": str(tmp_path)})


@pytest.mark.parametrize("name", ["~no-such-user/x", "x\0y", "circle", "pipe"])
def test_a_name_that_is_no_path_to_data_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    os.mkfifo("pipe")
    with pytest.raises(StepError, match="is not a valid path|neither a file nor"):
        allowed_path(name)
