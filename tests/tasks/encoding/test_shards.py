from pathlib import Path

import numpy as np
import pytest

from tasks.codes.reader import PublishedRun, open_published, read_codes, verify_codes
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
from tasks.models.store import ModelRecord
from tasks.parameters.encode import EncodeParameters
from tests.conftest import SAMPLE, complete


@pytest.fixture
def run(model: ModelRecord, dataset: DatasetRecord, root: Path) -> PublishedRun:
    """A published run with real models and codes."""
    complete("run-1", model, dataset, root)
    return open_published(dataset.name, root)


@pytest.fixture
def plan(run: PublishedRun, root: Path) -> EncodingPlan:
    plan = plan_encoding(fetch_images(SAMPLE, root), run)
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
    assert whole.model == parts[0].model
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


def test_the_run_may_go_while_its_encoders_are_used(
    plan: EncodingPlan, run: PublishedRun, model: ModelRecord, root: Path
) -> None:
    for file in (root / model.folder).iterdir():
        file.unlink()
    (run.folder / "models" / "shallow" / "autoencoder.keras").unlink()
    verify_codes(encode(plan, 640, root))


def test_a_damaged_encoder_is_not_used(run: PublishedRun, root: Path) -> None:
    plan = plan_encoding(fetch_images(SAMPLE, root), run)
    (run.folder / "models" / "shallow" / "autoencoder.keras").write_bytes(b"")
    with pytest.raises(StepError, match="is not what its manifest says"):
        begin_encoding(plan, run, root)


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ({"image_shape": (28, 27)}, r"image_shape \(28, 27\), .* of \(28, 28\)"),
        ({"dtype": "float32"}, "dtype float32, .* of uint8"),
    ],
)
def test_images_of_another_kind_are_refused(
    update: dict[str, object], reason: str, run: PublishedRun, root: Path
) -> None:
    dataset = fetch_images(SAMPLE, root).model_copy(update=update)
    with pytest.raises(StepError, match=reason):
        plan_encoding(dataset, run)


def test_the_name_is_that_of_the_images_and_the_encoders(
    plan: EncodingPlan, run: PublishedRun, root: Path
) -> None:
    assert not plan.name.startswith(PARTIAL_PREFIX)
    other = fetch_images(SAMPLE, root).model_copy(update={"payload_sha256": "e" * 64})
    assert plan_encoding(other, run).name != plan.name
    models = tuple(m.model_copy(update={"weights_sha256": "e" * 64}) for m in run.manifest.models)
    changed = run._replace(manifest=run.manifest.model_copy(update={"models": models}))
    assert plan_encoding(fetch_images(SAMPLE, root), changed).name != plan.name


def test_what_was_joined_but_not_named_yet_is_not_encoded_again(
    plan: EncodingPlan, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tasks.encoding.shards._settle", die)
        with pytest.raises(KeyboardInterrupt):
            encode(plan, 100, root)
    assert not encoding_folder(plan.name, root).exists()
    assert stored_encoding(plan, root)
    assert stored_encoding(plan, root)
    assert not (encoding_folder(plan.name, root) / "shards").exists()


def test_images_of_another_unit_are_refused(
    run: PublishedRun, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, learned = fetch_images(SAMPLE, root), run.manifest.dataset.scale
    with pytest.raises(StepError, match="give them the same unit"):
        plan_encoding(dataset.model_copy(update={"scale": 255 * learned}), run)
    plan = plan_encoding(dataset.model_copy(update={"scale": 2 * learned}), run)
    assert plan.dataset.scale == learned
    assert "what is brighter counts as white" in caplog.text
