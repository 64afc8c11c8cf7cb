"""Where the marks of a chart over runs stand; the page draws it as SVG.

Not by Matplotlib: a run that ends as unchanged writes the page too, and has not imported it.
"""

from typing import NamedTuple

import numpy as np

from tasks.reports.colors import color_of
from tasks.reports.history.events import PUBLISHED_AGAIN, History
from tasks.runs.journal import RunSummary
from tasks.runs.manifest import short_name

WIDTH, HEIGHT = 360, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26
"""Margins; all are in the units of the SVG's view box, pixels on a phone."""
LEVELS = 4
DATES = 3
"""Labels of the axes, at most."""
HEADROOM = 1.0
"""How far a run may lie outside the range of the published ones, in units of that range, before it
is drawn at the edge."""
LEAST_RANGE = 0.01
"""Of the axis, relative to its values: noise must not look like a change."""
NUMBERS = (
    ("validation_loss", "loss (lower is better)", "{:.4f}"),
    ("nearest_5", "five neighbours (higher is better)", "{:.1%}"),
)
"""What is drawn: the field of a model's summary, a title, and how a value is written."""


class Mark(NamedTuple):
    """One run."""

    x: float
    y: float
    outcome: str
    text: str


class Tick(NamedTuple):
    """A place on an axis and its label."""

    at: float
    label: str


class Look(NamedTuple):
    """What a chart is called, and how it and its values are written."""

    title: str
    color: str
    number: str
    """A format, such as `{:.4f}`."""


class Timeline(NamedTuple):
    """One number of one model over runs, oldest at the left."""

    title: str
    color: str
    points: str
    """Of the published runs, as SVG's polyline takes them."""
    marks: tuple[Mark, ...]
    levels: tuple[Tick, ...]
    dates: tuple[Tick, ...]
    rollbacks: tuple[Tick, ...]
    """Where a person published an earlier run, between the runs before and after."""


def draw_timelines(history: History) -> list[Timeline]:
    """All charts of a dataset; none of a number that no run has. Quick looks are left out."""
    runs = [run for run in history.runs if run.outcome != "quick look"]
    models = dict.fromkeys(name for run in runs for name in run.models)
    charts = []
    for position, model in enumerate(models):
        for field, title, number in NUMBERS:
            values = {
                run.run: value
                for run in runs
                if (found := run.models.get(model)) and (value := getattr(found, field)) is not None
            }
            if values:
                shown = [run for run in runs if run.run in values]
                look = Look(f"{model}: {title}", color_of(model, position), number)
                charts.append(_draw(history, shown, values, look))
    return charts


def _draw(
    history: History, runs: list[RunSummary], values: dict[str, float], look: Look
) -> Timeline:
    """A chart of values, which are by run."""
    number = look.number
    low, high = _choose_range(runs, values)
    places = _spread(len(runs))
    marks = []
    for run, x in zip(runs, places, strict=True):
        text = f"{number.format(values[run.run])}, run {short_name(run.run)}, {run.outcome}"
        when = f"{run.finished:%Y-%m-%d %H:%M}"
        marks.append(Mark(x, _height(values[run.run], low, high), run.outcome, f"{when}: {text}"))
    levels = np.linspace(low, high, LEVELS + 1)[:-1] + (high - low) / (2 * LEVELS)
    return Timeline(
        title=look.title,
        color=look.color,
        points=" ".join(f"{mark.x},{mark.y}" for mark in marks if mark.outcome == "published"),
        marks=tuple(marks),
        levels=tuple(Tick(_height(level, low, high), number.format(level)) for level in levels),
        dates=_label_dates(runs, places),
        rollbacks=_place_rollbacks(history, runs, places),
    )


def _height(value: float, low: float, high: float) -> float:
    share = (min(max(value, low), high) - low) / (high - low)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _choose_range(runs: list[RunSummary], values: dict[str, float]) -> tuple[float, float]:
    """The range of the published runs, widened for others as far as they do not squeeze it."""
    shown = [values[run.run] for run in runs if run.outcome == "published"]
    low, high = _widen(shown or list(values.values()))
    room = HEADROOM * (high - low)
    return _widen([value for value in values.values() if low - room <= value <= high + room])


def _widen(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    missing = max(0.0, LEAST_RANGE * high - (high - low)) / 2
    margin = 0.05 * (high - low) + missing
    return low - margin, high + margin


def _spread(count: int) -> list[float]:
    """Even places from left to right; a single one is in the middle."""
    if count == 1:
        return [(LEFT + WIDTH - RIGHT) / 2]
    return [round(float(place), 1) for place in np.linspace(LEFT + 8, WIDTH - RIGHT - 8, count)]


def _place_rollbacks(
    history: History, runs: list[RunSummary], places: list[float]
) -> tuple[Tick, ...]:
    step = places[1] - places[0] if len(places) > 1 else RIGHT
    ticks = []
    for event in history.events:
        if event.outcome == PUBLISHED_AGAIN:
            before = sum(run.finished <= event.time for run in runs)
            at = round(places[max(before - 1, 0)] + step / 2, 1)
            text = f"{event.time:%Y-%m-%d %H:%M}: run {short_name(event.run)} published again"
            ticks.append(Tick(at, text))
    return tuple(ticks)


def _label_dates(runs: list[RunSummary], places: list[float]) -> tuple[Tick, ...]:
    rows = np.unique(np.linspace(0, len(runs) - 1, min(DATES, len(runs))).round().astype(int))
    return tuple(Tick(places[row], f"{runs[row].finished:%Y-%m-%d}") for row in rows)
