"""Several processes on this machine that train together: what torchrun starts, without torchrun's own seconds."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent  # where jobs of groups lie
SETTLED = 100  # seconds after which a group that is not done hangs


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun sets."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    texts = {name: str(number) for name, number in numbers.items()}
    return {**os.environ, **texts, "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}


def free_port() -> int:
    """Below those of outgoing connections, one of which might be quicker than the group."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def start(command: list[str], size: int, folder: Path) -> list[subprocess.Popen[str]]:
    """``python COMMAND`` as every process of a group."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env=environment(rank, size, port),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def ends(group: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of every process; one that hangs is killed, and fails the test."""
    try:
        texts = [process.communicate(timeout=SETTLED) for process in group]
    finally:
        for process in group:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(group, texts, strict=True)]


def run_group(command: list[str], size: int, folder: Path) -> list[tuple[int, str, str]]:
    return ends(start(command, size, folder))
