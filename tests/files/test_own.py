"""Marks of what this user made."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from layerlink.files import own


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYERLINK_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_mark_is_a_keyed_digest_and_of_one_thing_alone(config: Path) -> None:
    mark = own.mark_of(b"content", "run")
    key = (config / "key").read_bytes()
    assert len(key) == 32
    assert (config / "key").stat().st_mode & 0o777 == 0o600
    assert mark == hmac.new(key, b"run\0content", hashlib.sha256).hexdigest()
    assert own.is_own(mark, b"content", "run")
    assert own.why_no_key() == ""
    assert not own.is_own(mark, b"content", "store")
    assert not own.is_own(mark, b"Content", "run")
    assert not any(own.is_own(wrong, b"content", "run") for wrong in (None, 3, "", "é", [mark]))


def test_another_user_has_another_key(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, tag = own.mark_of(b"content", "run"), own.tag()
    monkeypatch.setenv("LAYERLINK_CONFIG", str(tmp_path / "other"))
    assert not own.is_own(mark, b"content", "run")
    assert own.tag() != tag


def test_a_key_that_others_can_read_is_refused(config: Path) -> None:
    config.mkdir()
    (config / "key").write_bytes(b"k" * 32)
    (config / "key").chmod(0o644)
    assert own.mark_of(b"", "run") is None
    assert "must be 32 bytes that only you can read. Remove it" in own.why_no_key()


def test_a_short_key_and_a_linked_one_are_no_keys(config: Path, tmp_path: Path) -> None:
    config.mkdir()
    (config / "key").write_bytes(b"short")
    (config / "key").chmod(0o600)
    assert own.mark_of(b"", "run") is None
    own._found.cache_clear()
    (config / "key").rename(tmp_path / "elsewhere")
    (config / "key").symlink_to(tmp_path / "elsewhere")
    assert own.mark_of(b"", "run") is None


def test_without_a_place_for_it_nothing_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAYERLINK_CONFIG", str(tmp_path / "file" / "below"))
    assert own.mark_of(b"", "run") is None
    assert own.tag() is None
    assert not own.is_own("0", b"", "run")


def test_where_the_key_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAYERLINK_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert own.config_folder() == Path("/x/layerlink")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert own.config_folder() == Path(os.path.expanduser("~")) / ".config" / "layerlink"
