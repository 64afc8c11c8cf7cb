from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from tasks.reports.figures import fonts
from tasks.reports.figures.charts import draw_classes
from tasks.reports.figures.fonts import drawn_names, families
from tasks.reports.figures.plotting import font_manager

LATIN = {0: "boot", 1: "Ärmel & $x$", 2: "σάνδαλο", 3: "пальто", 4: "معطف"}
KATAKANA = {5: "ブーツ"}


@pytest.fixture(autouse=True)
def own_fonts_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without fonts beside Matplotlib's."""
    faces = [face for face in font_manager.fontManager.ttflist if "mpl-data" in face.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", faces)
    monkeypatch.setattr(fonts, "findSystemFonts", list)  # Matplotlib keeps what its own finds
    for function in (fonts._choose, fonts._letters, fonts._regular_families):
        function.cache_clear()
    yield
    for function in (fonts._choose, fonts._letters, fonts._regular_families):
        function.cache_clear()


def make_font(path: Path, family: str, letters: str) -> None:
    """Make a font whose letters are all one box."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(point)
    pen.closePath()
    box = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "box"])
    builder.setupCharacterMap({ord(letter): "box" for letter in letters})
    builder.setupGlyf({".notdef": box, "box": box})
    builder.setupHorizontalMetrics({".notdef": (600, 0), "box": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def install_font(path: Path, family: str, letters: str) -> None:
    """Make a font and tell Matplotlib of it."""
    make_font(path, family, letters)
    font_manager.fontManager.addfont(str(path))


def test_names_that_matplotlib_can_draw_need_no_other_font() -> None:
    assert drawn_names(LATIN) == (LATIN, "")
    assert families(LATIN.values()) == ["sans-serif"]


def test_names_without_a_font_are_numbers_with_a_legend(tmp_path: Path) -> None:
    shown = drawn_names(LATIN | KATAKANA)
    assert shown.names == LATIN | {5: "class 5"}
    assert shown.legend == " No font of this machine has the letters of some classes: 5 is ブーツ."
    draw_classes(list(shown.names.values()), {"deep": [0.1] * 6}, [tmp_path / "a.png"])


def test_names_have_a_font_that_is_installed(tmp_path: Path) -> None:
    install_font(tmp_path / "some.ttf", "Some", "ブ")
    install_font(tmp_path / "all.ttf", "Whole", "ブーツ")
    shown = drawn_names(KATAKANA)
    assert shown == (KATAKANA, "")
    assert families(KATAKANA.values()) == ["sans-serif", "Whole"]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:  # a warning of a letter that is missing would be an error
        draw_classes(["ブーツ", "boot"], {"deep": [0.1, 0.2]}, [path])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_font_that_was_installed_after_matplotlib_listed_them_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_font(tmp_path / "new.ttf", "New", "ブーツ")
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    found = [str(tmp_path / name) for name in ("damaged.ttf", "new.ttf")]
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: found)
    assert drawn_names(KATAKANA) == (KATAKANA, "")
    assert families(KATAKANA.values()) == ["sans-serif", "New"]


def test_a_font_that_was_removed_is_not_used(tmp_path: Path) -> None:
    install_font(tmp_path / "all.ttf", "Whole", "ブーツ")
    (tmp_path / "all.ttf").unlink()
    assert drawn_names(KATAKANA).names == {5: "class 5"}


def test_a_legend_names_few_of_many() -> None:
    names = {int(label): "ブーツ" for label in np.arange(60)}
    assert drawn_names(names).legend.endswith("39 is ブーツ and 20 others.")
