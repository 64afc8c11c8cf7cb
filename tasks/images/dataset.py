"""From a source to a verified dataset in the artifacts folder."""

from pathlib import Path

from tasks.core.errors import StepError
from tasks.core.records import DatasetRecord, Split
from tasks.images import fashion_mnist
from tasks.images.digest import dataset_folder
from tasks.images.inspection import inspect
from tasks.images.raw import RawDataset, RawSplit, draw_test_images, join_splits
from tasks.images.sources import AnySource, FashionMnist
from tasks.images.store import store_dataset


def fetch_dataset(
    name: str,
    source: AnySource,
    root: Path,
    *,
    test_share: float,
    split_seed: int,
    class_names: tuple[str, ...] = (),
) -> DatasetRecord:
    """Get images for training and testing, stored as `datasets/<name>-<sha12>/`.

    The source is always read from end to end, so that changes in it are noticed.

    Args:
        test_share: share of the images to hold out, if the source has no test images.
        split_seed: random seed for choosing them.
        class_names: by label; empty for those of the source.

    Raises:
        StepError: the images cannot be used.
        TransientError: Fashion-MNIST is not available anywhere; the message has all reasons.
    """
    where, raw = _open(name, source, root)
    if raw.test is None:
        raw = draw_test_images(raw, test_share, split_seed)
    record = inspect(name, where, raw.splits, class_names or raw.class_names)
    return store_dataset(record, raw.splits, root)


def fetch_images(name: str, source: AnySource, root: Path) -> DatasetRecord:
    """Get all images of a source as the split `all`, test images last.

    Raises:
        StepError, TransientError: as above.
    """
    where, raw = _open(name, source, root)
    splits: dict[Split, RawSplit] = {"all": join_splits(raw)}
    return store_dataset(inspect(name, where, splits, raw.class_names), splits, root)


def _open(name: str, source: AnySource, root: Path) -> tuple[str, RawDataset]:
    """Open a source; return where it is, for the record, too."""
    if isinstance(source, FashionMnist):
        if name != fashion_mnist.NAME:
            raise StepError(
                f"The dataset {name} needs a source: name one with --source.picture-folder or the "
                "like"
            )
        return fashion_mnist.open_first_place(root / dataset_folder(name, fashion_mnist.PAYLOADS))
    raw = source.open()
    if name == fashion_mnist.NAME:
        raw = fashion_mnist.check_published(raw)
    return str(source.model_config["title"]), raw
