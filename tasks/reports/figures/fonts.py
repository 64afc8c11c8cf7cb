"""Fonts for names in any script: Matplotlib's own font lacks most letters of East Asia.

Which fonts a machine has decides how such names look, so equal inputs give equal figures only on
machines with equal fonts; names in Latin, Greek, Cyrillic or Arabic letters need none.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from tasks.reports.figures.plotting import (
    UNUSABLE_FONT,
    FT2Font,
    add_fonts,
    findSystemFonts,
    font_manager,
)

OWN_FAMILY, OWN_NAME = "sans-serif", "DejaVu Sans"
"""The family of our figures, and what it is in Matplotlib; browsers that lack it take theirs."""
PLACEHOLDERS = "Last Resort"
"""Families that begin like this show the block of a letter, not the letter."""
SHOWN_NAMES = 40
"""Names that a legend in a text holds, at most."""


class DrawnNames(NamedTuple):
    """Names as figures can show them."""

    names: dict[int, str]
    """By label; those that no font can show are numbers."""
    legend: str
    """What the numbers stand for, as a sentence to add to a text; empty if there are none."""


def drawn_names(names: Mapping[int, str]) -> DrawnNames:
    """Names of classes as figures can show them.

    Args:
        names: by label.
    """
    _, lacking = _choose(_letters_of(names.values()))
    numbers = {
        label: f"class {label}" for label, name in names.items() if not lacking.isdisjoint(name)
    }
    legend = ""
    if numbers:
        named = [f"{label} is {names[label]}" for label in list(numbers)[:SHOWN_NAMES]]
        more = f" and {len(numbers) - SHOWN_NAMES} others" if len(numbers) > SHOWN_NAMES else ""
        legend = (
            f" No font of this machine has the letters of some classes: {', '.join(named)}{more}."
        )
    return DrawnNames({**names, **numbers}, legend)


def families(names: Iterable[str]) -> list[str]:
    """The families of fonts that show names, the usual one first."""
    return list(_choose(_letters_of(names))[0])


def _letters_of(names: Iterable[str]) -> frozenset[str]:
    return frozenset("".join(names))


@cache
def _choose(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that have the letters, and the letters that none has."""
    chosen, lacking = [OWN_FAMILY], letters - _letters(OWN_NAME)
    while lacking:
        best = max(
            _regular_families(),
            key=lambda family: len(lacking & _letters(family)),
            default=OWN_NAME,
        )
        if lacking.isdisjoint(_letters(best)):
            break
        chosen.append(best)
        lacking -= _letters(best)
    return tuple(chosen), lacking


@cache
def _regular_families() -> list[str]:
    """Other families with an upright face of usual weight; of others Matplotlib warns."""
    add_fonts(findSystemFonts())
    faces = font_manager.fontManager.ttflist
    regular = {face.name for face in faces if face.weight == 400 and face.style == "normal"}
    return sorted(regular - {OWN_NAME})


@cache
def _letters(family: str) -> frozenset[str]:
    """The letters of the font that Matplotlib finds for a family; none if it cannot use it."""
    if family.startswith(PLACEHOLDERS):
        return frozenset()
    properties = font_manager.FontProperties(family=[family])
    try:
        font = FT2Font(font_manager.findfont(properties, fallback_to_default=False))
    except UNUSABLE_FONT:
        return frozenset()
    return frozenset(map(chr, font.get_charmap()))
