"""Where the files of a published data set are looked for, and what is said where they cannot be had."""

import hashlib
import http.client
import io
import urllib.error

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flyweight.core.errors import StoreError, TaskError
from flyweight.tasks.published import Published

SET = Published("Tiny-2", "tiny-2", "Ask the author.", "Tiny-1 has files of the same names")
FILES = ("a.bin", "b.bin")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing of this machine is looked at."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FLYWEIGHT_DATA", raising=False)


def _put(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).write_bytes(b"x")
    return folder


def _answer(monkeypatch, content):
    def urlopen(url, timeout):
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)


@pytest.mark.parametrize("inner", [".", "tiny-2"])
@pytest.mark.parametrize("how", ["named", "text", "environment"])
def test_a_folder_that_is_given_or_the_one_of_the_set_s_name_in_it(tmp_path, monkeypatch, how, inner):
    _put(tmp_path / "cache/flyweight/tiny-2")  # what is given goes first
    wanted = _put(tmp_path / "data" / inner)
    named = {"named": tmp_path / "data", "text": str(tmp_path / "data"), "environment": None}[how]
    if how == "environment":
        monkeypatch.setenv("FLYWEIGHT_DATA", str(tmp_path / "data"))
    assert SET.place(named, FILES, [_put(tmp_path / "usual")]) == wanted


def test_the_argument_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYWEIGHT_DATA", str(_put(tmp_path / "environment")))
    assert SET.place(_put(tmp_path / "named"), FILES) == tmp_path / "named"
    with pytest.raises(TaskError, match=r"nothing is no folder\. Ask the author"):
        SET.place(tmp_path / "nothing", FILES)


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _put(tmp_path / "data")
    assert SET.place("~/data", FILES) == tmp_path / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert SET.cache() == tmp_path / ".cache/flyweight/tiny-2"


def test_where_nothing_is_given_the_usual_places_and_then_the_cache(tmp_path):
    usual = [tmp_path / "one", tmp_path / "two"]
    assert SET.place(None, FILES, usual) is None
    _put(tmp_path / "one", FILES[:1])  # half is none
    kept = _put(tmp_path / "cache/flyweight/tiny-2")
    assert SET.place(None, FILES, usual) == kept == SET.cache()
    assert SET.place(None, FILES, [*usual, _put(tmp_path / "three")]) == tmp_path / "three"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(outer=st.sets(st.sampled_from("abcd")), inner=st.sets(st.sampled_from("abcd")))
@example(outer=set("abcd"), inner=set("abcd"))
@example(outer=set(), inner=set())
def test_what_is_told_to_be_missing_is_missing(tmp_path_factory, outer, inner):
    folder, wanted = tmp_path_factory.mktemp("data"), set("abcd")
    _put(folder, outer)
    _put(folder / "tiny-2", inner)
    if wanted in (outer, inner):
        assert SET.place(folder, sorted(wanted)) == (folder if outer == wanted else folder / "tiny-2")
        return
    where, lacks = (folder / "tiny-2", wanted - inner) if len(inner) > len(outer) else (folder, wanted - outer)
    with pytest.raises(TaskError) as caught:
        SET.place(folder, sorted(wanted))
    assert str(caught.value) == f"TaskError: {where} does not hold {', '.join(sorted(lacks))}. Ask the author."


def test_who_gave_the_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYWEIGHT_DATA", str(tmp_path / "void"))
    with pytest.raises(TaskError, match=r"void \(FLYWEIGHT_DATA=.*void\) is no folder\. Ask the author"):
        SET.place(None, FILES)
    _put(tmp_path / "void/tiny-2", ["a.bin"])
    with pytest.raises(TaskError, match=r"void/tiny-2 \(FLYWEIGHT_DATA=.*void\) does not hold b\.bin\. Ask"):
        SET.place(None, FILES)


def test_a_folder_in_the_place_of_a_file_is_no_file(tmp_path):
    (_put(tmp_path, ["a.bin"]) / "b.bin").mkdir()
    with pytest.raises(TaskError, match=r"does not hold b\.bin"):
        SET.place(tmp_path, FILES)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(TaskError, match=r"gone\.bin cannot be read \(No such file or directory\)\. Ask the author"):
        SET.read(tmp_path / "gone.bin")


def test_the_content_is_checked(tmp_path):
    right = hashlib.sha256(b"right").hexdigest()
    assert SET.check(b"right", "it", right) == b"right"
    found = hashlib.sha256(b"wrong").hexdigest()
    with pytest.raises(TaskError) as caught:
        SET.check(b"wrong", tmp_path / "a.bin", right)
    assert str(caught.value) == (
        f"TaskError: {tmp_path / 'a.bin'} is not Tiny-2's (Tiny-1 has files of the same names), or is damaged: the "
        f"SHA-256 of its content is {found}, and should be {right}. Ask the author."
    )
    with pytest.raises(TaskError, match=r"Delete it, and it is downloaded again\. Ask the author"):
        SET.check(b"wrong", SET.cache() / "a.bin", right)


def test_what_is_fetched(monkeypatch):
    _answer(monkeypatch, b"bytes" * 1000)
    with SET.fetched("https://example.org/a") as answer:
        assert answer.read(5) == b"bytes"
        assert answer.read() == b"bytes" * 999


def test_a_bar_where_there_is_a_terminal(monkeypatch, capsys):
    _answer(monkeypatch, b"bytes" * 1000)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with SET.fetched("https://example.org/a") as answer:
        answer.read()
    assert "Tiny-2" in capsys.readouterr().err
    monkeypatch.setenv("NO_PROGRESS", "1")
    with SET.fetched("https://example.org/a") as answer:
        answer.read()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("broke", "told"),
    [
        (urllib.error.URLError("no route"), "no route"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.IncompleteRead(b"ab", 3), "2 bytes read, 3 more expected"),
    ],
)
def test_no_network_and_what_breaks_off(monkeypatch, tmp_path, broke, told):
    text = rf"cannot download https://example\.org/a to {tmp_path}/cache/flyweight/tiny-2 \(.*{told}.*\)\. Ask the auth"
    _answer(monkeypatch, broke)
    with pytest.raises(TaskError, match=text), SET.fetched("https://example.org/a"):
        pass
    _answer(monkeypatch, b"")
    with pytest.raises(TaskError, match=text), SET.fetched("https://example.org/a"):
        raise broke


def test_a_cache_that_cannot_be_written_and_a_mistake_of_ours(monkeypatch):
    _answer(monkeypatch, b"")
    with pytest.raises(TaskError, match=r"cannot download .*the disk is full"), SET.fetched("https://example.org/a"):
        raise StoreError("the disk is full")
    with pytest.raises(ZeroDivisionError), SET.fetched("https://example.org/a"):
        _ = 1 / 0
