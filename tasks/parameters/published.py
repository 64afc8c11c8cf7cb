"""The parameters of the flows that use a published run: `flows.encode` and `flows.neighbors`."""

from typing import Annotated

from tasks.core.form import Group, parameter, titled
from tasks.parameters.images import (
    DATASET_NAME,
    RUN_NAME,
    EncodedImages,
    ImagesParameters,
)


class EncoderParameters(Group):
    """Which encoders to use."""

    learned_from: str = parameter(
        "fashion-mnist", "Learned from", "Dataset that the encoders were trained on", **DATASET_NAME
    )
    run: str | None = parameter(
        None, "Run", "Run whose encoders to use (default: the published run)", **RUN_NAME
    )


Encoder = Annotated[EncoderParameters, titled("Encoders")]


class ShardParameters(Group):
    """How to divide the work."""

    shard_rows: int = parameter(
        65536,
        "Images per task",
        "Fewer need less memory; the results do not depend on it",
        ge=1,
        le=2**24,
    )


Shards = Annotated[ShardParameters, titled("Division of the work")]


class EncodeParameters(Group):
    """Everything a person can choose about encoding images."""

    images: EncodedImages = ImagesParameters()
    encoder: Encoder = EncoderParameters()
    shards: Shards = ShardParameters()


class CodesParameters(Group):
    """Which codes to search."""

    dataset: str = parameter(
        "fashion-mnist", "Dataset", "Dataset whose published codes to search", **DATASET_NAME
    )
    run: str | None = parameter(
        None, "Run", "Run whose codes to search (default: the published run)", **RUN_NAME
    )


Codes = Annotated[CodesParameters, titled("Codes")]


class NeighborsParameters(Group):
    """Everything a person can choose about a search for neighbours."""

    codes: Codes = CodesParameters()
