"""Encode any images with a published encoder, in shards, on one machine or on many."""

import sys

from prefect import flow
from prefect.runtime import flow_run

from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.shards import (
    EncodingRecord,
    begin_encoding,
    lock_encoding,
    plan_encoding,
    shard_spans,
)
from tasks.parameters.encode import EncodeParameters, EncoderParameters, ShardParameters
from tasks.parameters.images import ImagesParameters
from tasks.runs.building import run_in_progress
from tasks.runs.manifest import read_manifest
from tasks.steps import encode as steps
from tasks.steps.runners import fan_out, gather


@flow(name="encode", description=__doc__)
def encode(
    images: ImagesParameters = ImagesParameters(),
    encoder: EncoderParameters = EncoderParameters(),
    shards: ShardParameters = ShardParameters(),
) -> EncodingRecord:
    """Write the codes of all images of a source, without training.

    Args:
        images: which images.
        encoder: what to encode them with.
        shards: how the work is cut.
    """
    parameters = EncodeParameters(images=images, encoder=encoder, shards=shards)
    with run_in_progress(str(flow_run.get_id()), prepare_artifacts_folder()):
        return encode_set(parameters)


def encode_set(parameters: EncodeParameters) -> EncodingRecord:
    """The steps, in order; those of the shards at once."""
    root = prepare_artifacts_folder()
    run = steps.find_encoders(parameters.encoder)
    dataset = steps.fetch_images(parameters.images)
    manifest = read_manifest(run.folder)
    plan = plan_encoding(dataset, manifest.run, manifest.dataset, manifest.models)
    with lock_encoding(plan, root):
        if found := steps.find_encoding(plan):
            return found
        begin_encoding(plan, run, root)
        spans = shard_spans(dataset.rows["all"], parameters.shards.shard_rows)
        with fan_out() as runner:
            gather([runner.submit(steps.encode_shard, plan, span) for span in spans])
        return steps.join_shards(plan, spans, parameters)


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal.command_line import parse, run_from_command_line
    from flows.terminal.summary import print_encoding

    parameters = parse(encode, EncodeParameters, arguments)
    return run_from_command_line(encode, parameters, print_encoding, ("tasks.encoding.encoder",))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
