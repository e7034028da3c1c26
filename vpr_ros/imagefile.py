"""An image file becomes RGB uint8, upright, or one sentence that says why not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vpr_ros.errors import ImageError
from vpr_ros.records import MAX_MEGAPIXELS

FORMATS = ('JPEG', 'PNG', 'TIFF', 'PPM', 'BMP', 'WEBP', 'GIF', 'JPEG2000')
SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.pgm', '.ppm', '.bmp', '.webp', '.gif')
SIXTEEN_BIT = ('I;16', 'I;16B', 'I;16L', 'I;16N')
WIDENED = (('I', 'PPM'), ('I', 'PNG'))  # 16 bits that Pillow hands out as 32


def read_image(path: Path | str) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB.

    The EXIF orientation is applied, alpha is dropped, a palette is looked up, grey is repeated
    three times, the first picture of an animation is taken, and 16 bits are divided by 257:
    never stretched to the range of the picture, which would make brightness depend on content.

    Raises:
        ImageError: no such file, not an image, damaged or cut off, larger than
            MAX_MEGAPIXELS, or of a pixel type with no fixed range (float, 32 bit).
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_size(path, *image.size)
            depth_16 = image.mode in SIXTEEN_BIT or (image.mode, image.format) in WIDENED
            return to_rgb(path, ImageOps.exif_transpose(image), depth_16)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(
            f'{path} is not an image of a known format, or its header is damaged; '
            f'expected one of {", ".join(FORMATS)}'
        ) from None
    except Exception as error:  # a decoder may raise anything at all on damaged bytes
        raise ImageError(f'{path} cannot be read as an image: {first_line(error)}') from None


def check_encoded(name: str, data: bytes) -> None:
    """Look at the size that an encoded picture declares, before a decoder believes it.

    What is no picture passes: its decoder will say so.

    Raises:
        ImageError: larger than MAX_MEGAPIXELS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f'{name} is too large to be read: {first_line(error)}') from None
    except Exception:  # a parser may raise anything at all on damaged bytes
        return
    check_size(name, *size)


def check_size(path: Path | str, width: int, height: int) -> None:
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise ImageError(
            f'{path} declares {height} x {width} pixels, more than the {MAX_MEGAPIXELS} '
            'megapixels that are read; make it smaller first'
        )


def to_rgb(path: Path | str, image: Image.Image, depth_16: bool) -> np.ndarray:
    """Pixels of an opened image, (H, W, 3) uint8."""
    if depth_16:
        grey = np.asarray(image)
        return np.repeat(np.rint(grey / 257.0).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ('I', 'F'):
        raise ImageError(
            f'{path} has 32-bit pixels ({image.mode}), which have no fixed range; '
            'save it with 8 or 16 bits'
        )
    return np.array(image.convert('RGB'))


def first_line(error: Exception) -> str:
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].rstrip('. ')
