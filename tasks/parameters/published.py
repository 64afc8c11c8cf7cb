"""The parameters of the flows that use a published run: `flows.encode` and `flows.neighbors`."""

from tasks.core.form import Group, parameter
from tasks.parameters.images import DATASET_NAME, RUN_NAME, ImagesParameters


class EncoderParameters(Group):
    """Which encoders to use."""

    learned_from: str = parameter(
        "fashion-mnist", "Learned from", "Dataset on whose images they were trained", **DATASET_NAME
    )
    run: str | None = parameter(
        None, "Run", "Run whose encoders to use instead of the published ones", **RUN_NAME
    )


class ShardParameters(Group):
    """How to divide the work."""

    shard_rows: int = parameter(
        65536, "Shard", "Images per task; the results do not depend on it", "images", ge=1, le=2**24
    )


class EncodeParameters(Group):
    """Everything a person can choose about encoding images."""

    images: ImagesParameters = ImagesParameters()
    encoder: EncoderParameters = EncoderParameters()
    shards: ShardParameters = ShardParameters()


class CodesParameters(Group):
    """Which codes to search."""

    dataset: str = parameter(
        "fashion-mnist", "Dataset", "Dataset whose published codes to search", **DATASET_NAME
    )
    run: str | None = parameter(
        None, "Run", "Run whose codes to search instead of the published ones", **RUN_NAME
    )


class NeighborsParameters(Group):
    """Everything a person can choose about a search for neighbours."""

    codes: CodesParameters = CodesParameters()
