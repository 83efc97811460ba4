from __future__ import annotations

import hashlib
import http.server
import threading

import numpy as np
import pytest

from jaxmed import data

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server:
    """A local HTTP server that can cut connections, ignore ranges, corrupt, and go away."""

    def __init__(self):
        self.requests = []
        self.cuts = []  # bytes after which each of the next answers is cut
        self.ranges = True
        self.content = CONTENT
        self.status = None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                outer.requests.append(asked)
                if outer.status:
                    self.send_error(outer.status)
                    return
                start = int(asked[6:-1]) if asked and outer.ranges else 0
                if start >= len(outer.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(outer.content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = outer.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.cuts.pop(0)] if outer.cuts else body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.block_on_close = True
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/file.npz"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def get(server, path, **options):
    return data.fetch(server.url, path, **({"md5": MD5, "wait": 0.0, "timeout": 5} | options))


def test_a_whole_file_is_fetched_once(server, tmp_path):
    path = get(server, tmp_path / "a" / "file.npz")
    assert path.read_bytes() == CONTENT
    get(server, path)
    assert server.requests == [None]
    assert [p.name for p in path.parent.iterdir()] == ["file.npz"]


def test_cut_connections_are_resumed_where_they_stopped(server, tmp_path):
    server.cuts = [100_000, 50_000]
    path = get(server, tmp_path / "file.npz")
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_process_goes_on_from_the_part(server, tmp_path):
    server.cuts = [70_000]
    with pytest.raises(OSError, match=r"cut after 70000 of 300000 bytes \(after 1 tries\)"):
        get(server, tmp_path / "file.npz", retries=0)
    assert (tmp_path / "file.npz.part").stat().st_size == 70_000
    assert not (tmp_path / "file.npz").exists()
    assert get(server, tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=70000-"


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.cuts, server.ranges = [70_000], False
    assert get(server, tmp_path / "file.npz").read_bytes() == CONTENT


def test_a_whole_part_is_accepted_and_a_stale_one_replaced(server, tmp_path):
    (tmp_path / "file.npz.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.requests == ["bytes=300000-"]
    for stale in (b"x" * 1000, b"x" * 400_000):
        (tmp_path / "other.npz.part").write_bytes(stale)
        assert get(server, tmp_path / "other.npz").read_bytes() == CONTENT
        (tmp_path / "other.npz").unlink()


def test_a_corrupted_file_is_refused_and_leaves_nothing(server, tmp_path):
    server.content = CONTENT[:-1] + b"\0"
    with pytest.raises(data.DataError, match=f"expected {MD5}") as caught:
        get(server, tmp_path / "file.npz")
    assert caught.value.faults[0].rule == "checksum"
    assert not list(tmp_path.glob("*.npz")) + list(tmp_path.glob("*.part"))


def test_what_the_server_refuses_is_not_retried(server, tmp_path):
    server.status = 404
    with pytest.raises(OSError, match="404"):
        get(server, tmp_path / "file.npz")
    assert len(server.requests) == 1
    server.status = 503
    with pytest.raises(OSError, match=r"503.*after 3 tries"):
        get(server, tmp_path / "file.npz", retries=2)
    assert len(server.requests) == 4
