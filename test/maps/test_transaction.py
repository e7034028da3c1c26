"""Places of a live map outlive a disk that was full for a while."""

import numpy as np
import pytest
from small_maps import FINGERPRINT, full_disk, local_features, new_map, unit_rows

from vpr_ros.errors import MapWriteError
from vpr_ros.maps.place_map import PlaceMap
from vpr_ros.records import Place

BIG = bytes(30_000)  # a thumbnail that does not fit


def add(place_map, i):
    place = Place(0, 1, (1000 + i) * 10**9, None, 'front')
    return place_map.add(place, unit_rows(1, seed=100 + i)[0], BIG, local_features(i))


def test_what_did_not_fit_is_written_when_there_is_room(tmp_path):
    path = tmp_path / 'a.vprmap'
    with new_map(path) as place_map:
        place_map.commit()
        added = []
        with full_disk(path.with_name('a.vprmap-wal').stat().st_size):
            for i in range(3):
                added.append(add(place_map, i))
                with pytest.raises(MapWriteError, match='cannot write to .*a.vprmap'):
                    place_map.commit()
            assert place_map.info.revision == 1
            found = place_map.search(unit_rows(1, seed=101)[0], 1)[0]
            assert found.place == added[1]
        added.append(add(place_map, 3))
        assert [place.id for place in added] == [13, 14, 15, 16]
        place_map.commit()
        assert place_map.info.revision == 2
        assert place_map.thumbnail(added[0].id) == BIG
    with PlaceMap.open(path, FINGERPRINT) as again:
        assert again.places[12:] == added
        np.testing.assert_array_equal(again.local_features([14])[1], [True])


def test_nothing_is_written_twice(tmp_path):
    path = tmp_path / 'a.vprmap'
    with new_map(path) as place_map:
        place_map.commit()
        add(place_map, 0)
        place_map.commit()
        add(place_map, 1)
    with PlaceMap.open(path, FINGERPRINT) as again:
        assert len(again) == 14
        assert again.info.revision == 3


def test_more_than_is_kept_is_lost_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr('vpr_ros.maps.transaction.LOG_BYTES', 50_000)
    path = tmp_path / 'a.vprmap'
    place_map = new_map(path)
    place_map.commit()
    with full_disk(path.with_name('a.vprmap-wal').stat().st_size):
        for i in range(3):
            add(place_map, i)
        with pytest.raises(MapWriteError, match='cannot write'):
            place_map.commit()
    for _ in range(2):
        with pytest.raises(MapWriteError, match='since the last commit is lost'):
            place_map.commit()
    with pytest.raises(MapWriteError, match='since the last commit is lost'):
        add(place_map, 4)
    with pytest.raises(MapWriteError, match='since the last commit is lost'):
        place_map.close()
    place_map.close()  # once is enough
    with PlaceMap.open(path, FINGERPRINT) as again:
        assert len(again) == 12
