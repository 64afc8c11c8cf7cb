"""The colours of models, the same in every figure and page."""

COLORS = {"shallow": "#0072b2", "deep": "#d55e00", "wide": "#009e73"}
"""Of Okabe and Ito's palette, which people with any kind of colour vision can tell apart."""
OTHER_COLORS = ("#cc79a7", "#e69f00", "#56b4e9")


def color_of(model: str, position: int) -> str:
    """A model's colour.

    Args:
        position: of the model among those shown; chooses the colour of one that has none.
    """
    return COLORS.get(model, OTHER_COLORS[position % len(OTHER_COLORS)])
