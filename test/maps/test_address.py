"""Every way to name a map, and the sentence for what is none."""

from pathlib import Path

import pytest

from vpr_ros.errors import MapAddressError
from vpr_ros.maps.address import map_path


def share(package):
    if package != 'my_robot':
        raise MapAddressError(f'no package {package!r}')
    return Path('/opt/share/my_robot')


@pytest.mark.parametrize(
    ('url', 'path'),
    [
        ('/maps/a.vprmap', '/maps/a.vprmap'),
        ('maps/a.vprmap', 'maps/a.vprmap'),
        ('a%20b.vprmap', 'a%20b.vprmap'),
        ('C:a.vprmap', 'C:a.vprmap'),
        ('file:///maps/a%20b%C3%A9%23.vprmap', '/maps/a bé#.vprmap'),
        ('FILE://LocalHost/maps/a.vprmap', '/maps/a.vprmap'),
        ('file:/maps/a.vprmap', '/maps/a.vprmap'),
        ('file:///~/a.vprmap', '/~/a.vprmap'),
        ('package://my_robot/maps/a%20b.vprmap', '/opt/share/my_robot/maps/a b.vprmap'),
        ('package://my_robot//maps/a.vprmap', '/opt/share/my_robot/maps/a.vprmap'),
    ],
)
def test_what_is_understood(url, path):
    assert map_path(url, share) == Path(path)


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert map_path('~/a.vprmap') == tmp_path / 'a.vprmap'


def test_an_address_of_ours_comes_back(tmp_path):
    path = tmp_path / 'with space, ü and 100%.vprmap'
    assert map_path(path.as_uri()) == path


@pytest.mark.parametrize(
    ('url', 'sentence'),
    [
        ('', 'no map is named'),
        ('/', 'cannot be the name of a file'),
        ('a\0b', 'cannot be the name of a file'),
        ('file:///a%00b', 'cannot be the name of a file'),
        ('file://', 'cannot find a map|cannot be the name'),
        ('file:///', 'cannot be the name of a file'),
        ('file://robot7/maps/a.vprmap', 'expected a path, file:///PATH or package://PACKAGE/PATH'),
        ('https://example.org/a.vprmap', 'expected a path, file:///PATH'),
        ('package://my_robot', 'expected a path'),
        ('package:///maps/a.vprmap', 'expected a path'),
        ('package://none/maps/a.vprmap', "no package 'none'"),
        ('~nobody-of-this-name/a.vprmap', 'home of a user who is not known'),
    ],
)
def test_what_is_refused(url, sentence):
    with pytest.raises(MapAddressError, match=sentence):
        map_path(url, share)


def test_packages_are_known_to_the_node_alone():
    with pytest.raises(MapAddressError, match='expected a path, file:///PATH on this machine'):
        map_path('package://my_robot/maps/a.vprmap')
