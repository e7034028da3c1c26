"""ROS image messages to RGB uint8. The one decoder of recordings and of the live node.

Messages are duck-typed: those of rosbags and of rclpy are taken alike, and neither is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import ImageError
from vpr_ros.imagefile import check_encoded

Convert = Callable[[np.ndarray], np.ndarray]

# A row that is followed by this much or more of padding is not padded but of another encoding.
PADDING_LIMIT_BYTES = 256

WIDE_TYPES = {'8S': 'i1', '16U': 'u2', '16S': 'i2', '32S': 'i4', '32F': 'f4', '64F': 'f8'}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the pixels of one `encoding` lie in memory, and what makes them RGB uint8."""

    dtype: np.dtype
    channels: int
    to_rgb: Convert
    rows: tuple[int, int] = (1, 1)  # rows in memory for rows of the picture, as a ratio


def image_from_message(message: Any) -> np.ndarray:
    """Decode sensor_msgs Image or CompressedImage to an RGB picture (H, W, 3), uint8.

    A contiguous rgb8 image is a read-only view of the message's data, everything else is a copy.
    Images of 16 bits or floats whose encoding states no range (16UC1, 32FC1, ...) are stretched
    between their 0.1 and 99.9 percentiles; mono16, rgb16 and bayer16 keep their full scale.

    Raises:
        ImageError: the message holds no picture, a damaged one, or is not what it announces.
    """
    return _decompressed(message) if hasattr(message, 'format') else _converted(message)


def _converted(message: Any) -> np.ndarray:
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError(
            f'image encoding {message.encoding!r} is not known; '
            'expected one of sensor_msgs such as rgb8, mono8 or bayer_rggb8'
        )
    pixels = pixels_of(message, encoding)
    try:
        return encoding.to_rgb(pixels)
    except cv2.error:
        raise ImageError(
            f'{message.encoding} image of {message.height} x {message.width} pixels cannot be '
            'converted; expected an even height and width'
        ) from None


def pixels_of(message: Any, encoding: Encoding) -> np.ndarray:
    """View of the message's data (H, W) or (H, W, C) in native byte order.

    Raises:
        ImageError: the message is not what it announces, or was cut.
    """
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise ImageError(f'image of {height} x {width} pixels holds no picture')
    pixel = encoding.dtype.itemsize * encoding.channels
    row = width * pixel
    padding = step - row
    if padding < 0 or (height > 1 and padding >= max(row, PADDING_LIMIT_BYTES)):
        raise ImageError(
            f'{message.encoding} image {width} pixels wide announces rows of {step} bytes; '
            f'expected {row}, and padding at most'
        )
    height = height * encoding.rows[0] // encoding.rows[1]
    needed = step * (height - 1) + row
    if len(message.data) < needed:
        raise ImageError(
            f'{message.encoding} image holds {len(message.data)} bytes; expected {needed}, '
            'so the message was cut'
        )
    channels = (encoding.channels,) if encoding.channels > 1 else ()
    strides = (step, pixel, encoding.dtype.itemsize)[: 2 + len(channels)]
    data = np.frombuffer(message.data, np.uint8)
    data.flags.writeable = False
    pixels = np.ndarray((height, width, *channels), encoding.dtype, data, strides=strides)
    if bool(message.is_bigendian) != (sys.byteorder == 'big') and encoding.dtype.itemsize > 1:
        return pixels.byteswap()
    return pixels


def _decompressed(message: Any) -> np.ndarray:
    """A compressed picture is the raw image named in its format, once it is decompressed."""
    data = np.frombuffer(message.data, np.uint8) if len(message.data) else np.empty(0, np.uint8)
    if 'compressedDepth' in message.format:
        raise ImageError(
            f'{message.format!r} is depth, not a picture; choose the topic of a camera image'
        )
    encoded = data.tobytes()
    if is_cut(encoded):
        raise ImageError(f'{message.format!r} picture of {len(data)} bytes was cut before its end')
    check_encoded(f'{message.format!r} picture', encoded)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        pixels = None
    encoding = None if pixels is None else _encoding(message.format, pixels)
    if pixels is None or encoding is None:
        raise ImageError(
            f'{len(data)} bytes of format {message.format!r} are not a picture; '
            'expected JPEG, PNG or WebP'
        )
    return encoding.to_rgb(pixels)


