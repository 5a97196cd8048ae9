"""A web server for files, as that of the portal: ranges of bytes, checksums on request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ntuplizer.collisions.files import adler32


@contextmanager
def serve(folder: Path, digests: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; give its address and the list of what was asked, `METHOD range`."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            asked.append(f"{self.command} {self.headers.get('Range', '')}".strip())
            path = folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content, status = path.read_bytes(), 200
            total = len(content)
            wanted = self.headers.get("Range", "").removeprefix("bytes=")
            if wanted:
                first, _, last = wanted.partition("-")
                start, stop = int(first), min(int(last or total - 1), total - 1)
                content, status = content[start : stop + 1], 206
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{stop}/{total}")
            if digests and self.headers.get("Want-Digest") == "adler32":
                self.send_header("Digest", f"adler32={adler32(path)}")
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
