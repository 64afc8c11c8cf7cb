"""The reader of published codes; needs h5py, NumPy and no other package.

The same folder is the package `autoencoder_codes` where it is installed by itself, so everything
in it is imported relatively.
"""

from .errors import AutoencoderError, CodesError
from .provenance import ModelProvenance, SplitProvenance
from .publications import Publication, changed_models, confirmed_at, read_publications
from .published import PublishedRun, open_published, open_run
from .reader import Codes, CodesFile, open_codes, read_codes, verify_codes
from .units import activity, live_units

__all__ = [
    "AutoencoderError",
    "Codes",
    "CodesError",
    "CodesFile",
    "ModelProvenance",
    "Publication",
    "PublishedRun",
    "SplitProvenance",
    "activity",
    "changed_models",
    "confirmed_at",
    "live_units",
    "open_codes",
    "open_published",
    "open_run",
    "read_codes",
    "read_publications",
    "verify_codes",
]
