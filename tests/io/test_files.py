import os
import threading
from pathlib import Path

import pytest

from gtn_ebm.io.files import write_beside, write_whole


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    write_whole(path, "before")
    with pytest.raises(OSError, match=r"one\.txt"):
        write_beside(path, _fails)
    assert path.read_text() == "before"
    write_whole(path, "after")
    assert [file.name for file in tmp_path.iterdir()] == ["one.txt"]
    assert path.read_text() == "after"


def _fails(beside: Path) -> None:
    beside.write_text("half")
    raise OSError(28, "No space left on device", str(beside))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "real.txt")
    write_whole(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "there" / "real.txt").read_text() == "text"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "text")
    reader.join(timeout=10)
    assert read == ["text"]
    assert pipe.is_fifo()
