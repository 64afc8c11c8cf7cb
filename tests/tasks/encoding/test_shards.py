import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.codes import CodesError, PublishedRun, open_published, read_codes, verify_codes
from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord
from tasks.core.storage import PARTIAL_PREFIX
from tasks.encoding.shards import (
    CODES_FILE,
    EncodingPlan,
    begin_encoding,
    encoding_folder,
    join_shards,
    obtain_shard,
    plan_encoding,
    shard_spans,
    stored_encoding,
)
from tasks.images.dataset import fetch_images
from tasks.images.sources import ArrayFiles
from tasks.images.store import open_labels
from tasks.models.store import ModelRecord
from tasks.parameters.published import EncodeParameters
from tasks.runs.manifest import read_manifest
from tests.conftest import SAMPLE, complete, sample_images


@pytest.fixture
def run(model: ModelRecord, dataset: DatasetRecord, root: Path) -> PublishedRun:
    """A published run with real models and codes."""
    complete("run-1", model, dataset, root)
    return open_published(dataset.name, root)


def plan_with(
    run: PublishedRun, images: DatasetRecord, root: Path, **changes: object
) -> EncodingPlan:
    """Plan with the models of a run, changed."""
    manifest = read_manifest(run.folder)
    models = tuple(model.model_copy(update=changes) for model in manifest.models)
    return plan_encoding(images, run.name, manifest.dataset, models, root)


@pytest.fixture
def plan(run: PublishedRun, root: Path) -> EncodingPlan:
    plan = plan_with(run, fetch_images(SAMPLE.dataset, SAMPLE.source, root), root)
    begin_encoding(plan, run, root)
    return plan


def encode(plan: EncodingPlan, shard_rows: int, root: Path) -> Path:
    spans = shard_spans(plan.dataset.rows["all"], shard_rows)
    for span in reversed(spans):
        obtain_shard(plan, span, root)
    join_shards(plan, spans, EncodeParameters(), root)
    return encoding_folder(plan.name, root) / CODES_FILE


def test_shards_are_joined_to_what_the_encoder_gives(
    plan: EncodingPlan, run: PublishedRun, root: Path
) -> None:
    path = encode(plan, 100, root)
    verify_codes(path)
    whole = read_codes(path, "shallow")
    parts = [run.codes(split, "shallow") for split in ("train", "test")]
    assert whole.codes.tobytes() == b"".join(part.codes.tobytes() for part in parts)
    assert whole.split.split == "all"
    assert np.array_equal(whole.index, np.arange(640))
    assert whole.labels is not None
    assert whole.model == replace(parts[0].model, codes_sha256=whole.model.codes_sha256)
    left = [entry.name for entry in path.parents[1].parent.iterdir()]
    assert left == [plan.name]
    assert {entry.name for entry in path.parents[1].iterdir()} == {
        "codes",
        "encoding.json",
        "models",
    }


def test_the_bytes_do_not_depend_on_the_shards(
    plan: EncodingPlan, run: PublishedRun, root: Path
) -> None:
    found = set()
    for shard_rows in (640, 333, 50):
        begin_encoding(plan, run, root)
        found.add(encode(plan, shard_rows, root).read_bytes())
    assert len(found) == 1


def test_a_shard_that_is_there_is_not_encoded_again(plan: EncodingPlan, root: Path) -> None:
    assert obtain_shard(plan, (0, 50), root)
    assert not obtain_shard(plan, (0, 50), root)
    (path,) = (root / "encodings").rglob("0*-0*.h5")
    path.write_bytes(path.read_bytes()[:-1])
    assert obtain_shard(plan, (0, 50), root)


