"""Every odd image file has one decision: its pixels, or one sentence."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from vpr_ros.errors import ImageError
from vpr_ros.imagefile import MAX_MEGAPIXELS, read_image

READ = {
    '16bit.cropped.tif': (64, 64),
    'exif_Landscape_6.jpg': (1200, 1800),  # stored upright as 1800 x 1200
    'exif_Portrait_3.jpg': (1800, 1200),
    'hopper.webp': (128, 128),
    'hopper_16bit.pgm': (128, 128),
    'hopper_gray.jpg': (128, 128),
    'hopper_orientation_6.jpg': (128, 128),
    'junk_jpeg_header.jpg': (768, 1024),  # bytes between markers, but whole
    'made_13x13_not_multiple_of_14.png': (13, 13),
    'made_1x1.png': (1, 1),
    'made_gray16.png': (224, 320),
    'made_pano_4096x512.jpg': (512, 4096),
    'made_progressive.jpg': (896, 1280),
    'made_strip_1200x4.png': (1200, 4),
    'made_strip_4x1200.png': (4, 1200),
    'palette_negative.png': (128, 128),
    'pil123rgba.png': (150, 162),
}
REFUSED = {
    'broken.png': 'header',
    'broken_data_stream.png': 'cannot be read',
    'decompression_bomb.gif': 'exceeds limit',
    'made_cut_half.jpg': 'truncated',
    'made_text.jpg': 'not an image',
    'made_zero_bytes.jpg': 'not an image',
    'negative_size.ppm': 'not an image',
}


def png(height: int, width: int) -> bytes:
    """The head of a PNG of this size, and nothing after it."""
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + b'IHDR' + head + struct.pack('>I', zlib.crc32(b'IHDR' + head))
    return b'\x89PNG\r\n\x1a\n' + chunk + struct.pack('>I', 0) + b'IDAT'


def test_the_table_names_every_file_of_the_folder():
    assert {*READ, *REFUSED} == set(os.listdir(shared_data('nasty', 'images')))


@pytest.mark.parametrize(('name', 'size'), READ.items())
def test_odd_but_whole_images_are_read_as_opencv_reads_them(name, size):
    path = shared_data('nasty', 'images', name)
    image = read_image(path)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    difference = image[:, :, ::-1].astype(int) - cv2.imread(str(path))
    assert np.abs(difference).max() <= 1  # 16 bit: rounded here, cut off there


@pytest.mark.parametrize(('name', 'word'), REFUSED.items())
def test_damaged_images_are_refused_in_one_sentence(name, word):
    with pytest.raises(ImageError, match=word) as caught:
        read_image(shared_data('nasty', 'images', name))
    assert name in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r'nothing\.jpg.*No such file'):
        read_image(tmp_path / 'nothing.jpg')
    with pytest.raises(ImageError, match='directory'):
        read_image(tmp_path)


def test_a_picture_above_the_limit_is_refused_from_its_header(tmp_path):
    path = tmp_path / 'huge.png'
    path.write_bytes(png(9000, 9000))
    with pytest.raises(ImageError, match=f'9000 x 9000.*{MAX_MEGAPIXELS} megapixels'):
        read_image(path)


def test_sixteen_bits_are_divided_and_never_stretched(tmp_path):
    grey = np.array([[0, 257, 300], [1000, 65535, 32768]], np.uint16)
    Image.fromarray(grey).save(tmp_path / 'a.png')
    expected = [[0, 1, 1], [4, 255, 128]]
    assert read_image(tmp_path / 'a.png')[:, :, 0].tolist() == expected


@pytest.mark.parametrize('dtype', [np.float32, np.int32])
def test_pixels_without_a_fixed_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / 'a.tif')
    with pytest.raises(ImageError, match='32-bit'):
        read_image(tmp_path / 'a.tif')


def test_alpha_is_dropped_and_the_array_may_be_written(tmp_path):
    pixels = np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    image = read_image(tmp_path / 'a.png')
    assert image[0, 0].tolist() == [200, 100, 50]
    image[0, 0] = 0


@pytest.mark.filterwarnings('ignore:.*:UserWarning')  # Pillow's remarks on damaged tags
def test_damage_anywhere_is_read_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    whole = {}
    for suffix in ('jpg', 'png', 'gif', 'tif', 'webp', 'ppm'):
        noise = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f'a.{suffix}')
        whole[suffix] = (tmp_path / f'a.{suffix}').read_bytes()
    refused = 0
    for turn in range(240):
        suffix = list(whole)[turn % len(whole)]
        data = bytearray(whole[suffix])
        if turn % 4 == 0:
            data = data[: rng.integers(len(data))]
        for place in rng.integers(min(len(data) or 1, 300), size=5):
            data[place : place + 1] = bytes([rng.integers(256)])
        path = tmp_path / f'b.{suffix}'
        path.write_bytes(data)
        try:
            assert read_image(path).shape[2] == 3
        except ImageError:
            refused += 1
    assert refused > 40
