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
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

mpl.rcdefaults()  # a matplotlibrc in the current folder comes before all others

__all__ = [
    "Axes",
    "FT2Font",
    "Figure",
    "MaxNLocator",
    "Normalize",
    "Rectangle",
    "ScalarMappable",
    "font_manager",
    "mpl",
]
