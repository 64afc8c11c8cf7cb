"""The parameters of a run that encodes images with a published encoder."""

from tasks.core.form import Group, parameter
from tasks.parameters.source import DATASET_PATTERN, SourceParameters


class ImagesParameters(SourceParameters):
    """Which images to encode: all that the source has, those for testing last."""


class EncoderParameters(Group):
    """What to encode them with."""

    learned_from: str = parameter(
        "fashion-mnist",
        "Learned from",
        "Name of the dataset whose published run has the encoders",
        pattern=DATASET_PATTERN,
        max_length=64,
    )
    run: str | None = parameter(
        None,
        "Run",
        "Name of a run whose encoders are taken instead, published or not",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$",
        max_length=64,
    )


class ShardParameters(Group):
    """How the work is cut."""

    shard_rows: int = parameter(
        65536,
        "Shard",
        "Images that are encoded together; what comes out does not depend on it",
        "images",
        ge=1,
        le=2**24,
    )


class EncodeParameters(Group):
    """Everything a person can choose about encoding images."""

    images: ImagesParameters = ImagesParameters()
    encoder: EncoderParameters = EncoderParameters()
    shards: ShardParameters = ShardParameters()
