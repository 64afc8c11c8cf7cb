"""Encode any images with a published encoder, in shards, on one machine or on many."""

import sys

from prefect import flow

from tasks.core.locks import lock
from tasks.core.storage import prepare_artifacts_folder
from tasks.encoding.shards import EncodingRecord
from tasks.parameters.images import EncodedImages, ImagesParameters
from tasks.parameters.published import (
    EncodeParameters,
    Encoder,
    EncoderParameters,
    ShardParameters,
    Shards,
)
from tasks.steps import encode as steps
from tasks.steps.outcome import run_name
from tasks.steps.runners import fan_out, gather
from tasks.steps.step import current_run

EXAMPLES = (
    (
        "--dataset boots --source.picture-folder DIR",
        "encode your own pictures with the published Fashion-MNIST encoders",
    ),
    (
        "--dataset boots --source.npz-file FILE --run RUN",
        "encode an array with the encoders of a certain run",
    ),
)


@flow(
    name="encode",
    description=__doc__,
    flow_run_name=run_name(lambda given: f"{given['images'].dataset}-encode"),
)
def encode(
    images: EncodedImages = ImagesParameters(),
    encoder: Encoder = EncoderParameters(),
    shards: Shards = ShardParameters(),
) -> EncodingRecord:
    """Write the codes of all images of a source, without training.

    Args:
        images: Which images to encode.
        encoder: Which models to encode them with.
        shards: How to divide the work.
    """
    parameters = EncodeParameters(images=images, encoder=encoder, shards=shards)
    with current_run():
        return run_steps(parameters)


def run_steps(parameters: EncodeParameters) -> EncodingRecord:
    """The steps, in order; the shards are encoded at the same time."""
    run = steps.find_encoders(parameters.encoder)
    dataset = steps.fetch_images(parameters.images)
    plan = steps.plan_encoding(dataset, run)
    with lock(f"encoding-{plan.name}", prepare_artifacts_folder()):
        if encoding := steps.find_encoding(plan):
            return encoding
        spans = steps.prepare_shards(plan, run, parameters.shards)
        with fan_out():
            gather([steps.encode_shard.submit(plan, span) for span in spans])
        return steps.join_shards(plan, spans, parameters)


def main(arguments: list[str]) -> int:
    """Run as a command; return the exit code."""
    from flows.terminal import command_line, summary

    return command_line.run(
        encode,
        EncodeParameters,
        arguments,
        summary.print_encoding,
        lambda _parameters: steps.STAGES,
        EXAMPLES,
        command_line.Imports(("tasks.encoding.encoder",)),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
