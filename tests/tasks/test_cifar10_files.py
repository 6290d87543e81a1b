"""CIFAR-10's files: found, downloaded as one archive, checked; on small files of the same form."""

import gzip
import hashlib
import io
import os
import tarfile
import urllib.error

import numpy as np
import pytest

from flyweight.core.errors import TaskError
from flyweight.tasks import cifar10_files

EACH = 3


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Six files of three records each, with their own checksums; nothing of this machine is looked at."""
    generator = np.random.default_rng(0)
    files = {name: _records(generator) for name in cifar10_files.FILES}
    monkeypatch.setattr(cifar10_files, "FILES", {n: hashlib.sha256(c).hexdigest() for n, c in files.items()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FLYWEIGHT_DATA", raising=False)
    return files


def _records(generator):
    """Label, red, green, blue; no plane is like another."""
    rows = generator.integers(0, 256, (EACH, 1 + 3072), dtype=np.uint8)
    rows[:, 0] = generator.integers(0, 10, EACH)
    return rows.tobytes()


def _put(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _packed(files, folder="cifar-10-batches-bin"):
    """The archive as its author made it: in another order, and with files that nobody needs."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in reversed([("batches.meta.txt", b"airplane\n"), *files.items()]):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _answers(monkeypatch, content):
    """What is asked for from now on is answered by ``content``; the list of what was asked."""
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


