"""The steps of `flows/encode.py`."""

from tasks.codes.published import PublishedRun, open_published, open_run
from tasks.core.records import DatasetRecord
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding import shards
from tasks.encoding.shards import EncodingPlan, EncodingRecord
from tasks.images.dataset import fetch_images as fetch
from tasks.parameters.images import ImagesParameters
from tasks.parameters.published import EncodeParameters, EncoderParameters, ShardParameters
from tasks.runs.lookup import resolve_run
from tasks.runs.manifest import read_manifest
from tasks.steps import log_lines
from tasks.steps.step import step

STAGES = ("images", "encode", "join")
"""Of the steps that people wait for, in their order."""


@step("Find the encoders", "encoders")
def find_encoders(parameters: EncoderParameters) -> PublishedRun:
    """The run that the parameters name, or else the published one."""
    root, run = prepare_artifacts_folder(), parameters.run
    return (
        open_run(resolve_run(run, root), root)
        if run
        else open_published(parameters.learned_from, root)
    )


@step("Fetch and verify the images", "images", log_lines.summarize_dataset)
def fetch_images(parameters: ImagesParameters) -> DatasetRecord:
    """Get all images of the source."""
    root = prepare_artifacts_folder()
    return fetch(parameters.dataset, parameters.source, root, parameters.class_names)


@step("Check that the encoders fit the images", "plan")
def plan_encoding(dataset: DatasetRecord, run: PublishedRun) -> EncodingPlan:
    """Plan which images are encoded with which models."""
    manifest = read_manifest(run.folder)
    root = prepare_artifacts_folder()
    return shards.plan_encoding(dataset, run.name, manifest.dataset, manifest.models, root)


@step("Look for an earlier encoding", "resume")
def find_encoding(plan: EncodingPlan) -> EncodingRecord | None:
    """The encoded set if an earlier run completed it."""
    return shards.stored_encoding(plan, prepare_artifacts_folder())


@step("Prepare the shards", "prepare")
def prepare_shards(
    plan: EncodingPlan, run: PublishedRun, parameters: ShardParameters
) -> list[tuple[int, int]]:
    """Copy the encoders; return the first row of each shard and the one after its last."""
    shards.begin_encoding(plan, run, prepare_artifacts_folder())
    return shards.shard_spans(plan.dataset.rows["all"], parameters.shard_rows)


@step(
    "Encode the images from {span[0]} to {span[1]}",
    "encode",
    subject="images from {span[0]:,} to {span[1]:,}",
)
def encode_shard(plan: EncodingPlan, span: tuple[int, int]) -> bool:
    """Write the codes of a shard unless an earlier attempt did; return whether it had to."""
    return shards.obtain_shard(plan, span, prepare_artifacts_folder())


@step("Join the shards", "join")
def join_shards(
    plan: EncodingPlan, spans: list[tuple[int, int]], parameters: EncodeParameters
) -> EncodingRecord:
    """Join the shards into one file and complete the folder."""
    return shards.join_shards(plan, spans, parameters, prepare_artifacts_folder())
