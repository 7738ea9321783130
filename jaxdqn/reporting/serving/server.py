"""A web server for the page of runs, and for their films, on this machine alone.

It answers GET and HEAD. The addresses that it knows are those of the newest page. No address is
ever turned into a path.
"""

import errno
import http
import http.server
import os
import socketserver
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from jaxdqn import errors, wording
from jaxdqn.reporting.serving import byte_ranges, film_files, live_page

ADDRESS = "127.0.0.1"
_HOSTS = frozenset({ADDRESS, "localhost"})
_SILENCE_S = 60.0  # after which a connection is closed
_LAST_PAGE_S = 10.0  # to wait for a page that is being made when the program ends
_FILMS = "/films/"
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src '{live_page.SCRIPT_HASH}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; media-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a browser may keep what it gets, but must ask if it is new
}


class Server(http.server.ThreadingHTTPServer):
    """Listens as soon as it is made; `serve_forever` answers.

    Args:
      page: what it serves.
      port: of this machine; 0 for one that is free.

    Raises:
      RunError: the port cannot be used.
    """

    daemon_threads = True  # a browser that keeps its connection does not keep the program

    def __init__(self, page: live_page.LivePage, port: int):
        self.page = page
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise errors.RunError(
                    f"--port: another program uses {port}; name another port, or 0 for a free one"
                ) from None
            raise errors.RunError(f"--port: {port} cannot be used: {error.strerror}") from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def server_bind(self) -> None:
        """Takes the port, without asking the network for the name of this machine."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores browsers that leave in the middle of an answer."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Stops to listen; what is being made is finished first."""
        super().server_close()
        self.page.finish(_LAST_PAGE_S)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_S
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def do_GET(self) -> None:
        """Answers with the page, a film, or why not."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is no request
        path = self.path.partition("?")[0]
        if not self._is_asked_by_name():
            self._refuse(http.HTTPStatus.MISDIRECTED_REQUEST, f"Ask for {self.server.url}")
        elif path == "/":
            self._send_page()
        elif film := self._film(path):
            self._send_film(film)
        else:
            self._refuse(http.HTTPStatus.NOT_FOUND, "There is no such page.")

    do_HEAD = do_GET  # noqa: N815 (http.server calls methods by these names)

    def do_POST(self) -> None:
        """Refuses to change anything."""
        text = "Nothing can be changed here."
        self._refuse(http.HTTPStatus.METHOD_NOT_ALLOWED, text, {"Allow": "GET, HEAD"})

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 (as above)

    def _is_asked_by_name(self) -> bool:
        """Whether the browser knows that it asks this machine.

        A page from elsewhere may have the name of its own host lead here, and would then read the
        answers as if they were its own. The port may differ where it is forwarded.
        """
        hosts = self.headers.get_all("Host") or ()
        return len(hosts) == 1 and hosts[0].partition(":")[0].lower() in _HOSTS

    def _film(self, path: str) -> film_files.Film | None:
        tag = path.removeprefix(_FILMS).removesuffix(".mp4")
        return self.server.page.film(tag) if path == f"{_FILMS}{tag}.mp4" else None

    def _send_page(self) -> None:
        try:
            page = self.server.page.newest()
        except errors.RunError as error:
            status = http.HTTPStatus.INTERNAL_SERVER_ERROR
            if "text/html" in self.headers.get("Accept", ""):  # not from the script of a page
                headers = {"Content-Type": "text/html; charset=utf-8", "Connection": "close"}
                self._send(status, headers, live_page.passing(str(error)))
            else:
                self._refuse(status, str(error))
            return
        headers = {"Content-Type": "text/html; charset=utf-8", "ETag": f'"{page.tag}"'}
        if self._is_known(page.tag):
            self._begin(http.HTTPStatus.NOT_MODIFIED, headers)
        else:
            self._send(http.HTTPStatus.OK, headers, page.html)

    def _send_film(self, film: film_files.Film) -> None:
        try:
            file = film_files.opened(film)
        except OSError:
            self._refuse(http.HTTPStatus.NOT_FOUND, "The film is no longer there.")
            return
        with file:
            headers = {"Content-Type": "video/mp4", "ETag": f'"{film.tag}"'}
            headers["Accept-Ranges"] = "bytes"
            if self._is_known(film.tag):
                self._begin(http.HTTPStatus.NOT_MODIFIED, headers)
            else:
                self._send_asked(film.tag, file, headers)

    def _send_asked(self, tag: str, file: BinaryIO, headers: dict[str, str]) -> None:
        """Sends the part of a film that is asked for, or all of it."""
        size = file.seek(0, os.SEEK_END)
        is_other = self.headers.get("If-Range") not in (None, f'"{tag}"')
        try:
            asked = None if is_other else byte_ranges.parse(self.headers.get("Range"), size)
        except byte_ranges.UnsatisfiableError:
            status = http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            text = f"The film has {size:,} bytes."
            self._refuse(status, text, {"Content-Range": f"bytes */{size}"})
            return
        status, part = http.HTTPStatus.OK, range(size)
        if asked is not None:
            status, part = http.HTTPStatus.PARTIAL_CONTENT, asked
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        self._begin(status, headers | {"Content-Length": str(len(part))})
        if self.command != "HEAD" and part:
            sent = self.connection.sendfile(file, part.start, len(part))
            self.close_connection |= sent < len(part)  # somebody cut the file

    def _is_known(self, tag: str) -> bool:
        """Whether the browser has the page or film with this tag already."""
        known = self.headers.get("If-None-Match", "").split(",")
        return tag in (each.strip().removeprefix("W/").strip('"') for each in known)

    def _refuse(
        self, status: http.HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Says in a line why there is no other answer, and ends the connection."""
        own = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
        self._send(status, own | dict(headers or {}), f"{wording.visible(text)}\n".encode())

    def _send(self, status: http.HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
        self._begin(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: http.HTTPStatus, headers: Mapping[str, str]) -> None:
        """Sends all of an answer but its body."""
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        """The name of the server, which tells nothing of the machine."""
        return "jaxdqn"

    def log_message(self, *text: object) -> None:
        """Prints nothing: browsers ask every few seconds."""
