"""Figures of a run's results."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image


def accuracy_matrix(results: dict[str, Any]) -> Figure:
    """The accuracy matrix as a heat map with its numbers in percent."""
    R = np.array(results[results["metrics_are_of"]], dtype=float)
    figure = Figure(figsize=(1.6 + 0.7 * len(R), 1.2 + 0.6 * len(R)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(100 * R, vmin=0, vmax=100, cmap="viridis")
    numbers = [f"{k + 1}" for k in range(len(R))]
    axes.set_xticks(range(len(R)), numbers)
    axes.set_yticks(range(len(R)), numbers)
    axes.set_xlabel("accuracy on task")
    axes.set_ylabel("after learning task")
    axes.set_title(results["strategy"])
    for t, k in zip(*np.nonzero(~np.isnan(R)), strict=True):
        colour = "black" if R[t, k] > 0.6 else "white"
        axes.text(k, t, f"{100 * R[t, k]:.1f}", ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="accuracy in %")
    return figure


def picture(figure: Figure) -> Image.Image:
    """A figure as pixels."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return Image.open(buffer)
