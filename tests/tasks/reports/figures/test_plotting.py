"""What a user's settings do to figures, each in a process of its own: imports happen once."""

import os
import subprocess
import sys
from copy import copy
from pathlib import Path

import pytest

from flows.server.supervision import CODE
from tasks.reports.figures.plotting import font_manager

DRAW = """
import sys
from pathlib import Path
from tasks.reports.figures.style import new_figure
with new_figure((3, 2), Path(sys.argv[1]), Path(sys.argv[2])) as figure:
    axes = figure.add_subplot()
    axes.plot([1, 3, 2], label="values")
    axes.legend(title="$x^2$")
    axes.imshow([[1, 2], [3, 4]])
"""
SETTINGS = """
text.usetex: True
font.family: serif
lines.linewidth: 5
figure.dpi: 30
savefig.dpi: 30
savefig.facecolor: red
image.cmap: magma
svg.hashsalt: mine
no.such: setting
"""


def draw(folder: Path, **variables: str) -> dict[str, bytes]:
    """Draw a figure in a folder; return the bytes of its files."""
    names = ("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": str(CODE), **variables}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, "figure.png", "figure.svg"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.suffix: path.read_bytes() for path in folder.glob("figure.*")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The figure without settings."""
    return draw(tmp_path_factory.mktemp("plain"))


def test_neither_a_notebook_s_backend_nor_a_personal_configuration_changes_a_figure(
    plain: dict[str, bytes], tmp_path: Path
) -> None:
    assert plain.keys() == {".png", ".svg"}
    configuration = tmp_path / "configuration"
    configuration.mkdir()
    (configuration / "matplotlibrc").write_text(SETTINGS)
    backend = "module://matplotlib_inline.backend_inline"
    assert draw(tmp_path, MPLBACKEND=backend, MPLCONFIGDIR=str(configuration)) == plain


def test_nor_does_one_in_the_folder_where_a_command_is_typed(
    plain: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "matplotlibrc").write_text(SETTINGS)
    assert draw(tmp_path) == plain


def test_nor_does_a_list_of_fonts_that_lacks_those_of_matplotlib(
    plain: dict[str, bytes], tmp_path: Path
) -> None:
    """Another program of the user may have written it to the cache."""
    fonts = copy(font_manager.fontManager)
    fonts.ttflist = []
    cache = tmp_path / "cache"
    cache.mkdir()
    font_manager.json_dump(fonts, cache / f"fontlist-v{fonts.__version__}.json")
    assert draw(tmp_path, MPLCONFIGDIR=str(cache)) == plain
