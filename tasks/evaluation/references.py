"""Published results on Fashion-MNIST to compare with. None of them is of this project."""

from typing import NamedTuple

LAB_LOSSES = {"shallow": 0.2842, "deep": 0.2774}
"""Final validation losses of the reference notebook ("the lab"), nats per pixel."""
LAB = "the notebook exercise that this project grew from"
BAKE_OFF = (
    "T. Krokotsch, The Great Autoencoder Bake Off, https://github.com/tilman151/ae_bakeoff, "
    "results/fmnist/reconstruction.md"
)


class Reference(NamedTuple):
    """A published result."""

    model: str
    code_size: int
    loss: float
    """Binary cross-entropy per pixel of the test images, nats."""
    source: str


REFERENCES = (
    Reference("reference notebook, shallow", 32, LAB_LOSSES["shallow"], LAB),
    Reference("reference notebook, deep", 32, LAB_LOSSES["deep"], LAB),
    Reference("dense, one layer (published: 240.9 nats per image)", 20, 240.9 / 784, BAKE_OFF),
    Reference("dense, deep (published: 212.6 nats per image)", 20, 212.6 / 784, BAKE_OFF),
)
"""The best results for dense autoencoders that could be found and verified."""
