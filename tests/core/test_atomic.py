"""Files are whole or as they were; the errors say what to do."""

import errno

import pytest

from flyweight.core.atomic import atomic_path, read_json, write_json, write_text
from flyweight.core.errors import StoreError


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_half_way():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "not writable"),
        (errno.ENOTDIR, "a file stands"),
        (errno.EIO, "Check the path"),
    ],
)
def test_what_the_system_says_is_explained(tmp_path, monkeypatch, number, says):
    def fail(*args, **kwargs):
        raise OSError(number, "no")

    path = tmp_path / "a.txt"
    write_text(path, "old")
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StoreError, match=says):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_json_is_strict_and_a_damaged_file_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    (tmp_path / "a.json").write_text('{"x": [1, ')
    with pytest.raises(StoreError, match=r"a\.json cannot be read"):
        read_json(tmp_path / "a.json")
