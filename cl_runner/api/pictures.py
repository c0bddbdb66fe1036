"""Pictures as a caller has them, as the stream stores them. [C, H, W] is the shape of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cl_runner.errors import DataError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Of PIL, by the number of colours."""


def stored(given: Any, shape: tuple[int, int, int]) -> Tensor:
    """[N, C, H, W] uint8 from one picture or several.

    given: a PIL picture, or an array or tensor of uint8: [H, W] if C is 1, [C, H, W] or [H, W, C],
    or N of them; or a list of such. Raises DataError for another type or size.
    """
    if isinstance(given, Image.Image):
        return _of_pil(given, shape)
    if isinstance(given, list | tuple):
        if not given:
            raise DataError("data error: there is no picture")
        return torch.cat([stored(each, shape) for each in given])
    if not isinstance(given, np.ndarray | Tensor):
        what = type(given).__name__
        raise DataError(f"data error: a picture is a PIL picture, an array or a tensor, not {what}")
    pixels = torch.as_tensor(
        np.ascontiguousarray(given) if isinstance(given, np.ndarray) else given
    )
    if pixels.dtype != torch.uint8:
        hint = "give them as they were before any transform"
        raise DataError(
            f"data error: pixels are integers of type uint8, not {pixels.dtype}; {hint}"
        )
    arranged = _arranged(pixels, shape)
    if arranged is None:
        raise _of_other_size(tuple(pixels.shape), shape)
    return arranged


def numbers(given: Any, what: str = "inputs") -> Tensor:
    """The same as float32, of any shape. Raises DataError for anything else."""
    try:
        return torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"data error: {what} are an array of numbers") from None


def features(given: Any, shape: tuple[int, int, int]) -> Tensor:
    """[N, 1, 1, D] float32 from [N, D] or [D]. Raises DataError for another size."""
    values = numbers(given, "features")
    if values.ndim not in (1, 2) or values.shape[-1] != shape[2]:
        found = " × ".join(map(str, values.shape)) or "one number"
        raise DataError(f"data error: features of shape {found}, not N × {shape[2]}")
    return values.reshape(-1, *shape)


def _of_pil(picture: Image.Image, shape: tuple[int, int, int]) -> Tensor:
    channels, height, width = shape
    if channels not in MODES:
        raise DataError(f"data error: no PIL picture has {channels} colours; give an array")
    if picture.size != (width, height):
        raise _of_other_size((picture.height, picture.width), shape)
    pixels = torch.from_numpy(np.array(picture.convert(MODES[channels])))
    return pixels.view(1, height, width, channels).permute(0, 3, 1, 2)


def _arranged(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
    """[N, C, H, W] from any order that is allowed; None if the size is another."""
    channels, height, width = shape
    orders: dict[tuple[int, ...], tuple[int, ...]] = {
        (height, width, channels): (2, 0, 1),
        (channels, height, width): (0, 1, 2),  # also where both are the same
    }
    if channels == 1 and pixels.shape[-2:] == (height, width) and pixels.ndim in (2, 3):
        return pixels.reshape(-1, 1, height, width)
    if pixels.ndim == 3:
        pixels = pixels[None]
    order = orders.get(tuple(pixels.shape[1:])) if pixels.ndim == 4 else None
    return None if order is None else pixels.permute(0, *(place + 1 for place in order))


def _of_other_size(given: Sequence[int], shape: Sequence[int]) -> DataError:
    wanted = " × ".join(map(str, shape))
    return DataError(
        f"data error: pictures of shape {' × '.join(map(str, given))}, the network was trained on "
        f"{wanted} (colours, height, width); resize them first"
    )
