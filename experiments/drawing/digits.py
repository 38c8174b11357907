"""Images in a row, and under them what each autoencoder makes of them."""

import numpy as np
from matplotlib.figure import Figure

from experiments.drawing import style


@style.look
def draw(rows: dict[str, np.ndarray]) -> Figure:
    """A row of images (n, height, width), in [0, 1], for each name; the originals come first."""
    count = len(next(iter(rows.values())))
    figure, places = style.axes(len(rows), count, 0.57)
    for (name, images), axes in zip(rows.items(), places, strict=True):
        for axis, image in zip(axes, images, strict=True):
            axis.imshow(image, cmap='gray_r', vmin=0, vmax=1)
            axis.grid(False)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0].set_ylabel(name, rotation=0, ha='right', va='center')
    return figure
