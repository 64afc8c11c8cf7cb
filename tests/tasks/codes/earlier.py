"""The run that version 0.1.0 published, with codes files of schema version 1."""

import shutil
from pathlib import Path

ARTIFACTS = Path(__file__).parents[2] / "fixtures" / "artifacts-0.1.0"
DATASET = "small-fashion"
(RUN,) = [path.name for path in (ARTIFACTS / "runs").iterdir()]


def copy_codes(folder: Path) -> Path:
    """A copy of its codes of the test images."""
    return Path(shutil.copy(ARTIFACTS / "runs" / RUN / "codes" / "test.h5", folder))
