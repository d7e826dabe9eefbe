from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from layerlink.data.download import download
from layerlink.data.sources.cifar import load_cifar
from layerlink.errors import LayerlinkError
from small_cifar import SMALL10, pixels, python_files, write_archive

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/short":
            self.wfile.write(CONTENT[:1000])
        elif self.path == "/damaged":
            self.wfile.write(b"\xff" + CONTENT[1:])
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_file_arrives_whole(server: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file"
    download(f"{server}/whole", target, md5=MD5)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/damaged", f"expected a file with the md5 checksum {MD5}; got "),
        ("/short", "could not be fetched|expected a file with the md5 checksum"),
        ("/missing", "could not be fetched .*404"),
    ],
)
def test_what_is_not_whole_leaves_nothing(server: str, path: str, message: str, tmp_path: Path) -> None:
    kept = tmp_path / "file"
    kept.write_bytes(b"an earlier one")
    with pytest.raises(LayerlinkError, match=message) as told:
        download(server + path, kept, md5=MD5)
    assert server + path in str(told.value)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == b"an earlier one"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/nobody", "nothing", "file:///no/such/file"])
def test_where_nobody_answers(url: str, tmp_path: Path) -> None:
    with pytest.raises(LayerlinkError, match="could not be fetched"):
        download(url, tmp_path / "file", md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_cifar_is_downloaded_once_and_loaded(tmp_path: Path) -> None:
    python = SMALL10.originals[0]
    offered = write_archive(tmp_path / "offered" / python.archive, python.folder, python_files(SMALL10))
    which = replace(SMALL10, md5=hashlib.md5(offered.read_bytes()).hexdigest())
    root = tmp_path / "root"
    source = load_cifar(which, root, download=True, url=offered.as_uri())
    assert torch.equal(source.test.images, torch.from_numpy(pixels(which, "test")[0]))
    assert [path.name for path in root.iterdir()] == [python.archive]
    offered.unlink()
    load_cifar(which, root, download=True, url=offered.as_uri())


def test_a_wrong_cifar_archive_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "offered").write_bytes(b"something else")
    with pytest.raises(LayerlinkError, match="md5 checksum c58f30108f718f92721af3b95e74349a"):
        load_cifar(SMALL10, tmp_path / "root", download=True, url=(tmp_path / "offered").as_uri())
    assert list((tmp_path / "root").iterdir()) == []
