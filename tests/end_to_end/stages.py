"""Every stage of a run over large `.npy` files, one after the other, in one process.

`python -m tests.end_to_end.stages FOLDER` works on the `images.npy` and `labels.npy` of a folder
and prints a line for each stage that is done.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.codes.reader import open_codes
from tasks.core.records import SPLITS
from tasks.encoding.encoder import encode_split
from tasks.evaluation.baselines import obtain_baselines
from tasks.evaluation.evaluate import evaluate_model
from tasks.images.dataset import fetch_dataset
from tasks.images.sources import ArrayFiles
from tasks.models.obtain import obtain_model
from tasks.parameters.retrain import Parameters, RunParameters

TEST_SHARE = 0.05
"""Enough that every sample of test images is full at the sizes that are compared."""


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Tell when it is done, and how long it took."""
    started = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


def main(folder: Path, root: Path) -> None:
    """Fetch, train an epoch of the shallow model, encode, compute the baselines, evaluate."""
    source = ArrayFiles(
        images_file=str(folder / "images.npy"), labels_file=str(folder / "labels.npy")
    )
    with stage("normalization"):
        dataset = fetch_dataset("large", source, root, test_share=TEST_SHARE, split_seed=0)
    with stage("training"):
        spec = Parameters(run=RunParameters(quick=True)).specs()[0]
        model = obtain_model(dataset, spec, "cpu", root, lambda _: None)
    with stage("encoding"):
        for split in SPLITS:
            encode_split(split, dataset, [model], root / f"{split}.h5", root)
    with stage("baselines"):
        baselines = obtain_baselines(dataset, {32}, root)
    with (
        stage("evaluation"),
        open_codes(root / "train.h5") as train,
        open_codes(root / "test.h5") as test,
    ):
        evaluate_model(model, dataset, baselines, {"train": train, "test": test}, root)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as artifacts:
        main(Path(sys.argv[1]), Path(artifacts))
