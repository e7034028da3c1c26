"""Published weights are fetched, compared, converted and found; what was there is never lost."""

import hashlib
from dataclasses import replace

import pytest
import torch
from bad_server import Answer, serving
from released_files import TINY, container, dinov2, fol, sage, tensors

from vpr_ros.download import Patience
from vpr_ros.errors import CheckpointError, ConfigError, DownloadError
from vpr_ros.models import build_model, load_backbone, read_header, save_checkpoint
from vpr_ros.models.registry import MODELS, TEST_VIT, find_weights, untrained_model
from vpr_ros.models.weights.fetch import Wish, fetch
from vpr_ros.models.weights.published import PUBLISHED, Published, cache_folder, fetched_weights

HASTE = Patience(stall_s=10.0, attempts=2, pause_s=0.001)


def saved(content, path):
    torch.save(content, path)
    return path.read_bytes()


@pytest.fixture
def files(tmp_path):
    """Bytes of released files of our test models."""
    path = tmp_path / 'x.pth'
    made = {
        'sage_test': saved(container(tensors(sage(TINY))), path),
        'folpp_test': saved(container(tensors(fol(TINY))), path),
        'dinov2_test': saved(tensors(dinov2(TINY)), path),
    }
    path.unlink()
    return made


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    """A server of the released sage_test, and names under which all three are published."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr('vpr_ros.models.weights.convert.BACKBONES', {32: TEST_VIT})
    with serving(files['sage_test']) as server:
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            model = name if name in MODELS else ''
            places = (server.url('/one/{}'), server.url('/two/{}'))
            entry = Published(f'{name}.pth', places, 'Any-1.0', 'a test', model, digest)
            monkeypatch.setitem(PUBLISHED, name, entry)
        yield server


def fetched(name='sage_test', **wishes):
    return fetch(Wish(name, **wishes), patience=HASTE)


def cached():
    return sorted(str(p.relative_to(cache_folder())) for p in cache_folder().rglob('*.*'))


def test_fetched_weights_are_found_by_name(server, files):
    assert find_weights('sage_test') is None
    found = fetched()
    assert found.path == fetched_weights('sage_test') == find_weights('sage_test')
    assert not found.differs and not found.was_there
    model = build_model('sage_test', 'cpu')
    assert model.fingerprint == found.file.fingerprint
    source = read_header(found.path).provenance['source']
    assert source == {
        'address': server.url('/one/sage_test.pth'),
        'file': 'sage_test.pth',
        'layout': 'SAGE',
        'licence': 'Any-1.0',
        'sha256': hashlib.sha256(files['sage_test']).hexdigest(),
    }
    assert cached() == ['sage_test.safetensors']


def test_bundled_and_given_weights_come_first(server, tiny_weights):
    fetched()
    assert build_model('sage_test', 'cpu', tiny_weights).fingerprint == (
        read_header(tiny_weights).fingerprint
    )
    cache_folder().joinpath('sage_nano.safetensors').write_bytes(b'')
    assert find_weights('sage_nano').parent.name == 'resource'


def test_fol_for_folpp(server, files):
    server.content = files['folpp_test']
    found = fetched('folpp_test')
    assert 'no reliability branch' in found.file.provenance['source']['reliability']
    assert not any(
        k.startswith('reb.') for k in build_model('folpp_test', 'cpu').network.state_dict()
    )


def test_a_backbone(server, files):
    server.content = files['dinov2_test']
    found = fetched('dinov2_test')
    assert found.file.kind == 'DINOv2 (torch.hub)'
    assert found.file.provenance['source']['licence'] == 'Any-1.0'
    load_backbone(untrained_model('sage_test'), found.path)


def test_what_is_there_is_not_fetched_again(server):
    fetched()
    assert fetched().was_there
    assert fetched(verify=True).was_there
    assert len(server.requests) == 1
    assert not fetched(again=True).was_there
    assert len(server.requests) == 2
    with pytest.raises(DownloadError, match='expected 1234'):
        fetched(sha256='1234')
    assert find_weights('sage_test')


def test_another_file_than_recorded_is_taken_and_told(server, files):
    server.content = saved(
        container(tensors(sage(TINY), seed=9)), cache_folder().parent.parent / 'y'
    )
    found = fetched()
    assert found.differs
    assert found.found == found.file.provenance['source']['sha256'] != found.recorded
    assert fetched().differs  # and told the next time, too


@pytest.mark.parametrize('insist', [{'verify': True}, {'sha256': 'AB' * 32}])
def test_another_file_is_refused_on_demand_and_nothing_is_lost(server, files, insist):
    before = fetched().path.read_bytes()
    server.content = saved(
        container(tensors(sage(TINY), seed=9)), cache_folder().parent.parent / 'y'
    )
    with pytest.raises(
        DownloadError, match='has SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}'
    ) as e:
        fetched(again=True, **insist)
    assert '\n' not in str(e.value)
    assert fetched_weights('sage_test').read_bytes() == before
    assert cached() == ['downloads/sage_test.pth', 'sage_test.safetensors']


def test_a_refused_file_is_at_hand_for_whoever_trusts_it(server):
    with pytest.raises(DownloadError):
        fetched(sha256='AB' * 32)
    fetched()
    assert len(server.requests) == 1
    assert cached() == ['sage_test.safetensors']


def test_insisting_needs_something_to_insist_on(server, monkeypatch):
    monkeypatch.setitem(PUBLISHED, 'sage_test', replace(PUBLISHED['sage_test'], sha256=''))
    with pytest.raises(ConfigError, match='no SHA-256 of sage_test.pth is on record: .*--sha256'):
        fetched(verify=True)
    assert server.requests == []
    assert not fetched().differs


@pytest.mark.parametrize(
    'body',
    [b'<html>sign in first</html>', b'', b'PK\x03\x04 no archive'],
)
def test_wrong_bytes_are_refused_and_nothing_is_lost(server, body):
    before = fetched().path.read_bytes()
    server.answers = [Answer(body=body)]
    with pytest.raises(CheckpointError, match='sage_test.pth is .*--again') as refused:
        fetched(again=True)
    assert '\n' not in str(refused.value)
    assert fetched_weights('sage_test').read_bytes() == before


def test_a_server_that_claims_too_short_a_file(server, files):
    server.answers = [Answer(length=len(files['sage_test']) - 100)]
    with pytest.raises(CheckpointError, match='damaged'):
        fetched()
    assert find_weights('sage_test') is None
    server.answers = []
    fetched(again=True)


def test_a_model_of_another_kind_is_refused(server, files):
    server.content = files['folpp_test']
    with pytest.raises(CheckpointError, match='FoL of width 32, expected sage_test'):
        fetched()
    assert find_weights('sage_test') is None


def test_a_download_is_continued_by_the_next_call(server, files):
    half = len(files['sage_test']) // 2
    server.answers = [Answer(ends_after=half), Answer(status=503)]
    with pytest.raises(DownloadError, match='503'):
        fetched()
    assert (cache_folder() / 'downloads/sage_test.pth.part').stat().st_size == half
    server.answers = []
    fetched()
    assert find_weights('sage_test')
    assert server.requests[-1][1]['range'] == f'bytes={half}-'


def test_another_address_and_folder(server, tmp_path):
    found = fetched(url=server.url('/mirror?key=secret'), folder=tmp_path / 'mine')
    assert found.path == tmp_path / 'mine' / 'sage_test.safetensors'
    assert server.requests[0][0] == '/mirror?key=secret'
    assert b'secret' not in found.path.read_bytes()
    assert find_weights('sage_test') is None


def test_an_unknown_name():
    with pytest.raises(ConfigError, match="published as 'resnet': expected one of sage_vitb"):
        fetch(Wish('resnet'))


@pytest.mark.parametrize('name', list(PUBLISHED))
def test_the_table(name):
    entry = PUBLISHED[name]
    assert all(a.startswith('https://') and a.endswith(entry.file) for a in entry.addresses)
    assert entry.model in ('', name) and (not entry.model or entry.model in MODELS)
    assert len(entry.sha256) in (0, 64)
    assert entry.licence in ('MIT', 'Apache-2.0')


@pytest.mark.parametrize('given', ['', 'relative/folder'])
def test_the_cache_is_where_it_should_be(given, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', given)
    assert cache_folder() == tmp_path / '.cache' / 'vpr_ros'


def test_a_model_without_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with torch.device('meta'):
        published = build_model('sage_vitb', 'cpu')
    with pytest.raises(CheckpointError, match='`vpr weights fetch sage_vitb`, or give'):
        published.require_weights()
    with pytest.raises(CheckpointError, match='sage_test has no weights yet: give'):
        build_model('sage_test', 'cpu').require_weights()


def test_a_wrong_file_in_the_cache_is_refused(server):
    path = fetched().path
    save_checkpoint(untrained_model('fol_test'), path)
    with pytest.raises(CheckpointError, match='weights of fol_test, expected sage_test'):
        build_model('sage_test', 'cpu')
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(CheckpointError, match='not a safetensors file.*--again'):
        fetched()
    assert fetched(again=True).path == path
    assert build_model('sage_test', 'cpu').fingerprint
