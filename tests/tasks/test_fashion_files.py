import gzip
import hashlib
import http.client
import io
import urllib.error

import numpy as np
import pytest

from flyweight.core.errors import TaskError
from flyweight.tasks import fashion_files


def _idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Four small files of the same form, with their own checksums; nothing of this machine is looked at."""
    arrays = {
        "train_images": np.arange(6 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(6, 28, 28),
        "train_labels": np.arange(6, dtype=np.uint8),
        "test_images": np.ones((2, 28, 28), np.uint8),
        "test_labels": np.array([9, 8], np.uint8),
    }
    names = {part: fashion_files.FILES[part][0] for part in arrays}
    digests = {part: hashlib.sha256(_idx(a)).hexdigest() for part, a in arrays.items()}
    monkeypatch.setattr(fashion_files, "FILES", {part: (names[part], digests[part]) for part in arrays})
    monkeypatch.setattr(fashion_files, "DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FLYWEIGHT_DATA", raising=False)
    packed = {names[part]: gzip.compress(_idx(a)) for part, a in arrays.items()}
    return arrays, packed


def _put(folder, packed):
    folder.mkdir(parents=True)
    for name, data in packed.items():
        (folder / name).write_bytes(data)
    return folder


def _same(found, arrays):
    assert found.keys() == arrays.keys()
    for part, array in arrays.items():
        np.testing.assert_array_equal(found[part], array)


def test_found_in_debian_s_place_in_the_environment_s_and_in_the_argument_s(small, tmp_path, monkeypatch):
    arrays, packed = small
    _put(tmp_path / "debian", packed)
    _same(fashion_files.read_fashion(), arrays)
    monkeypatch.setattr(fashion_files, "DEBIAN", tmp_path / "none")
    named = _put(tmp_path / "named", packed)
    _same(fashion_files.read_fashion(named), arrays)
    monkeypatch.setenv("FLYWEIGHT_DATA", str(named))
    _same(fashion_files.read_fashion(), arrays)


def test_downloaded_once_into_the_cache(small, tmp_path, monkeypatch):
    arrays, packed = small
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return io.BytesIO(packed[url.rsplit("/", 1)[1]])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    _same(fashion_files.read_fashion(), arrays)
    assert len(asked) == 4
    _same(fashion_files.read_fashion(), arrays)
    assert len(asked) == 4
    assert sorted(p.name for p in (tmp_path / "cache/flyweight/fashion-mnist").iterdir()) == sorted(packed)


@pytest.mark.parametrize("broke", [TimeoutError("timed out"), http.client.IncompleteRead(b"ab", 3)])
def test_a_download_that_broke_off_goes_on(small, monkeypatch, broke):
    arrays, packed = small
    asked = []

    def answer(url, timeout):
        asked.append(url)
        if len(asked) == 3:
            raise broke
        return io.BytesIO(packed[url.rsplit("/", 1)[1]])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    with pytest.raises(TaskError, match=r"cannot download .*(timed out|2 bytes read, 3 more expected)"):
        fashion_files.read_fashion()
    _same(fashion_files.read_fashion(), arrays)
    assert len(asked) == 5


def test_no_network_tells_all_three_ways(small, monkeypatch):
    def fail(url, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(
        TaskError, match=r"cannot download https.*no route.*dataset-fashion-mnist.*FLYWEIGHT_DATA.*31 MB"
    ):
        fashion_files.read_fashion()


def test_a_wrong_download_leaves_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(gzip.compress(b"x")))
    with pytest.raises(TaskError, match=r"what https.* gave is not Fashion-MNIST's"):
        fashion_files.read_fashion()
    assert not list((tmp_path / "cache").rglob("*.gz"))


def test_other_data_under_the_same_names(small, tmp_path):
    _, packed = small
    folder = _put(tmp_path / "mnist", packed)
    name = fashion_files.FILES["test_labels"][0]
    (folder / name).write_bytes(gzip.compress(b"other"))
    with pytest.raises(TaskError, match=r"MNIST has files of the same names.*SHA-256 of its content is d9298a10"):
        fashion_files.read_fashion(folder)
    (folder / name).write_bytes(packed[name][:-12])
    with pytest.raises(TaskError, match="cannot be unpacked"):
        fashion_files.read_fashion(folder)


def test_a_folder_that_holds_some(small, tmp_path):
    _, packed = small
    folder = _put(tmp_path / "half", packed)
    (folder / fashion_files.FILES["test_labels"][0]).unlink()
    with pytest.raises(TaskError, match=r"does not hold t10k-labels-idx1-ubyte\.gz\. There are three ways"):
        fashion_files.read_fashion(folder)
