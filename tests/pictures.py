"""Pictures that tests look at."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_colors(path: Path) -> NDArray[np.float64]:
    """The colours of a picture, (height, width, 3) in 0..1, also of one in greys."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")) / 255
