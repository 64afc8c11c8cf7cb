"""From a source to a dataset in the artifacts folder: read, verified, stored."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from tasks.core.errors import StepError, TransientError
from tasks.core.records import SPLITS, DatasetRecord, Sha256, Split
from tasks.images import fashion_mnist
from tasks.images.fashion_mnist import Place
from tasks.images.inspection import Facts, image_shape, inspect
from tasks.images.rows import ArrayRows, Rows
from tasks.images.source_parameters import AnySource, FashionMnist, SourceParameters
from tasks.images.sources import IDX_FILES, RawDataset, RawSplit, join, open_source, split_rows
from tasks.images.store import array_file, dataset_folder, open_array, store_dataset
from tasks.parameters.images import DataParameters

logger = logging.getLogger(__name__)

Splits = dict[Split, RawSplit]
Choose = Callable[[RawDataset], Splits]


def fetch_dataset(parameters: DataParameters, root: Path) -> DatasetRecord:
    """Get images to learn from and to test with, stored as `datasets/<name>-<sha12>/`.

    The source is read from end to end each time, so that new images in it are noticed.

    Raises:
        StepError: the source's images are not what they should be.
        TransientError: no place has Fashion-MNIST; the message has each reason.
    """

    def choose(raw: RawDataset) -> Splits:
        if raw.test:
            return {"train": raw.images, "test": raw.test}
        image_shape(raw.images.images)  # refuses what has no images to set apart
        train, test = split_rows(raw.images, parameters.test_share, parameters.split_seed)
        return {"train": train, "test": test}

    record = _fetch(parameters, choose, root)
    if record.duplicates:
        logger.warning(
            "%d of the %d test images stand among the training images too",
            record.duplicates,
            record.rows["test"],
        )
    if parameters.class_names:
        record = record.model_copy(update={"class_names": parameters.class_names})
    return record


def fetch_images(parameters: SourceParameters, root: Path) -> DatasetRecord:
    """Get all images of a source as the split `all`, those for testing last.

    Raises:
        StepError, TransientError: as above.
    """
    return _fetch(parameters, lambda raw: {"all": join(raw)}, root)


def _fetch(parameters: SourceParameters, choose: Choose, root: Path) -> DatasetRecord:
    """Take the images from the first place that serves; tell the reason of those that do not."""
    name, source = parameters.dataset, parameters.source
    reasons = []
    for place in _places(name, source, root):
        with ExitStack() as stack:
            try:
                raw = stack.enter_context(place.open())
                splits, facts = _inspect(name, raw, choose)
            except Exception as error:  # whatever goes wrong in one place, the next may serve
                if not isinstance(source, FashionMnist):
                    raise
                reasons.append(f"{place.name}: {error}")
                logger.warning("%s does not serve: %s", place.name, error)
            else:
                return store_dataset(name, place.name, raw.class_names, splits, facts, root)
    raise TransientError(
        f"No place serves {name}. {'; '.join(reasons)}. Place "
        f"{', '.join(f'{file}.gz' for file in IDX_FILES.values())} in a folder and name it with "
        "--source.idx-folder"
    )


def _places(name: str, source: AnySource, root: Path) -> list[Place]:
    if not isinstance(source, FashionMnist):
        return [Place(str(source.model_config["title"]), lambda: open_source(source))]
    if name != fashion_mnist.NAME:
        raise StepError(
            f"The dataset {name} needs a source: name one with --source.picture-folder or the like"
        )
    copy = root / dataset_folder(name, fashion_mnist.PAYLOADS)
    stored = [Place(f"the copy {copy.name}", lambda: _open_copy(copy))] if copy.exists() else []
    return [*stored, *fashion_mnist.places()]


def _open_copy(folder: Path) -> AbstractContextManager[RawDataset]:
    def rows(part: str) -> Rows:
        return ArrayRows(f"{folder.name}/{array_file(part)}", open_array(folder / array_file(part)))

    train, test = (RawSplit(rows(f"{name}_images"), rows(f"{name}_labels")) for name in SPLITS)
    return nullcontext(RawDataset(train, test))


def _inspect(name: str, raw: RawDataset, choose: Choose) -> tuple[Splits, Facts]:
    """Read everything; what is called Fashion-MNIST must be what was published under that name."""
    splits = choose(raw)
    if name != fashion_mnist.NAME:
        facts = inspect(splits)
    else:
        published: Splits = {"train": raw.images}
        if raw.test:
            published["test"] = raw.test
        facts = inspect(published)
        _compare(facts.payloads, fashion_mnist.PAYLOADS)
        if splits != published:
            facts = inspect(splits)
    if "train" in splits:
        _check_worth_learning(splits["train"], facts)
        _warn_of_brightness(splits, facts)
    return splits, facts


def _warn_of_brightness(splits: Splits, facts: Facts) -> None:
    train, test = facts.maxima["train"], facts.maxima["test"]
    if test > train:
        logger.warning(
            "%s has values up to %g, %s up to %g: what is brighter counts as white",
            splits["test"].images.where,
            test,
            splits["train"].images.where,
            train,
        )


def _check_worth_learning(train: RawSplit, facts: Facts) -> None:
    if len(train.images) < 2:
        raise StepError(f"{train.images.where} holds one image: expected at least two")
    if facts.constant["train"]:
        raise StepError(
            f"All {len(train.images)} images of {train.images.where} are the same: there is "
            "nothing to learn"
        )


def _compare(payloads: dict[str, Sha256], expected: dict[str, Sha256]) -> None:
    parts = {sha256: part for part, sha256 in expected.items()}
    for part, sha256 in expected.items():
        found = payloads.get(part)
        if found != sha256:
            what = f"the {parts[found]}" if found in parts else f"SHA-256 {str(found)[:12]}..."
            raise StepError(
                f"{part} hold {what}, expected SHA-256 {sha256[:12]}..., the published "
                f"{IDX_FILES[part]}: fetch it again, or give your own images another dataset name"
            )