def _kept(tmp_path):
    """What lies in the cache, whole or not."""
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def _right(found, files):
    """Byte by byte, with no help of numpy's."""
    assert list(found) == ["train_images", "train_labels", "test_images", "test_labels"]
    assert found["train_images"].shape == (5 * EACH, 3, 32, 32)
    assert found["test_images"].shape == (EACH, 3, 32, 32)
    *train, test = files.values()
    for part, contents in (("train", train), ("test", [test])):
        assert found[f"{part}_images"].dtype == found[f"{part}_labels"].dtype == np.uint8
        for image in range(EACH * len(contents)):
            content, start = contents[image // EACH], image % EACH * 3073
            assert found[f"{part}_labels"][image] == content[start]
            for plane, row, column in ((0, 0, 0), (0, 5, 31), (1, 31, 0), (2, 7, 9), (2, 31, 31)):
                place = start + 1 + 1024 * plane + 32 * row + column
                assert found[f"{part}_images"][image, plane, row, column] == content[place]


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-bin"])
@pytest.mark.parametrize("how", ["named", "environment", "cache"])
def test_found_where_it_is(small, tmp_path, monkeypatch, how, inner):
    folder = tmp_path / ("cache/flyweight" if how == "cache" else "data")
    _put(folder / ("cifar-10-batches-bin" if how == "cache" else inner), small)
    if how == "environment":
        monkeypatch.setenv("FLYWEIGHT_DATA", str(folder))
    asked = _answers(monkeypatch, b"")
    _right(cifar10_files.read_cifar10(folder if how == "named" else None), small)
    assert not asked


def test_the_planes_are_red_green_and_blue(small, tmp_path, monkeypatch):
    content = bytes([7]) + bytes([200]) * 1024 + bytes([100]) * 1024 + bytes([50]) * 1024
    monkeypatch.setattr(cifar10_files, "FILES", dict.fromkeys(cifar10_files.FILES, hashlib.sha256(content).hexdigest()))
    found = cifar10_files.read_cifar10(_put(tmp_path / "data", dict.fromkeys(small, content)))
    assert found["train_images"][:, :, 3, 4].tolist() == [[200, 100, 50]] * 5
    assert found["test_labels"].tolist() == [7]


def test_downloaded_once_into_the_cache(small, tmp_path, monkeypatch):
    asked = _answers(monkeypatch, _packed(small))
    _right(cifar10_files.read_cifar10(), small)
    assert asked == [cifar10_files.URL]
    assert _kept(tmp_path) == sorted(small)
    _right(cifar10_files.read_cifar10(), small)
    assert len(asked) == 1


def test_the_archive_s_own_folder_may_have_another_name(small, monkeypatch):
    _answers(monkeypatch, _packed(small, "./elsewhere/deep"))
    _right(cifar10_files.read_cifar10(), small)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_a_download_that_broke_off(small, tmp_path, monkeypatch, part):
    whole = _packed(small)
    _answers(monkeypatch, whole[: int(len(whole) * part)])
    with pytest.raises(TaskError, match=r"(cannot download|what) https.*There are three ways to have them: name a fol"):
        cifar10_files.read_cifar10()
    assert all(
        (tmp_path / "cache/flyweight/cifar-10-batches-bin" / n).read_bytes() == small[n] for n in _kept(tmp_path)
    )
    asked = _answers(monkeypatch, whole)
    _right(cifar10_files.read_cifar10(), small)
    assert len(asked) == 1


def test_what_follows_the_last_file_is_not_read(small, monkeypatch):
    _answers(monkeypatch, _packed(small)[:-40])
    _right(cifar10_files.read_cifar10(), small)


def test_an_archive_with_a_wrong_file(small, tmp_path, monkeypatch):
    _answers(monkeypatch, _packed({**small, "data_batch_3.bin": b"other"}))
    with pytest.raises(
        TaskError,
        match=r"data_batch_3\.bin in what https.* gave is not CIFAR-10's, or is damaged.*scripts/make_cifar10",
    ):
        cifar10_files.read_cifar10()
    assert "data_batch_3.bin" not in _kept(tmp_path)
    assert set(_kept(tmp_path)) <= set(small)


def test_an_archive_without_a_file(small, tmp_path, monkeypatch):
    _answers(monkeypatch, _packed({n: c for n, c in small.items() if n not in ("data_batch_2.bin", "test_batch.bin")}))
    with pytest.raises(TaskError, match=r"gave does not hold data_batch_2\.bin, test_batch\.bin\. There are three way"):
        cifar10_files.read_cifar10()
    assert len(_kept(tmp_path)) == 4


def test_a_folder_of_a_file_s_name_in_the_archive_is_no_file(small, monkeypatch):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    _answers(monkeypatch, made.getvalue())
    with pytest.raises(TaskError, match=r"does not hold data_batch_1\.bin.*test_batch\.bin"):
        cifar10_files.read_cifar10()


def _torn(packed):
    """A right head, and then bits that begin no kind of block."""
    return packed[:10] + b"\xff" * 1000


@pytest.mark.parametrize(
    "answer", [lambda p: b"", lambda p: b"<html>Sign in</html>", lambda p: gzip.compress(b"x"), _torn]
)
def test_no_archive(small, tmp_path, monkeypatch, answer):
    _answers(monkeypatch, answer(_packed(small)))
    with pytest.raises(TaskError, match=r"cannot download https.*\(.+\)\. There are three ways"):
        cifar10_files.read_cifar10()
    assert not _kept(tmp_path)


def test_no_network_tells_all_three_ways(small, tmp_path, monkeypatch):
    def fail(url, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(
        TaskError, match=r"cannot download https.*no route.*FLYWEIGHT_DATA or cifar10\(folder=…\).*make_cifar10.*170 MB"
    ):
        cifar10_files.read_cifar10()
    assert not _kept(tmp_path)


def test_a_cache_that_cannot_be_written(small, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    _answers(monkeypatch, _packed(small))
    with pytest.raises(TaskError, match=r"cannot download .*a file stands where a folder is needed"):
        cifar10_files.read_cifar10()


def test_damaged_in_a_folder_and_in_the_cache(small, tmp_path, monkeypatch):
    folder = _put(tmp_path / "data", {**small, "data_batch_5.bin": small["data_batch_5.bin"][:-1]})
    with pytest.raises(
        TaskError, match=r"data/data_batch_5\.bin is not CIFAR-10's.*should be [0-9a-f]{64}\. There are"
    ):
        cifar10_files.read_cifar10(folder)
    os.renames(folder, tmp_path / "cache/flyweight/cifar-10-batches-bin")
    with pytest.raises(TaskError, match=r"data_batch_5\.bin is not.*Delete it, and it is downloaded again"):
        cifar10_files.read_cifar10()
    (tmp_path / "cache/flyweight/cifar-10-batches-bin/data_batch_5.bin").unlink()
    _answers(monkeypatch, _packed(small))
    _right(cifar10_files.read_cifar10(), small)


def test_a_folder_that_holds_some(small, tmp_path, monkeypatch):
    folder = _put(tmp_path / "half", {n: c for n, c in small.items() if "batch_4" not in n})
    with pytest.raises(TaskError, match=r"half does not hold data_batch_4\.bin\. There are three ways"):
        cifar10_files.read_cifar10(folder)
    monkeypatch.setenv("FLYWEIGHT_DATA", str(folder))
    with pytest.raises(TaskError, match=r"half \(FLYWEIGHT_DATA=.*half\) does not hold data_batch_4\.bin"):
        cifar10_files.read_cifar10()


def test_the_checksums_are_written_out():
    assert [*cifar10_files.FILES] == [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in cifar10_files.FILES.values())
    assert len(set(cifar10_files.FILES.values())) == 6
