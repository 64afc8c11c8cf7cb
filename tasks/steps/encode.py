"""The steps of encoding an image set, as `flows/steps.py` has those of a training."""

import logging

from tasks.codes.published import PublishedRun, open_published, open_run
from tasks.core.records import DatasetRecord
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding import shards
from tasks.encoding.shards import EncodingPlan, EncodingRecord
from tasks.images.dataset import fetch_images as fetch
from tasks.parameters.encode import EncodeParameters, EncoderParameters
from tasks.parameters.images import ImagesParameters
from tasks.steps.retrain import step

logger = logging.getLogger(__name__)


@step("Find the encoders")
def find_encoders(parameters: EncoderParameters) -> PublishedRun:
    """Open the named run, or the published one if no run is named."""
    root = prepare_artifacts_folder()
    return (
        open_run(parameters.run, root)
        if parameters.run
        else open_published(parameters.learned_from, root)
    )


@step("Fetch and verify the images")
def fetch_images(parameters: ImagesParameters) -> DatasetRecord:
    """Get all images of the source."""
    return fetch(parameters.dataset, parameters.source, prepare_artifacts_folder())


@step("Look for what was encoded before")
def find_encoding(plan: EncodingPlan) -> EncodingRecord | None:
    """The encoded set, if it is there; otherwise says what is left to do."""
    found = shards.stored_encoding(plan, prepare_artifacts_folder())
    if found:
        logger.info("Unchanged: the codes are there already, in encodings/%s", plan.name)
    return found


@step("Encode the images from {span[0]} to {span[1]}")
def encode_shard(plan: EncodingPlan, span: tuple[int, int]) -> bool:
    """Write the codes of a shard, unless they are there; tell whether that was to be done."""
    return shards.obtain_shard(plan, span, prepare_artifacts_folder())


@step("Join the shards")
def join_shards(
    plan: EncodingPlan, spans: list[tuple[int, int]], parameters: EncodeParameters
) -> EncodingRecord:
    """Make one file of all shards."""
    return shards.join_shards(plan, spans, parameters, prepare_artifacts_folder())
