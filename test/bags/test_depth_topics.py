"""Recorded depth: decoded, found beside its camera, and paired with images; faults in words."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from made_bags import (
    START_NS,
    STORE,
    STORE1,
    header,
    image,
    message,
    pictures,
    write_bag,
    write_bag1,
)

from vpr_ros.bags import depth as depth_module
from vpr_ros.bags.depth import RecordedDepth, depth_topic
from vpr_ros.bags.depth_images import depth_from_message, is_depth, nearest
from vpr_ros.bags.reader import open_bag
from vpr_ros.errors import BagError, ImageError

COLOUR, ALIGNED = '/front/color/image_raw', '/front/aligned_depth_to_color/image_raw'
STEP_NS = 100_000_000
PNG16, PNG32 = '16UC1; compressedDepth png', '32FC1; compressedDepth png'


def compressed(pixels, format_, stamp_ns=START_NS, scale=0.0, offset=0.0, frame='camera'):
    """A CompressedImage as compressed_depth_image_transport makes it."""
    png = cv2.imencode('.png', pixels)[1].tobytes()
    data = np.frombuffer(struct.pack('<iff', 0, scale, offset) + png, np.uint8)
    return message('sensor_msgs/msg/CompressedImage', header(stamp_ns, frame), format_, data)


def millimetres(value, stamp_ns=START_NS, frame='camera', store=STORE):
    depth = image(np.full((6, 8), value, np.uint16), stamp_ns, '16UC1', store)
    depth.header.frame_id = frame
    return depth


def colour(stamp_ns=START_NS):
    return image(pictures(1)[0], stamp_ns)


def test_compressed_depth_in_millimetres():
    pixels = np.array([[0, 500], [1250, 60000]], np.uint16)
    for format_ in (PNG16, '16UC1; compressedDepth', 'mono16; compressedDepth png'):
        metres = depth_from_message(compressed(pixels, format_))
        assert metres.dtype == np.float32
        np.testing.assert_allclose(metres, [[0, 0.5], [1.25, 60.0]], rtol=1e-6)


def test_compressed_floats_are_inverse_depth_in_steps():
    """As the transport quantises: precision q at 10 m gives a = q (q + 1), b = 1 - a / 10."""
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    depth = np.array([[0.5, 1.0], [2.0, 9.0]])
    stored = np.rint(a / depth + b).astype(np.uint16)
    stored[0, 0] = 0  # not known
    metres = depth_from_message(compressed(stored, PNG32, scale=a, offset=b))
    assert metres[0, 0] == 0.0
    np.testing.assert_allclose(metres.ravel()[1:], depth.ravel()[1:], rtol=5e-3)


@pytest.mark.parametrize('store', [STORE, STORE1])
def test_raw_depth_of_both_generations_of_ros(store):
    found = depth_from_message(millimetres(1500, store=store))
    np.testing.assert_allclose(found, np.full((6, 8), 1.5), rtol=1e-6)
    floats = image(np.array([[np.nan, 2.5], [np.inf, 0.0]], np.float32), encoding='32FC1')
    np.testing.assert_array_equal(depth_from_message(floats), [[0.0, 2.5], [0.0, 0.0]])


CUT = millimetres(1)
CUT.data = CUT.data[:7]
NO_DEPTH = {
    'a picture': (colour(), "'rgb8' is no depth"),
    'cut': (CUT, 'cut'),
    'a compressed picture': (compressed(pictures(1)[0], 'jpeg'), "'jpeg' is no depth"),
    'rvl': (compressed(np.ones((4, 4), np.uint16), '16UC1; compressedDepth rvl'), 'rvl'),
    'eight bits': (compressed(np.ones((4, 4), np.uint8), PNG16), 'no depth image that is whole'),
    'no header': (
        message('sensor_msgs/msg/CompressedImage', header(0), PNG32, np.zeros(3, np.uint8)),
        'no depth image that is whole',
    ),
}


@pytest.mark.parametrize('case', NO_DEPTH)
def test_what_is_no_depth_is_refused_in_a_sentence(case):
    given, words = NO_DEPTH[case]
    with pytest.raises(ImageError, match=words) as caught:
        depth_from_message(given)
    assert '\n' not in str(caught.value)
    assert 'expected' in str(caught.value)


def test_a_grey_picture_of_16_bits_is_not_taken_for_depth_unasked():
    assert is_depth(millimetres(1))
    assert is_depth(compressed(np.ones((4, 4), np.uint16), PNG16))
    assert not is_depth(image(np.ones((4, 4), np.uint16), encoding='mono16'))
    assert not is_depth(colour())


def test_the_nearest_within_the_gap_is_the_pair():
    stamps = [0, 100, 200]
    assert nearest(stamps, 149, 60e-9) == 1
    assert nearest(stamps, 151, 60e-9) == 2
    assert nearest(stamps, 261, 60e-9) is None
    assert nearest([], 0, 1.0) is None


def bag_of(tmp_path, topics):
    written = [(COLOUR, START_NS, colour()), *((x, START_NS, y) for x, y in topics.items())]
    return open_bag(write_bag(tmp_path / 'bag', written))


@pytest.mark.parametrize(
    ('topics', 'found'),
    [
        ({ALIGNED: millimetres(1)}, ALIGNED),
        # In the frame of its own lens it is of another view.
        ({'/front/depth/image_rect_raw': millimetres(1, frame='infrared')}, None),
        ({'/front/depth/image_rect_raw': millimetres(1, frame='infrared'),
          ALIGNED: millimetres(1)}, ALIGNED),
        ({'/rear/depth/image': millimetres(1, frame='rear')}, None),
        ({'/front/color/depth': millimetres(1), ALIGNED: millimetres(1)}, '/front/color/depth'),
        ({'/depth': millimetres(1)}, '/depth'),
        ({'/front/depth/compressedDepth': compressed(np.ones((4, 4), np.uint16), PNG16)},
         '/front/depth/compressedDepth'),
        ({'/front/depth/coloured': colour()}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_depth_is_found_beside_the_camera_in_its_frame(tmp_path, topics, found):
    with bag_of(tmp_path, topics) as bag:
        assert depth_topic(bag, COLOUR) == found


def test_a_topic_that_is_named_is_taken_whatever_its_frame(tmp_path):
    with bag_of(tmp_path, {'/other': millimetres(1, frame='infrared')}) as bag:
        assert depth_topic(bag, COLOUR, '/other') == '/other'


@pytest.mark.parametrize(
    ('topic', 'words'),
    [
        (COLOUR, 'gives no depth images: .*rgb8'),
        ('/pose', 'gives no depth images: it carries'),
        ('/nothing', 'has no topic'),
    ],
)
def test_a_named_topic_without_depth_is_an_error(tmp_path, topic, words):
    empty = message('std_msgs/msg/String', '')
    with bag_of(tmp_path, {'/pose': empty}) as bag, pytest.raises(BagError, match=words):
        depth_topic(bag, COLOUR, topic)


def depths(path, gap_s=0.02):
    """Depth of the corner of every image, None where it has none, and what was lost."""
    with open_bag(path) as bag:
        recorded = RecordedDepth(bag, ALIGNED, gap_s)
        found = [recorded.at(frame) for frame in bag.frames(COLOUR)]
        return [None if x is None else round(float(x[0, 0]), 3) for x in found], recorded.losses()


@pytest.mark.parametrize('late_ns', [0, 300_000_000, -300_000_000])
@pytest.mark.parametrize('ros', [1, 2])
def test_every_image_gets_its_own_depth_however_late_it_was_recorded(tmp_path, late_ns, ros):
    written = []
    for k in range(20):
        stamp = START_NS + k * STEP_NS
        store = STORE1 if ros == 1 else STORE
        picture = image(pictures(1)[0], stamp, store=store)
        written.append((COLOUR, stamp + 500_000_000, picture))
        if k != 7:
            depth = millimetres(1000 + k, stamp + 1_000_000, store=store)
            written.append((ALIGNED, stamp + 500_000_000 + late_ns, depth))
    written.sort(key=lambda x: x[1])
    path = write_bag(tmp_path / 'bag', written) if ros == 2 else write_bag1(
        tmp_path / 'a.bag', written
    )  # fmt: skip
    found, losses = depths(path)
    assert found == [None if k == 7 else 1 + k / 1000 for k in range(20)]
    assert losses == ()


def test_a_recording_whose_clock_goes_back_keeps_its_pairs(tmp_path):
    written = []
    for k in range(20):
        stamp, recorded = START_NS + k % 10 * STEP_NS, START_NS + k * STEP_NS
        written += [(ALIGNED, recorded, millimetres(1000 + k, stamp)),
                    (COLOUR, recorded, colour(stamp))]  # fmt: skip
    found, _ = depths(write_bag(tmp_path / 'bag', written))
    assert found == [1 + k / 1000 for k in range(20)]


def test_little_is_kept_in_memory(tmp_path, monkeypatch):
    written = [(ALIGNED, START_NS + k * STEP_NS, millimetres(1, START_NS + k * STEP_NS))
               for k in range(100)]  # fmt: skip
    written += [(COLOUR, START_NS + k * STEP_NS, colour(START_NS + k * STEP_NS))
                for k in (2, 50, 90)]  # fmt: skip
    path, kept = write_bag(tmp_path / 'bag', sorted(written, key=lambda x: x[1])), []
    with open_bag(path) as bag:
        recorded = RecordedDepth(bag, ALIGNED, 0.02)
        for frame in bag.frames(COLOUR):
            assert recorded.at(frame) is not None
            kept.append(len(recorded._kept))
    assert max(kept) <= 2 * depth_module.LATE_S * 1e9 / STEP_NS + 2


def test_depth_that_never_fits_and_damaged_depth_are_told(tmp_path):
    late = [(COLOUR, START_NS, colour()), (ALIGNED, START_NS, millimetres(1, START_NS + STEP_NS))]
    found, losses = depths(write_bag(tmp_path / 'late', late))
    assert found == [None]
    assert len(losses) == 1
    assert 'expected depth within 0.02 s of an image, found none' in losses[0]
    cut = [(COLOUR, START_NS, colour()), (ALIGNED, START_NS, CUT)]
    found, losses = depths(write_bag(tmp_path / 'cut', cut))
    assert found == [None]
    assert losses == (
        f'{ALIGNED}: 16UC1 image holds 7 bytes; expected 96, so the message was cut',
    )
