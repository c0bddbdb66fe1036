"""One picture file: opened without trusting what it says, and made a tensor of a given size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cl_runner.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened: EPS and the like would start other programs."""
ENDINGS = (
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
"""How the names of such files end, in small letters."""
MOST_PIXELS = 89_478_485
"""PIL's own limit, above which it warns: such a picture would take a quarter of a gigabyte."""


def open_picture(path: str, channels: int) -> Image:
    """A picture file of one of FORMATS, in grey (1 channel) or in red, green and blue (3).

    Transparency is dropped. Raises DataError.
    """
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    try:
        with pil.open(path, formats=FORMATS) as picture:
            # Not left to a filter that makes PIL's warning an error: whoever restores filters
            # would remove it.
            if picture.width * picture.height > MOST_PIXELS:
                raise pil.DecompressionBombError
            if picture.mode[0] in "IF":
                raise DataError(f"data error: {path} has more than 8 bits for each colour")
            made: Image = picture.convert("L" if channels == 1 else "RGB")
            return made
    except UnidentifiedImageError:
        reason = f"it is none of {', '.join(FORMATS)}"
    except (pil.DecompressionBombError, pil.DecompressionBombWarning):
        reason = f"its header says that it has more than {MOST_PIXELS:,} pixels"
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    raise DataError(f"data error: {path} cannot be decoded: {reason}")


def as_tensor(picture: Image, size: tuple[int, int]) -> Tensor:
    """[C, H, W] uint8, from a picture of any size: stretched to (H, W), bilinear with the picture
    smoothed before it is made smaller, as PIL does it."""
    from PIL.Image import Resampling

    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Resampling.BILINEAR)
    pixels = np.asarray(picture).reshape(height, width, -1)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
