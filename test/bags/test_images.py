"""Every encoding becomes the same picture; what is no picture is refused in a sentence."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
import zlib
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from shared_data import shared_data

from vpr_ros.bags.images import ENCODINGS, image_from_message
from vpr_ros.errors import ImageError


def recorded(folder: str) -> list:
    with AnyReader([shared_data('nasty', 'bags', folder)]) as reader:
        return [reader.deserialize(x, c.msgtype) for c, _, x in reader.messages()]


@pytest.fixture(scope='module', params=['encodings_mcap', 'encodings_db3'])
def encodings(request) -> list:
    return recorded(request.param)


@pytest.fixture(scope='module')
def broken() -> list:
    return recorded('broken_messages_mcap')


def raw(encoding: str, pixels: np.ndarray, **changes) -> SimpleNamespace:
    """An Image message of contiguous pixels; `changes` spoil it."""
    fields = {
        'encoding': encoding,
        'height': pixels.shape[0],
        'width': pixels.shape[1],
        'step': pixels.strides[0],
        'is_bigendian': 0,
        'data': pixels.tobytes(),
    }
    return SimpleNamespace(**(fields | changes))


def compressed(codec: str, pixels: np.ndarray, format_: str) -> SimpleNamespace:
    done, data = cv2.imencode(codec, pixels)
    assert done
    return SimpleNamespace(format=format_, data=data.tobytes())


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth coloured picture (H, W, 3), BGR."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = (rows * 4 % 256, columns * 3 % 256, (rows + columns) * 2 % 256)
    return cv2.GaussianBlur(np.dstack(channels).astype(np.uint8), (5, 5), 0)


# Largest mean absolute difference from the rgb8 picture, or from its grey values. Bayer patterns
# have lost two thirds of the colours. The YUV messages of the data were made with full range,
# against the video range that OpenCV and cv_bridge take. 16UC1 and 32FC1 are stretched.
ENCODING_TABLE = {
    'rgb8': (0, 'rgb'),
    'bgr8': (0, 'rgb'),
    'rgba8': (0, 'rgb'),
    'bgra8': (0, 'rgb'),
    '8UC3': (0, 'rgb'),
    'rgb16': (0, 'rgb'),
    'bayer_rggb8': (7.1, 'rgb'),
    'bayer_bggr8': (7.1, 'rgb'),
    'bayer_gbrg8': (7.1, 'rgb'),
    'bayer_grbg8': (7.1, 'rgb'),
    'bayer_rggb16': (7.1, 'rgb'),
    'uyvy': (7.9, 'rgb'),
    'yuv422': (7.9, 'rgb'),
    'yuyv': (7.9, 'rgb'),
    'yuv422_yuy2': (7.9, 'rgb'),
    'nv12': (2.3, 'rgb'),
    'mono8': (0, 'grey'),
    'mono16': (0, 'grey'),
    '8UC1': (0, 'grey'),
    '16UC1': (6.8, 'grey'),
    '32FC1': (6.8, 'grey'),
}


def test_every_recorded_encoding_becomes_the_reference_picture(encodings):
    rgb = image_from_message(encodings[1])
    grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    with shared_data('nasty', 'bags', 'encodings.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['encoding'] for row in rows] == [m.encoding for m in encodings]
    for row, message in zip(rows, encodings, strict=True):
        limit, kind = ENCODING_TABLE[row['encoding']]
        picture = image_from_message(message)
        assert picture.shape == (242, 322, 3), row
        assert picture.dtype == np.uint8, row
        reference = rgb if kind == 'rgb' else grey
        assert np.abs(picture.astype(float) - reference).mean() <= limit, row
        # What is scaled otherwise is still the same picture: straight on, and colours in order.
        channels = zip(np.moveaxis(picture, 2, 0), np.moveaxis(reference, 2, 0), strict=True)
        assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in channels) > 0.94, row


# The number of the message: what it becomes. None is refused. 1 x 1, black and white are valid
# images: it is for the recogniser to refuse a picture without content. Stamps are not the image's
# fault. What is announced as jpeg or h264 and is a picture of another kind is read as what it is.
BROKEN_TABLE = {
    0: (242, 322),
    1: 'holds 96600 bytes; expected 233772',
    2: '0 x 0 pixels',
    3: "encoding '' is not known",
    4: "encoding 'rgb10_unknown' is not known",
    5: 'rows of 10 bytes; expected 966',
    6: 'rows of 966 bytes; expected 322',
    7: (1, 1),
    8: (242, 322),
    9: (242, 322),
    10: 'no finite value',
    11: (2, 12880),
    12: (242, 322),
    13: (242, 322),
    14: (242, 322),
    15: (242, 322),
    16: (242, 322),
    17: 'was cut before its end',
    18: '0 bytes',
    19: (242, 322),
    20: (242, 322),
    21: 'is depth, not a picture',
    22: 'are not a picture',
    23: (242, 322),
    24: (242, 322),
    25: (242, 322),
}


@pytest.mark.parametrize('index', BROKEN_TABLE)
def test_bad_messages_are_refused_and_good_ones_between_them_read(broken, index):
    expected = BROKEN_TABLE[index]
    assert len(broken) == len(BROKEN_TABLE)
    if isinstance(expected, str):
        with pytest.raises(ImageError, match=expected) as error:
            image_from_message(broken[index])
        assert '\n' not in str(error.value)
    else:
        assert image_from_message(broken[index]).shape == (*expected, 3)


def test_readable_messages_show_the_same_photograph(broken):
    good = image_from_message(broken[0]).astype(float)
    for index in (12, 13, 14, 15, 16, 19, 20, 23, 24, 25):
        assert np.abs(image_from_message(broken[index]) - good).mean() < 3, index
    assert not image_from_message(broken[8]).any()
    assert (image_from_message(broken[9]) == 255).all()


def test_contiguous_rgb8_is_a_view_that_cannot_be_written():
    message = raw('rgb8', photo())
    picture = image_from_message(message)
    assert np.shares_memory(picture, np.frombuffer(message.data, np.uint8))
    assert not picture.flags.writeable
    with_array = image_from_message(raw('rgb8', photo(), data=array('B', photo().tobytes())))
    assert not with_array.flags.writeable


def test_rclpy_messages_are_taken_as_they_are():
    messages = pytest.importorskip('sensor_msgs.msg')
    pixels = photo()
    message = messages.Image(
        height=48, width=64, encoding='bgr8', step=192, data=array('B', pixels.tobytes())
    )
    assert (image_from_message(message) == pixels[..., ::-1]).all()
    packed = messages.CompressedImage(format='png', data=cv2.imencode('.png', pixels)[1].tobytes())
    assert (image_from_message(packed) == pixels[..., ::-1]).all()


@pytest.mark.parametrize('encoding', sorted(set(ENCODINGS) - {'nv12', 'nv21'}))
def test_padding_between_rows_and_the_byte_order_do_not_matter(encoding):
    layout = ENCODINGS[encoding]
    rng = np.random.default_rng(0)
    shape = (8, 10, layout.channels) if layout.channels > 1 else (8, 10)
    pixels = rng.integers(0, 100, shape).astype(layout.dtype)
    padded = np.zeros((8, pixels.strides[0] + 24), np.uint8)
    padded[:, : pixels.strides[0]] = pixels.view(np.uint8).reshape(8, -1)
    expected = image_from_message(raw(encoding, pixels))
    assert expected.shape == (8, 10, 3)
    assert (image_from_message(raw(encoding, padded, width=10)) == expected).all()
    swapped = raw(encoding, pixels.byteswap(), is_bigendian=1)
    assert (image_from_message(swapped) == expected).all()


def test_last_row_may_lack_its_padding():
    padded = np.zeros((4, 40), np.uint8)
    message = raw('rgb8', padded, width=12, data=padded.tobytes()[:-4])
    assert image_from_message(message).shape == (4, 12, 3)


def test_range_is_stretched_only_where_the_encoding_states_none():
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert image_from_message(raw('mono16', grey)).max() == 1
    for encoding, pixels in {
        '16UC1': 29000 + grey,
        '16SC1': grey.astype(np.int16) - 500,
        '32FC1': grey.astype(np.float32) * 1e-3,
        '64FC1': grey.astype(np.float64) * 1e9,
    }.items():
        picture = image_from_message(raw(encoding, pixels))
        assert np.abs(picture[..., 0].astype(int) - grey).max() <= 1, encoding


def test_numbers_that_are_not_finite_do_not_spoil_the_others():
    pixels = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    spoilt = pixels.copy()
    spoilt[0, 0], spoilt[15, 14], spoilt[8, 8] = -np.inf, np.inf, np.nan
    picture = image_from_message(raw('32FC1', spoilt))[..., 0]
    assert (picture[0, 0], picture[15, 14], picture[8, 8]) == (0, 255, 0)
    intact = np.isfinite(spoilt)
    clean = image_from_message(raw('32FC1', pixels))[..., 0]
    assert np.abs(picture.astype(int) - clean)[intact].max() <= 1


def test_constant_values_of_no_range_are_black():
    assert not image_from_message(raw('32FC1', np.full((4, 4), 0.5, np.float32))).any()


def test_planar_yuv_needs_even_sides():
    with pytest.raises(ImageError, match='even height and width'):
        image_from_message(raw('nv12', np.zeros((9, 7), np.uint8), height=6))


@pytest.mark.parametrize(
    ('format_', 'swapped'),
    [
        ('bgr8; jpeg compressed bgr8', False),
        ('rgb8; jpeg compressed bgr8', False),
        ('rgb8; png compressed rgb8', True),
        ('rgb8; png compressed bgr8', False),
        ('png', False),
        ('', False),
    ],
)
def test_channel_order_of_compressed_images_follows_the_format(format_, swapped):
    codec = '.jpg' if 'jpeg' in format_ else '.png'
    picture = image_from_message(compressed(codec, photo(), format_))
    expected = photo() if swapped else photo()[..., ::-1]
    assert np.abs(picture.astype(int) - expected).mean() < (3 if codec == '.jpg' else 1e-9)


@pytest.mark.parametrize('encoding', ['mono8', 'bayer_rggb8', 'mono16', '16UC1'])
def test_compressed_single_channel_is_what_its_format_says(encoding):
    pixels = (photo()[..., 1].astype(np.uint16) * 200).astype(ENCODINGS[encoding].dtype)
    message = compressed('.png', pixels, f'{encoding}; png compressed ')
    assert (image_from_message(message) == image_from_message(raw(encoding, pixels))).all()


@pytest.mark.parametrize('codec', ['.jpg', '.png', '.webp'])
def test_compressed_picture_is_refused_wherever_it_is_cut(codec):
    whole = compressed(codec, photo(), codec[1:])
    assert image_from_message(whole).shape == (48, 64, 3)
    for part in np.linspace(0.02, 0.98, 25):
        cut = whole.data[: int(len(whole.data) * part)]
        with pytest.raises(ImageError):
            image_from_message(SimpleNamespace(format=whole.format, data=cut))


def declared_png(width, height):
    """A whole PNG of a few bytes that declares any size, as a damaged or hostile one may."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(bytes(64))), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('size', [(9500, 9000), (30000, 30000)])
def test_compressed_picture_that_declares_too_many_pixels_is_not_decoded(size, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('memory was asked for'))
    with pytest.raises(ImageError, match=r'png.*(80 megapixels|too large)'):
        image_from_message(SimpleNamespace(format='png', data=declared_png(*size)))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm():
    whole = compressed('.jpg', photo(), 'jpeg')
    expected = image_from_message(whole)
    whole.data += bytes(512)
    assert (image_from_message(whole) == expected).all()


def test_orientation_of_exif_is_ignored_as_cameras_are_calibrated_without_it():
    path = shared_data('nasty', 'images', 'hopper_orientation_6.jpg')
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    picture = image_from_message(SimpleNamespace(format='jpeg', data=path.read_bytes()))
    assert picture.shape == stored.shape


def test_live_node_needs_no_rosbags_for_images_keyframes_and_poses():
    code = (
        'import sys\nfrom vpr_ros.bags import images, keyframes, message_types, trajectory\n'
        'assert not {"rosbags", "rclpy"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