def test_a_shard_damaged_after_it_was_written_is_not_joined(plan: EncodingPlan, root: Path) -> None:
    spans = [(0, 320), (320, 640)]
    for span in spans:
        obtain_shard(plan, span, root)
    path = max((root / "encodings").rglob("0*-0*.h5"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CodesError, match="320-000000000640.h5 cannot be read as a codes file"):
        join_shards(plan, spans, EncodeParameters(), root)


def test_a_shard_of_other_rows_does_not_count(plan: EncodingPlan, root: Path) -> None:
    obtain_shard(plan, (0, 50), root)
    (path,) = (root / "encodings").rglob("0*-0*.h5")
    path.rename(path.with_name(f"{50:012}-{100:012}.h5"))
    assert obtain_shard(plan, (50, 100), root)


def test_what_was_encoded_is_found(plan: EncodingPlan, root: Path) -> None:
    assert stored_encoding(plan, root) is None
    path = encode(plan, 640, root)
    record = stored_encoding(plan, root)
    assert record is not None
    assert record.plan == plan
    path.write_bytes(b"")
    assert stored_encoding(plan, root) is None


def test_what_was_encoded_in_an_earlier_format_is_encoded_again(
    plan: EncodingPlan, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode(plan, 640, root)
    monkeypatch.setattr("tasks.encoding.shards.DERIVED_VERSION", 2)
    assert stored_encoding(plan, root) is None
    encode(plan, 640, root)
    record = stored_encoding(plan, root)
    assert record
    assert record.derived_version == 2


def test_the_log_says_that_stored_codes_are_of_the_same_basis(
    plan: EncodingPlan, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode(plan, 640, root)
    caplog.set_level(logging.INFO)
    assert stored_encoding(plan, root)
    assert f"the codes of {path.parents[1]} are there already" in caplog.text
    for changes, said in (
        ({"encoder_weights_sha256": "1" * 64}, True),
        ({"encoder_weights_sha256": "1" * 64, "basis": "0" * 64}, False),
        ({"encoder_weights_sha256": "1" * 64, "basis": None}, False),
    ):
        caplog.clear()
        models = tuple(model.model_copy(update=changes) for model in plan.models)
        later = plan.model_copy(update={"name": "later", "models": models, "run": "run-2"})
        assert stored_encoding(later, root) is None
        text = f"The shallow codes in {path.parents[1]} are of the same basis, but of older weights"
        assert (text in caplog.text) is said


def test_an_encoded_set_has_the_basis_of_its_encoder(
    plan: EncodingPlan, model: ModelRecord, root: Path
) -> None:
    assert read_codes(encode(plan, 640, root), "shallow").basis == model.basis
    record = stored_encoding(plan, root)
    assert record is not None
    assert [stored.basis for stored in record.plan.models] == [model.basis]


def test_the_run_may_go_while_its_encoders_are_used(
    plan: EncodingPlan, run: PublishedRun, model: ModelRecord, root: Path
) -> None:
    for file in (root / model.folder).iterdir():
        file.unlink()
    (run.folder / "models" / "shallow" / "autoencoder.keras").unlink()
    verify_codes(encode(plan, 640, root))


def test_a_damaged_encoder_is_not_used(run: PublishedRun, root: Path) -> None:
    plan = plan_with(run, fetch_images(SAMPLE.dataset, SAMPLE.source, root), root)
    (run.folder / "models" / "shallow" / "autoencoder.keras").write_bytes(b"")
    with pytest.raises(CodesError, match="differs from its manifest"):
        begin_encoding(plan, run, root)


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ({"image_shape": (28, 27)}, r"\(28, 27\), expected \(28, 28\) .*resize 28x28"),
        (
            {"dtype": "uint16", "scale": 4095.0},
            "values of uint16 up to 4095, the training images of run run-1 of uint8 up to 255",
        ),
        ({"dtype": "float32", "scale": 20.0}, "float32 up to 20, .* convert them to the same unit"),
    ],
)
def test_images_of_another_kind_are_refused(
    update: dict[str, object], reason: str, run: PublishedRun, root: Path
) -> None:
    dataset = fetch_images(SAMPLE.dataset, SAMPLE.source, root).model_copy(update=update)
    with pytest.raises(StepError, match=reason):
        plan_with(run, dataset, root)


@pytest.mark.parametrize("form", ["int64", "0 to 1", "float of 0 to 255", "0 to 1 in 64 bits"])
def test_the_same_images_in_other_types_and_units_have_the_same_codes(
    form: str, plan: EncodingPlan, run: PublishedRun, root: Path, tmp_path: Path
) -> None:
    images = np.concatenate(sample_images())
    others = {
        "int64": images.astype(np.int64),
        "0 to 1": images.astype(np.float32) / np.float32(255),
        "float of 0 to 255": images.astype(np.float32),
        "0 to 1 in 64 bits": images / 255,
    }
    np.save(tmp_path / "other.npy", others[form])
    source = ArrayFiles(images_file=str(tmp_path / "other.npy"))
    other = plan_with(run, fetch_images("other", source, root), root)
    assert other.dataset.scale == (1 if form.startswith("0 to 1") else 255)
    begin_encoding(other, run, root)
    expected = read_codes(encode(plan, 640, root), "shallow").codes
    assert np.array_equal(read_codes(encode(other, 640, root), "shallow").codes, expected)


def test_truth_values_are_black_and_white_for_an_encoder_of_bytes(
    run: PublishedRun, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    np.save(tmp_path / "masks.npy", np.concatenate(sample_images()) > 127)
    source = ArrayFiles(images_file=str(tmp_path / "masks.npy"))
    assert plan_with(run, fetch_images("masks", source, root), root).dataset.scale == 1
    assert (
        "masks has values of uint8 up to 1, the training images of run run-1 of uint8 up to 255: "
        "1 counts as white in the former" in caplog.text
    )


def test_the_name_is_that_of_the_images_and_the_encoders(
    plan: EncodingPlan, run: PublishedRun, root: Path
) -> None:
    assert not plan.name.startswith(PARTIAL_PREFIX)
    other = fetch_images(SAMPLE.dataset, SAMPLE.source, root).model_copy(
        update={"payload_sha256": "e" * 64}
    )
    assert plan_with(run, other, root).name != plan.name
    images = fetch_images(SAMPLE.dataset, SAMPLE.source, root)
    assert plan_with(run, images, root, weights_sha256="e" * 64).name != plan.name
    assert plan_with(run, images, root).name == plan.name


def test_what_was_joined_but_not_named_yet_is_not_encoded_again(
    plan: EncodingPlan, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tasks.encoding.shards._finish", die)
        with pytest.raises(KeyboardInterrupt):
            encode(plan, 100, root)
    assert not encoding_folder(plan.name, root).exists()
    assert stored_encoding(plan, root)
    assert stored_encoding(plan, root)
    assert not (encoding_folder(plan.name, root) / "shards").exists()


def test_images_of_another_unit_are_refused(
    run: PublishedRun, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = fetch_images(SAMPLE.dataset, SAMPLE.source, root)
    scale = read_manifest(run.folder).dataset.scale
    with pytest.raises(StepError, match="convert them to the same unit"):
        plan_with(run, images.model_copy(update={"scale": 255 * scale}), root)
    plan = plan_with(run, images.model_copy(update={"scale": 2 * scale}), root)
    assert plan.dataset.scale == scale
    assert "brighter pixels count as white" in caplog.text


def test_labels_are_those_of_the_encoder_s_classes(run: PublishedRun, root: Path) -> None:
    """Folders of which one is missing number their classes in another way."""
    images = fetch_images(SAMPLE.dataset, SAMPLE.source, root)
    manifest = read_manifest(run.folder)
    learned = ("zero", *map(str, range(2, 10)), "one")
    training_set = manifest.dataset.model_copy(update={"class_names": learned})
    own = images.model_copy(update={"class_names": ("zero", "one", *map(str, range(2, 10)))})
    plan = plan_encoding(own, run.name, training_set, manifest.models, root)
    begin_encoding(plan, run, root)
    found = read_codes(encode(plan, 100, root), "shallow")
    before = open_labels(images, "all", root)
    assert before is not None
    assert found.labels is not None
    assert found.split.class_names == learned
    assert [learned[label] for label in found.labels] == [own.class_names[k] for k in before]
    assert not np.array_equal(found.labels, before)
    as_they_are = plan_with(run, images, root)
    assert as_they_are.relabelled == {}
    assert as_they_are.name != plan.name


def test_a_class_that_the_encoder_did_not_learn_is_refused(run: PublishedRun, root: Path) -> None:
    images = fetch_images(SAMPLE.dataset, SAMPLE.source, root)
    with pytest.raises(StepError, match="has images of 'hat', which the encoders of run run-1 do"):
        plan_with(run, images.model_copy(update={"class_names": ("hat",)}), root)


def test_a_shard_is_relabelled_with_its_file(run: PublishedRun, root: Path) -> None:
    images = fetch_images(SAMPLE.dataset, SAMPLE.source, root)
    names = tuple(reversed(images.class_names))
    plan = plan_with(run, images.model_copy(update={"class_names": names}), root)
    begin_encoding(plan, run, root)
    obtain_shard(plan, (0, 50), root)
    (path,) = (root / "encodings").rglob("0*-0*.h5")
    labels = open_labels(images, "all", root)
    assert labels is not None
    np.testing.assert_array_equal(read_codes(path, "shallow").labels, 9 - labels[:50].astype(int))
