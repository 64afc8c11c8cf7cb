from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.codes import Codes, CodesError, read_codes
from tasks.codes.stored import StoredCodes, join_codes, read_stored
from tests.tasks.codes.files import write_random_codes

BASIS = "c" * 64
"""Of the codes that `write_random_codes` writes."""


@pytest.fixture
def codes(tmp_path: Path) -> Codes:
    """Random codes of 60 images."""
    write_random_codes(tmp_path / "a.h5", 60, [60], labels=np.arange(60) % 3)
    return read_codes(tmp_path / "a.h5", "shallow")


@pytest.fixture
def more(tmp_path: Path) -> Codes:
    """Random codes of 30 images of the same classes."""
    write_random_codes(tmp_path / "b.h5", 30, [30], labels=np.arange(30) % 3)
    return read_codes(tmp_path / "b.h5", "shallow")


def with_basis(codes: Codes, basis: str) -> Codes:
    return replace(codes, model=replace(codes.model, basis=basis))


def test_codes_name_their_basis(codes: Codes) -> None:
    assert codes.basis == codes.model.basis == BASIS


def test_the_rows_of_the_parts_follow_each_other(codes: Codes, more: Codes) -> None:
    joined = join_codes(join_codes(codes), more)
    assert np.array_equal(joined.codes, np.concatenate([codes.codes, more.codes]))
    np.testing.assert_array_equal(joined.labels, np.arange(90) % 60 % 3)
    assert (joined.class_names, joined.basis) == (("0", "1", "2"), BASIS)


def test_codes_of_two_bases_are_not_joined(codes: Codes, more: Codes) -> None:
    with pytest.raises(CodesError) as refusal:
        join_codes(codes, with_basis(more, "d" * 64))
    assert str(refusal.value) == (
        "Part 2 of the codes have basis dddddddddddd, expected cccccccccccc: codes of two bases "
        "cannot be compared, so rebuild what you stored from codes of the new one"
    )


def test_other_models_of_the_basis_are_joined(codes: Codes, more: Codes) -> None:
    wide = replace(more, model=replace(more.model, architecture="784-512-32", fingerprint="9"))
    assert len(join_codes(codes, wide).codes) == 90


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(CodesError, match="no codes to join"):
        join_codes()


def test_labels_are_those_of_one_list_of_names(codes: Codes, more: Codes) -> None:
    others = replace(more, split=replace(more.split, class_names=("0", "2", "3")))
    with pytest.raises(CodesError, match="other class names, so their labels cannot be joined"):
        join_codes(codes, others)
    unlabelled = join_codes(codes, replace(more, labels=None))
    assert (unlabelled.labels, unlabelled.class_names) == (None, ())


@pytest.mark.parametrize("count", [1, 5, 100])
def test_the_nearest_are_those_of_brute_force(count: int, codes: Codes, more: Codes) -> None:
    found = join_codes(codes).search(more.codes, more.basis, count)
    differences = more.codes[:, np.newaxis].astype(np.float64) - codes.codes
    distances = np.sqrt((differences**2).sum(axis=2))  # (30, 60)
    order = np.argsort(distances, axis=1)[:, :count]
    assert np.array_equal(found.rows, order)
    np.testing.assert_allclose(
        found.distances, np.take_along_axis(distances, order, axis=1), rtol=1e-12
    )


def test_codes_of_another_basis_are_not_searched(codes: Codes, more: Codes) -> None:
    with pytest.raises(CodesError, match=r"^The codes to search for have basis d{12}, expected c"):
        join_codes(codes).search(more.codes, "d" * 64)


@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read(labelled: bool, codes: Codes, tmp_path: Path) -> None:
    stored = join_codes(codes if labelled else replace(codes, labels=None))
    path = tmp_path / "stored.npz"
    for _ in range(2):  # what was there is replaced
        stored.write(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.h5", "stored.npz"]
    found = read_stored(path)
    assert found.codes.tobytes() == stored.codes.tobytes()
    assert (found.basis, found.class_names) == (stored.basis, stored.class_names)
    np.testing.assert_equal(found.labels, stored.labels)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def without_basis(path: Path) -> None:
    np.savez(path, codes=np.zeros((2, 3), np.float32), class_names=np.array([], np.str_))


def with_labels_of_others(path: Path) -> None:
    labels, codes = np.zeros(3, np.int64), np.zeros((2, 3), np.float32)
    np.savez(path, codes=codes, labels=labels, class_names=np.array(["a"]), basis="b")


def with_objects(path: Path) -> None:
    np.savez(path, codes=np.array([{}], dtype=object), basis="b", class_names=np.array(["a"]))


def plain_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [cut_off, without_basis, with_labels_of_others, with_objects, plain_array, Path.unlink],
)
def test_a_file_that_is_no_such_file_is_refused_in_one_line(
    damage: Any, codes: Codes, tmp_path: Path
) -> None:
    path = tmp_path / "stored.npz"
    join_codes(codes).write(path)
    damage(path)
    with pytest.raises(CodesError, match=r"stored\.npz .* a file of stored codes: ") as refusal:
        read_stored(path)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_missing_is_named(codes: Codes, tmp_path: Path) -> None:
    stored: StoredCodes = join_codes(codes)
    with pytest.raises(CodesError, match=r"absent/stored\.npz cannot be written \(No such file"):
        stored.write(tmp_path / "absent" / "stored.npz")
