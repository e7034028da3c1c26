"""A download survives what servers do, and never joins two files."""

import hashlib
import shutil
import socket
import ssl
from collections import namedtuple
from urllib.error import URLError

import pytest
from bad_server import Answer, serving

from vpr_ros import download as module
from vpr_ros.download import Patience, download
from vpr_ros.errors import ConfigError, DownloadError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
OTHER = CONTENT[::-1]
HASTE = Patience(stall_s=10.0, attempts=3, pause_s=0.001)
IN_A_HURRY = Patience(stall_s=0.2, attempts=3, pause_s=0.001)  # where the server stalls


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cache' / 'weights.pth'


def fetch(server, path, *answers):
    server.answers = list(answers)
    stalls = any(answer.drips or answer.stalls_after is not None for answer in answers)
    return download([server.url()], path, patience=IN_A_HURRY if stalls else HASTE)


def assert_whole(path, content=CONTENT):
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def assert_kept(path, size):
    """Nothing under the file's name; what has come is kept for the next time."""
    assert not path.exists()
    assert path.with_name('weights.pth.part').stat().st_size == size


def test_a_good_server(server, path):
    seen = []
    found = download([server.url()], path, lambda *at: seen.append(at), HASTE)
    assert_whole(path)
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert found.address == server.url()
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert server.ranges_asked() == ['']


@pytest.mark.parametrize(
    'answer',
    [Answer(chunked=True), Answer(says_length=False), Answer(etag=None), Answer(ranges=False)],
)
def test_servers_that_say_little(server, path, answer):
    fetch(server, path, answer)
    assert_whole(path)


@pytest.mark.parametrize(
    'broken',
    [
        Answer(ends_after=HALF),
        Answer(stalls_after=HALF),
        Answer(ends_after=HALF, modified='Tue, 14 Oct 2025 08:00:00 GMT', etag=None),
        Answer(ends_after=HALF, modified='Tue, 14 Oct 2025 08:00:00 GMT', etag='W/"weak"'),
    ],
)
def test_a_download_that_breaks_off_goes_on_where_it_was(server, path, broken):
    whole = Answer(etag=broken.etag, modified=broken.modified)
    fetch(server, path, broken, whole)
    assert_whole(path)
    assert server.ranges_asked() == ['', f'bytes={HALF}-']


def test_another_run_goes_on_where_the_last_one_was(server, path):
    with pytest.raises(DownloadError, match=f'ended after {HALF} of {len(CONTENT)} bytes'):
        fetch(server, path, Answer(ends_after=HALF), Answer(status=503), Answer(ends_after=0))
    assert_kept(path, HALF)
    fetch(server, path, Answer())
    assert_whole(path)
    assert server.ranges_asked()[-1] == f'bytes={HALF}-'


def test_a_download_that_moves_on_is_never_given_up(server, path):
    step = Answer(ends_after=module.PROGRESS + 1)
    fetch(server, path, *[step] * (2 * HASTE.attempts), Answer())
    assert_whole(path)


@pytest.mark.parametrize(
    'broken',
    [
        Answer(ends_after=HALF, etag=None),
        Answer(ends_after=HALF, etag='W/"weak"'),
        Answer(ends_after=HALF, says_length=True, ranges=False),
    ],
)
def test_what_cannot_be_continued_begins_anew(server, path, broken):
    fetch(server, path, broken, Answer(etag=broken.etag, ranges=broken.ranges))
    assert_whole(path)


@pytest.mark.parametrize(
    'changed',
    [
        Answer(etag='"two"', body=OTHER),
        Answer(etag='"two"', body=OTHER, ranges=False),
        Answer(etag='"two"', body=OTHER, if_range=False),  # sends a part of the new file
        Answer(body=OTHER[:-1], if_range=False),  # the same tag for another length
        Answer(body=OTHER, etag=None, if_range=False),
    ],
)
def test_a_file_that_changes_between_attempts_is_fetched_anew(server, path, changed):
    fetch(server, path, Answer(ends_after=HALF), changed)
    assert_whole(path, changed.body)


def test_a_range_that_begins_elsewhere_is_not_joined(server, path):
    fetch(server, path, Answer(ends_after=HALF), Answer(shift=7), Answer())
    assert_whole(path)


def test_a_part_longer_than_the_file_is_dropped(server, path):
    fetch(server, path, Answer(ends_after=HALF), Answer(status=416), Answer())
    assert_whole(path)


def test_a_file_that_was_whole_when_the_run_ended_is_not_asked_for(server, path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module.Part, 'finished', lambda part: part.no_such_thing)
        with pytest.raises(AttributeError):
            fetch(server, path)
    assert_kept(path, len(CONTENT))
    fetch(server, path)
    assert_whole(path)
    assert len(server.requests) == 1


@pytest.mark.parametrize('note', ['', '{}', '[1]', '{"address": 3}', 'null'])
def test_a_damaged_note_is_not_believed(server, path, note):
    path.parent.mkdir()
    path.with_name('weights.pth.part').write_bytes(OTHER[:HALF])
    path.with_name('weights.pth.part.json').write_text(note)
    fetch(server, path)
    assert_whole(path)
    assert server.ranges_asked() == ['']


@pytest.mark.parametrize('status', [408, 429, 500, 503])
def test_errors_that_pass_are_waited_for(server, path, status):
    fetch(server, path, Answer(status=status), Answer(status=status), Answer())
    assert_whole(path)


