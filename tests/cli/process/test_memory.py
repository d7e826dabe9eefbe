from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """\
import ctypes, re, sys
from pathlib import Path
from layerlink.cli.process.memory import keep_freed_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
if kept is False:
    sys.exit(77)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident()
block = libc.malloc(200 << 20)
ctypes.memset(block, 1, 200 << 20)
libc.free(block)
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is what is set")
def test_freed_memory_stays_with_the_process_where_it_is_asked_for() -> None:
    def left(word: str) -> int:
        done = subprocess.run([sys.executable, "-c", CODE, word], capture_output=True, text=True, check=False)
        if done.returncode == 77:
            pytest.skip("the allocator is another than glibc's")
        return int(done.stdout)

    assert left("default") < 50  # megabytes
    assert left("keep") >= 150
