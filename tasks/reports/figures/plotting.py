"""Matplotlib with its own defaults, whatever the user's configuration says.

Import it from here only: a personal `matplotlibrc`, or the backend of a notebook, must not change
figures or end a run.
"""

from collections.abc import Iterable
from contextlib import suppress

from tasks.core.memory import garbage_ignored
from tasks.core.settings import pin_environment

pin_environment()
with garbage_ignored():
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.font_manager import findSystemFonts
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import Bbox


UNUSABLE_FONT = (OSError, RuntimeError, ValueError)
"""What Matplotlib raises for a font that was removed, is of bitmaps, or is not to be found."""


def add_fonts(paths: Iterable[str]) -> None:
    """Add fonts that are not listed: Matplotlib trusts an earlier list in the user's cache."""
    listed = {face.fname for face in font_manager.fontManager.ttflist}
    for path in sorted(set(paths) - listed):
        with suppress(*UNUSABLE_FONT):
            font_manager.fontManager.addfont(path)


mpl.rcdefaults()  # a matplotlibrc in the current folder comes before all others
add_fonts(findSystemFonts([f"{mpl.get_data_path()}/fonts/ttf"]))  # its own

__all__ = [
    "UNUSABLE_FONT",
    "Artist",
    "Axes",
    "Bbox",
    "FT2Font",
    "Figure",
    "FigureCanvasAgg",
    "MaxNLocator",
    "Normalize",
    "ScalarMappable",
    "add_fonts",
    "findSystemFonts",
    "font_manager",
    "mpl",
]