@pytest.mark.parametrize('status', [403, 404, 410])
def test_errors_that_stay_are_reported_at_once(server, path, status):
    with pytest.raises(DownloadError, match=rf'weights.pth could not .*: {status} .*--url'):
        fetch(server, path, Answer(status=status))
    assert len(server.requests) == 1
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        (Answer(status=500), '500 Internal Server Error, 3 times'),
        (Answer(stalls_after=0), 'no data for 0.2 s, 3 times'),
        (Answer(drips=True), 'less than 1024 bytes a second for 0.2 s, 3 times'),
        (Answer(length=len(CONTENT) + 1), f'ended after {len(CONTENT)} of .* bytes'),
    ],
)
def test_patience_ends(server, path, answer, reason):
    with pytest.raises(DownloadError, match=reason) as refused:
        fetch(server, path, answer)
    assert '\n' not in str(refused.value)
    assert not path.exists()


def test_pauses_grow(server, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, 'sleep', pauses.append)
    server.answers = [Answer(status=503)]
    with pytest.raises(DownloadError):
        download([server.url()], path, patience=Patience(attempts=5, longest_pause_s=3.0))
    assert pauses == [0.5, 1.0, 2.0, 3.0]


def test_the_next_address_is_tried_and_nothing_is_joined(server, path):
    server.answers = [Answer(ends_after=HALF), Answer(status=404), Answer(body=OTHER)]
    found = download([server.url('/first'), server.url('/second')], path, patience=HASTE)
    assert_whole(path, OTHER)
    assert found.address == server.url('/second')
    assert [asked for asked, _ in server.requests] == ['/first', '/first', '/second']
    assert server.ranges_asked()[-1] == ''


def test_every_address_is_named_when_all_fail(server, path):
    server.answers = [Answer(status=404)]
    with pytest.raises(DownloadError, match='/first: 404 .*/second: 404'):
        download([server.url('/first'), server.url('/second')], path, patience=HASTE)


def test_redirects_are_followed_with_the_range(server, path):
    there = Answer(redirect=server.url('/elsewhere'))
    fetch(server, path, there, Answer(ends_after=HALF), there, Answer())
    assert_whole(path)
    assert server.requests[-1][0] == '/elsewhere'
    assert server.ranges_asked()[-1] == f'bytes={HALF}-'


def test_nobody_there(path):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        address = f'http://127.0.0.1:{closed.getsockname()[1]}/x'
    with pytest.raises(DownloadError, match='refused'):
        download([address], path, patience=HASTE)


@pytest.mark.parametrize('address', ['file:///etc/hostname', 'ftp://x/y', 'weights.pth', ''])
def test_other_addresses_are_wrong_use(path, address):
    with pytest.raises(ConfigError, match='http or https'):
        download([address], path)
    assert not path.parent.exists()


def test_a_redirect_in_a_circle_is_one_sentence(server, path):
    with pytest.raises(DownloadError, match='infinite loop') as refused:
        fetch(server, path, Answer(redirect=server.url()))
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('address', ['http://', 'http://[x/', 'http://127.0.0.1:port/'])
def test_addresses_that_are_none(path, address):
    with pytest.raises(DownloadError):
        download([address], path, patience=HASTE)


def opened(monkeypatch, result):
    def urlopen(request, timeout):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(module, 'urlopen', urlopen)


def test_a_certificate_that_is_wrong_stays_wrong(path, monkeypatch):
    opened(monkeypatch, URLError(ssl.SSLCertVerificationError('certificate expired')))
    with pytest.raises(DownloadError, match=r'certificate expired\S*; try'):
        download(['https://example.com/x'], path, patience=HASTE)


def test_an_encrypted_address_must_not_lead_to_an_open_one(path, monkeypatch):
    response = namedtuple('Response', 'url close')('http://example.com/x', lambda: None)
    opened(monkeypatch, response)
    with pytest.raises(DownloadError, match='not encrypted'):
        download(['https://example.com/x'], path, patience=HASTE)


def test_a_full_disk_is_seen_before_the_download(server, path, monkeypatch):
    usage = shutil.disk_usage(path.parent.parent)._replace(free=1000)
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda folder: usage)
    with pytest.raises(DownloadError, match='0.0 GB free, expected 0.0 GB for weights.pth'):
        fetch(server, path)
    assert not path.exists()


def test_a_disk_that_fills_up(server, path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            raise OSError(28, 'No space left on device')

    begin = module._begin

    def begin_on_full_disk(address, part, *others):
        size = begin(address, part, *others)
        part.file = Full(part.file)
        return size

    monkeypatch.setattr(module, '_begin', begin_on_full_disk)
    with pytest.raises(DownloadError, match='cannot write .*No space left'):
        fetch(server, path)
    assert len(server.requests) == 1


def test_two_at_once(server, path):
    path.parent.mkdir()
    part = module.Part(path, print)
    with part.opened(), pytest.raises(DownloadError, match='another process is fetching'):
        fetch(server, path)


def test_ctrl_c_keeps_what_has_come(server, path):
    def stop(done, total):
        if done >= HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download([server.url()], path, stop, HASTE)
    size = path.with_name('weights.pth.part').stat().st_size
    assert size >= HALF
    fetch(server, path)
    assert_whole(path)
    assert server.ranges_asked() == ['', f'bytes={size}-'] or size == len(CONTENT)
