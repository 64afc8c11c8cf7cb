"""Matplotlib with its own defaults, whatever the user's configuration says.

Import it from here only: a personal `matplotlibrc`, or the backend of a notebook, must not change
figures or end a run.
"""

from pathlib import Path

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


def _list_own_fonts() -> None:
    """Add Matplotlib's own fonts if they are not listed: it trusts the list in the user's cache."""
    listed = {Path(face.fname) for face in font_manager.fontManager.ttflist}
    for path in sorted({*Path(mpl.get_data_path(), "fonts", "ttf").glob("*.ttf")} - listed):
        font_manager.fontManager.addfont(path)


mpl.rcdefaults()  # a matplotlibrc in the current folder comes before all others
_list_own_fonts()

__all__ = [
    "Artist",
    "Axes",
    "Bbox",
    "FT2Font",
    "Figure",
    "FigureCanvasAgg",
    "MaxNLocator",
    "Normalize",
    "ScalarMappable",
    "findSystemFonts",
    "font_manager",
    "mpl",
]
