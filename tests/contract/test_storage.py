"""Writes are whole or absent, on a disk that is really full and in a process that is really killed."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreact.contract.errors import StorageError
from foreact.contract.storage import atomic_directory, atomic_write_bytes, atomic_write_json, atomic_write_text, storage_errors

WRITER = """
import sys
from foreact.contract.storage import atomic_write_bytes
while True:
    for byte in (b"a", b"b"):
        atomic_write_bytes(sys.argv[1], byte * 3_000_000)
"""


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_the_new_content_replaces_the_old(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    atomic_write_text(target, "old")
    atomic_write_text(target, "new")
    assert target.read_text() == "new"
    assert leftovers(target.parent) == []


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "file.json"
    atomic_write_json(target, {"loss": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(target, {"loss": float("nan")})
    assert target.read_text() == '{\n  "loss": 0.5\n}\n'


def test_a_killed_writer_leaves_the_old_or_the_new_but_no_mixture(tmp_path):
    target = tmp_path / "file.bin"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)])
    for _ in range(200):
        time.sleep(0.05)
        if target.exists():
            break
    time.sleep(0.2)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    data = target.read_bytes()
    assert len(data) == 3_000_000
    assert len(set(data)) == 1


def test_a_folder_appears_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "checkpoint"
    with pytest.raises(RuntimeError, match="half way"), atomic_directory(target) as folder:
        (folder / "weights").write_bytes(b"1")
        assert not target.exists()
        raise RuntimeError("half way")
    assert not target.exists()
    assert leftovers(tmp_path) == []
    with atomic_directory(target) as folder:
        (folder / "weights").write_bytes(b"2")
    assert (target / "weights").read_bytes() == b"2"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's disk that is always full")
def test_a_full_disk_is_one_clear_error():
    with (
        pytest.raises(StorageError, match="the disk is full") as caught,
        storage_errors("/data/run"),
        open("/dev/full", "wb") as file,
    ):
        file.write(b"x")
        file.flush()
    assert "--out" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        atomic_write_bytes(tmp_path / "file", b"x")


def test_other_failures_of_the_system_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, storage_errors(tmp_path):
        (tmp_path / "absent").read_bytes()
    assert caught.value.errno == errno.ENOENT
