"""Matplotlib with its own defaults, whatever the user's configuration says.

Import it from here only: a personal `matplotlibrc`, or the backend of a notebook, must not change
figures or end a run.
"""

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

mpl.rcdefaults()  # a matplotlibrc in the current folder comes before all others

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