def is_cut(data: bytes) -> bool:
    """Tell whether a JPEG, PNG or WebP lacks its end; OpenCV would fill the rest with grey."""
    if data.startswith(b'\xff\xd8'):
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')  # end of image, start of scan
    if data.startswith(b'\x89PNG'):
        return b'IEND' not in data
    if data.startswith(b'RIFF'):
        return len(data) < int.from_bytes(data[4:8], 'little') + 8
    return False


def _encoding(format_: str, pixels: np.ndarray) -> Encoding | None:
    """Encoding of decompressed pixels, from the format string where it fits them.

    The strings are those of compressed_image_transport, `<encoding>; <codec> compressed <order>`,
    where the order is how the channels were handed to the codec, which takes them for blue, green
    and red. It states no order for a single channel, which can be a Bayer pattern.
    """
    announced = ENCODINGS.get(format_.partition(';')[0].strip())
    if pixels.ndim == 2:
        if announced and announced.channels == 1 and announced.dtype == pixels.dtype:
            return announced
        return ENCODINGS.get(
            {'uint8': 'mono8', 'uint16': 'mono16'}.get(pixels.dtype.name, '32FC1')
        )
    order = 'rgb' if 'compressed rgb' in format_ else 'bgr'
    alpha = 'a' if pixels.shape[2] == 4 else ''
    return ENCODINGS.get(f'{order}{alpha}{8 * pixels.dtype.itemsize}')


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels)


def _colour(code: int) -> Convert:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _full_scale(to_rgb: Convert) -> Convert:
    """Bring 16 bits to 8 first: 65535 is white."""
    return lambda pixels: to_rgb(cv2.convertScaleAbs(pixels, alpha=255 / 65535))


def _stretched(to_rgb: Convert) -> Convert:
    """Bring values of no stated range to 8 bits first: the brightest of this image are white."""

    def convert(pixels: np.ndarray) -> np.ndarray:
        finite = pixels[np.isfinite(pixels)]
        if not len(finite):
            raise ImageError('image of floating point numbers holds no finite value')
        low, high = np.percentile(finite, (0.1, 99.9))
        scaled = (pixels - low) * (255 / (high - low) if high > low else 0.0)
        scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
        return to_rgb(np.rint(scaled).clip(0, 255).astype(np.uint8))

    return convert


def _encodings() -> dict[str, Encoding]:
    grey, bgr = _colour(cv2.COLOR_GRAY2RGB), _colour(cv2.COLOR_BGR2RGB)
    bgra, rgba = _colour(cv2.COLOR_BGRA2RGB), _colour(cv2.COLOR_RGBA2RGB)
    byte, word = np.dtype(np.uint8), np.dtype(np.uint16)
    orders: dict[str, tuple[int, Convert]] = {
        'mono': (1, grey),
        'rgb': (3, _rgb),
        'bgr': (3, bgr),
        'rgba': (4, rgba),
        'bgra': (4, bgra),
        # OpenCV names a pattern by its second row and column, ROS by its first.
        'bayer_rggb': (1, _colour(cv2.COLOR_BayerBG2RGB)),
        'bayer_bggr': (1, _colour(cv2.COLOR_BayerRG2RGB)),
        'bayer_gbrg': (1, _colour(cv2.COLOR_BayerGR2RGB)),
        'bayer_grbg': (1, _colour(cv2.COLOR_BayerGB2RGB)),
    }
    table = {f'{name}8': Encoding(byte, n, convert) for name, (n, convert) in orders.items()}
    for name, (n, convert) in orders.items():
        table[f'{name}16'] = Encoding(word, n, _full_scale(convert))
    uyvy, yuyv = _colour(cv2.COLOR_YUV2RGB_UYVY), _colour(cv2.COLOR_YUV2RGB_YUYV)
    for name, convert in {'uyvy': uyvy, 'yuv422': uyvy, 'yuyv': yuyv, 'yuv422_yuy2': yuyv}.items():
        table[name] = Encoding(byte, 2, convert)
    table['nv12'] = Encoding(byte, 1, _colour(cv2.COLOR_YUV2RGB_NV12), rows=(3, 2))
    table['nv21'] = Encoding(byte, 1, _colour(cv2.COLOR_YUV2RGB_NV21), rows=(3, 2))
    # The types of OpenCV: colours, where there are any, are in its order, blue first.
    for n, convert in {1: grey, 3: bgr, 4: bgra}.items():
        table[f'8UC{n}'] = Encoding(byte, n, convert)
        for name, dtype in WIDE_TYPES.items():
            table[f'{name}C{n}'] = Encoding(np.dtype(dtype), n, _stretched(convert))
    return table


ENCODINGS = _encodings()
