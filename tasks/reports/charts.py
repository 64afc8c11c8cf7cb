"""Charts: numbers in, a file out. Equal inputs give equal bytes."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tasks.core.records import EpochRecord
from tasks.reports.style import Array, color_of, new_figure, plain

MARKERS = "osD^vP"
ALIVE, DEAD = "#0072b2", "#d55e00"


Histories = dict[str, tuple[EpochRecord, ...]]
"""The epochs of trainings, by model."""


def draw_learning_curves(
    histories: Histories, references: dict[str, float], floor: float, paths: list[Path]
) -> None:
    """Training and validation loss by epoch, with the notebook's losses and the entropy floor.

    Args:
        references: final validation losses of the reference notebook, by model.
        floor: entropy floor of the test images; all losses are in nats per pixel.
    """
    with new_figure((11, 5.5), *paths) as figure:
        axes = figure.subplots()
        for position, (model, history) in enumerate(histories.items()):
            _draw_curve(axes, model, history, references.get(model), color_of(model, position))
        axes.axhline(floor, color="black", linewidth=1, label=f"entropy floor {floor:.4f}")
        axes.set(xlabel="epoch", ylabel="binary cross-entropy per pixel (nats)")
        last = max(map(len, histories.values()))
        limits = _loss_limits(histories, floor)
        axes.set(xlim=(0.5, last + 0.5), ylim=limits)  # no tick at epoch zero
        axes.set_title("Learning curves")
        axes.xaxis.set_major_locator(_integer_ticks())
        figure.legend(loc="outside right upper")


def _draw_curve(
    axes: Axes, model: str, history: tuple[EpochRecord, ...], reference: float | None, color: str
) -> None:
    epochs, name = np.arange(1, len(history) + 1), plain(model)
    marker = "o" if len(epochs) == 1 else None  # one point makes no line
    validation = [epoch.validation_loss for epoch in history]
    axes.plot(epochs, validation, color=color, marker=marker, label=f"{name}, test")
    axes.plot(
        epochs,
        [epoch.loss for epoch in history],
        color=color,
        marker=marker,
        markerfacecolor="white",
        linestyle=(0, (1, 1)),
        label=f"{name}, training",
    )
    if reference is not None:
        axes.axhline(
            reference,
            color=color,
            linewidth=1,
            linestyle=(0, (6, 3)),
            label=f"{name}, reference notebook {reference:.4f}",
        )


def _loss_limits(histories: Histories, floor: float) -> tuple[float, float]:
    """From the floor to the losses of the second epoch; those of the first are far above."""
    later = [epoch for history in histories.values() for epoch in history[1:]]
    first = [history[0] for history in histories.values()]
    top = max(max(epoch.loss, epoch.validation_loss) for epoch in later or first)
    margin = 0.05 * (top - floor)
    return floor - margin, top + margin


def draw_classes(names: list[str], errors: dict[str, list[float]], paths: list[Path]) -> None:
    """Mean squared error by class, one marker for each model, the hardest class on top.

    Args:
        names: of the classes.
        errors: by model, one for each class.
    """
    order = np.argsort(next(iter(errors.values())))
    with new_figure((9, 1.6 + 0.34 * len(names)), *paths) as figure:
        axes = figure.subplots()
        for position, (model, values) in enumerate(errors.items()):
            axes.plot(
                np.array(values)[order],
                np.arange(len(names)),
                linestyle="none",
                marker=MARKERS[position % len(MARKERS)],
                markersize=7,
                color=color_of(model, position),
                label=plain(model),
            )
        axes.set_yticks(np.arange(len(names)), [plain(names[row]) for row in order])
        axes.set_xlim(0, 1.05 * max(map(max, errors.values())) or 1)
        axes.set_xlabel("mean squared error of the test images (0 to 1 scale)")
        axes.set_title("Error by class")
        figure.legend(loc="outside right upper")


def draw_units(
    model: str, activity: Array, alive: Array, matrix: Array, worth: str, path: Path
) -> None:
    """Activity of a code's units and correlations between them, most active unit first.

    Args:
        activity: (code_size,) share of the images for which a unit is not zero.
        alive: (code_size,) bool.
        matrix: (code_size, code_size) correlations.
        worth: what the code is worth, written above both.
    """
    order = np.argsort(-activity, kind="stable")
    with new_figure((11.5, 4.9), path) as figure:
        figure.suptitle(f"{plain(model)}: {worth}", x=0.01, ha="left")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        _draw_activity(left, activity[order], alive[order])
        left.set_title(f"{alive.sum()} of {len(alive)} code units carry information")
        image = right.imshow(matrix[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1)
        right.set_title("Correlation between units")
        right.set(xlabel="code unit, in the same order", ylabel="code unit, in the same order")
        right.grid(visible=False)
        right.yaxis.set_major_locator(_integer_ticks())
        for axes in (left, right):
            axes.xaxis.set_major_locator(_integer_ticks())
        figure.colorbar(image, ax=right, shrink=0.85, label="Pearson correlation")


def _draw_activity(axes: Axes, activity: Array, alive: Array) -> None:
    """A bar for each unit; crosses mark dead units, whose bars may have no height."""
    axes.bar(np.arange(len(activity)), activity * 100, color=np.where(alive, ALIVE, DEAD))
    axes.set(xlim=(-0.7, len(activity) - 0.3), ylim=(0, 100))
    axes.set(xlabel="code unit, most active first", ylabel="images for which it is not zero (%)")
    axes.grid(axis="x", visible=False)
    if not alive.all():
        dead = np.flatnonzero(~alive)
        axes.plot(dead, 0 * dead, "x", color=DEAD, label="carries no information", clip_on=False)
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="white")


def _integer_ticks() -> MaxNLocator:
    return MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
