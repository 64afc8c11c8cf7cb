import json
from pathlib import Path

import numpy as np
import pytest

from flows.encode import encode
from tasks.codes.reader import read_codes
from tasks.core.records import DatasetRecord
from tasks.encoding.shards import EncodingRecord, encoding_folder
from tasks.models.store import ModelRecord
from tasks.parameters.images import ImagesParameters
from tasks.parameters.published import EncoderParameters, ShardParameters
from tests.conftest import SAMPLE, complete

pytestmark = pytest.mark.usefixtures("prefect_server")
IMAGES = ImagesParameters(dataset=SAMPLE.dataset, source=SAMPLE.source)
ENCODER = EncoderParameters(learned_from=SAMPLE.dataset)


@pytest.fixture(autouse=True)
def published(model: ModelRecord, dataset: DatasetRecord, root: Path) -> None:
    complete("run-1", model, dataset, root)


def test_all_images_of_a_source_are_encoded_without_training(root: Path) -> None:
    record = encode(images=IMAGES, encoder=ENCODER, shards=ShardParameters(shard_rows=100))
    assert isinstance(record, EncodingRecord)
    path = encoding_folder(record.plan.name, root) / record.codes.path
    codes = read_codes(path, "shallow")
    assert np.array_equal(codes.index, np.arange(640))
    assert record.plan.run == "run-1"
    assert record.parameters.images == IMAGES
    stored = json.loads((path.parents[1] / "encoding.json").read_text())
    assert EncodingRecord.model_validate(stored) == record
    for model in record.plan.models:
        assert (root / model.folder / "encoder.keras").exists()


def test_encoding_again_does_nothing(root: Path) -> None:
    first = encode(images=IMAGES, encoder=ENCODER)
    before = {path: path.stat().st_mtime_ns for path in (root / "encodings").rglob("*")}
    assert encode(images=IMAGES, encoder=ENCODER, shards=ShardParameters(shard_rows=9)) == first
    after = {path: path.stat().st_mtime_ns for path in (root / "encodings").rglob("*")}
    assert after == before


def test_a_named_run_s_encoders_are_taken(
    model: ModelRecord, dataset: DatasetRecord, root: Path
) -> None:
    complete("run-2", model, dataset, root)
    named = EncoderParameters(learned_from="nothing", run="run-1")
    record = encode(images=IMAGES, encoder=named)
    assert record.plan.run == "run-1"


def test_without_a_published_run_it_fails_in_one_line(root: Path) -> None:
    state = encode(images=IMAGES, encoder=EncoderParameters(), return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "No run of the dataset fashion-mnist is published" in state.message
    assert not (root / "encodings").exists()
