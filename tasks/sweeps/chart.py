"""The chart of a sweep. Equal inputs give equal bytes."""

from pathlib import Path

from tasks.evaluation.records import Baselines
from tasks.reports.colors import color_of
from tasks.reports.figures.charts import MARKERS
from tasks.reports.figures.plotting import Axes
from tasks.reports.figures.style import GREY, new_figure
from tasks.sweeps.records import Summary


def draw_sweep(summaries: list[Summary], baselines: Baselines, path: Path) -> None:
    """Draw validation loss, and mean squared error beside that of PCA, by code size.

    Args:
        path: of the PNG; an SVG of the same name is written beside it.
    """
    errors = {scores.components: scores.mse for scores in baselines.pca}
    floor, sizes = baselines.pixels.entropy_floor, sorted(errors)
    with new_figure((11, 4.2), path, path.with_suffix(".svg")) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.2})
        for position, name in enumerate(dict.fromkeys(one.architecture for one in summaries)):
            of_one = [one for one in summaries if one.architecture == name]
            _draw_series(left, position, of_one, [(one.loss, one.losses) for one in of_one])
            _draw_series(right, position, of_one, [(one.error, one.errors) for one in of_one])
        left.axhline(floor, color="black", linewidth=1, label=f"entropy floor {floor:.4f}")
        of_pca = [errors[size] for size in sizes]
        right.plot(sizes, of_pca, color=GREY, marker="x", linestyle=(0, (6, 3)), label="PCA")
        left.set_ylabel("binary cross-entropy per pixel (nats)")
        left.set_title("Validation loss by code size")
        right.set_ylabel("mean squared error (0 to 1 scale)")
        right.set_ylim(bottom=0)
        right.set_title("Mean squared error by code size")
        for axes in (left, right):
            _label_sizes(axes, sizes)
            axes.legend(loc="best")


def _draw_series(
    axes: Axes, position: int, of_one: list[Summary], values: list[tuple[float, list[float]]]
) -> None:
    """Draw one architecture: a line through the means, a marker for each seed."""
    name, sizes = of_one[0].architecture, [one.code_size for one in of_one]
    color, marker = color_of(name, position), MARKERS[position % len(MARKERS)]
    axes.plot(sizes, [mean for mean, _ in values], color=color, linewidth=1.5)
    axes.plot(
        [size for size, (_, each) in zip(sizes, values, strict=True) for _ in each],
        [value for _, each in values for value in each],
        color=color,
        marker=marker,
        markersize=5,
        linestyle="none",
        label=name,
    )


def _label_sizes(axes: Axes, sizes: list[int]) -> None:
    """Label code sizes on a logarithmic axis: they are usually powers of two."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("code size (units)")
