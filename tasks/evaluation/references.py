"""Published results on Fashion-MNIST to compare with. None of them is of this project."""

from tasks.core.records import Record

LAB_LOSSES = {"shallow": 0.2842, "deep": 0.2774}
"""Final validation losses that the lab's notebook prints, nats per pixel."""
PIXELS = 784


class Reference(Record):
    """A result that others published."""

    model: str
    code_size: int
    loss: float
    """Binary cross-entropy per pixel of the test images, nats."""
    source: str


LAB = "the notebook exercise that this project grew from"
BAKE_OFF = (
    "T. Krokotsch, The Great Autoencoder Bake Off, https://github.com/tilman151/ae_bakeoff, "
    "results/fmnist/reconstruction.md"
)

REFERENCES = (
    Reference(model="the lab, shallow", code_size=32, loss=LAB_LOSSES["shallow"], source=LAB),
    Reference(model="the lab, deep", code_size=32, loss=LAB_LOSSES["deep"], source=LAB),
    Reference(
        model="dense, one layer (published: 240.9 nats an image)",
        code_size=20,
        loss=240.9 / PIXELS,
        source=BAKE_OFF,
    ),
    Reference(
        model="dense, deep (published: 212.6 nats an image)",
        code_size=20,
        loss=212.6 / PIXELS,
        source=BAKE_OFF,
    ),
)
"""The best figures for dense autoencoders that could be found and verified."""
