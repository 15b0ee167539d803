"""The user's key: one per user, kept to the user; and marks that only it can make."""

import hmac
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from durable_nb.codec import sign
from durable_nb.codec.sign import Signer, export_key, import_key, key_path, load_signer
from durable_nb.errors import BadOption, Untrusted

KEY = "0123456789abcdef" * 4
SIGNER = Signer(b"k" * 32)
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DURABLE_NB_KEY", "DURABLE_NB_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_key_is_made_once_and_only_for_the_user() -> None:
    first = load_signer()
    assert load_signer().sign("a") == first.sign("a")
    assert len(export_key()) == 64
    assert os.listdir(key_path().parent) == ["key"]
    if os.name == "posix":
        assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
        assert stat.S_IMODE(key_path().parent.stat().st_mode) == 0o700


def _export(_: int) -> str:
    return export_key()


def test_four_processes_at_once_end_with_one_key() -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(_export, range(16), chunksize=1)
    assert set(keys) == {export_key()}
    assert os.listdir(key_path().parent) == ["key"]


def test_loser_of_the_race_takes_the_winners_key(monkeypatch: pytest.MonkeyPatch) -> None:
    write_beside = sign._write_beside

    def overtaken(path: Path, text: str) -> Path:
        written = write_beside(path, text)
        os.link(write_beside(path, KEY), path)
        return written

    monkeypatch.setattr(sign, "_write_beside", overtaken)
    assert export_key() == KEY


def test_file_system_without_hard_links_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refused)
    assert export_key() == export_key()
    assert os.listdir(key_path().parent) == ["key"]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_key_file_that_others_can_reach_is_refused(mode: int) -> None:
    load_signer()
    key_path().chmod(mode)
    with pytest.raises(Untrusted, match=r"other users can reach the key file .* run `chmod 600"):
        load_signer()


def test_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = load_signer()
    monkeypatch.setenv("DURABLE_NB_KEY", "sixteen letters!")
    assert load_signer().fingerprint != mine.fingerprint
    assert export_key() == "sixteen letters!"
    with pytest.raises(BadOption, match="unset it first"):
        import_key(KEY)


@pytest.mark.parametrize("text", ["", "fifteen letters", " " * 40])
def test_short_key_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_NB_KEY", text)
    with pytest.raises(BadOption, match="at least 16"):
        load_signer()


def test_key_file_of_the_variable_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DURABLE_NB_KEY_FILE", str(tmp_path / "mine"))
    with pytest.raises(BadOption, match="does not exist"):
        load_signer()
    import_key(KEY)
    assert (tmp_path / "mine").read_text() == KEY + "\n"
    assert export_key() == KEY


def test_key_file_of_rubbish_is_refused() -> None:
    import_key(KEY)
    key_path().write_bytes(b"\xff" * 32)
    with pytest.raises(BadOption, match="holds no text"):
        load_signer()


def test_import_refuses_to_replace_another_key() -> None:
    import_key(KEY)
    import_key(KEY.upper())
    with pytest.raises(BadOption, match="holds another key"):
        import_key("f" * 64)
    assert export_key() == KEY
    import_key("f" * 64, force=True)
    assert export_key() == "f" * 64
    assert os.listdir(key_path().parent) == ["key"]


def test_exported_key_makes_the_same_marks_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, key = load_signer().sign("run", b"x"), export_key()
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "other"))
    import_key(key, force=True)
    assert load_signer().verify(mark, "run", b"x")


def test_mark_is_128_bits_and_stays_as_it_is() -> None:
    framed = b"s1:ab1:b"
    assert SIGNER.sign("a", b"b") == hmac.digest(b"k" * 32, framed, "sha256").hex()[:32]
    assert SIGNER.sign("a", b"b") == "1faaa4946727bd04a8d474b66f219dbb"


@given(
    st.lists(st.text(st.characters(codec=None)) | st.binary(), max_size=4),
    st.lists(st.text() | st.binary(), max_size=4),
)
def test_marks_agree_only_for_the_same_parts(one: list[str | bytes], other: list[str | bytes]) -> None:
    assert SIGNER.verify(SIGNER.sign(*one), *one)
    assert SIGNER.verify(SIGNER.sign(*one), *other) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"), [(("ab", "c"), ("a", "bc")), (("a",), (b"a",)), (("",), ()), (("a1:b",), ("a", "b"))]
)
def test_parts_cannot_be_moved(one: tuple[str | bytes, ...], other: tuple[str | bytes, ...]) -> None:
    assert SIGNER.sign(*one) != SIGNER.sign(*other)


@pytest.mark.parametrize("mark", ["", "é", "0" * 32, SIGNER.sign("a")[:-1]])
def test_wrong_mark_is_not_verified(mark: str) -> None:
    assert not SIGNER.verify(mark, "a")


def test_signer_does_not_show_its_key() -> None:
    signer = Signer(b"secret secret secret")
    assert "secret" not in repr(signer)
    assert len(signer.fingerprint) == 12
