from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerlink.files.locks import HeldError, held, left_behind, mark

HOLD = """
import sys, time
from pathlib import Path
from layerlink.files.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_folder_is_refused_until_its_holder_ends_even_by_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HeldError, match="is held by another process"), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path), pytest.raises(HeldError), held(tmp_path):
        pass
    with held(tmp_path, wait=True):
        assert not list(tmp_path.iterdir()), "holding leaves nothing in the folder"


FORK = """
import os, sys, time
from pathlib import Path
from layerlink.files.locks import HeldError, held
folder = Path(sys.argv[1])
with held(folder):
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
try:
    with held(folder):
        print("held again")
except HeldError as error:
    print(error)
os.kill(child, 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_was_forked_meanwhile_holds_nothing_on(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "held again\n"


def test_a_mark_tells_that_its_process_lives(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_text("half")
    handle = os.open(file, os.O_RDONLY)
    mark(handle)
    assert not left_behind(file)
    os.close(handle)
    assert left_behind(file)
    assert not left_behind(tmp_path / "nothing")
