# Copyright (c) 2026, Airgap Speech contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves a directory of OS packages over TLS, to read only: packages_server.py ADDRESS PORT PEM DIRECTORY.

Python's standard library is all that it needs, which the registry's host has.
"""

import functools
import http.server
import ssl
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and no lists of directories."""

    protocol_version = "HTTP/1.1"

    def list_directory(self, path):
        """No list of a directory."""
        self.send_error(404)

    def log_message(self, *_args):
        """systemd's journal is for what is wrong."""


class Server(http.server.ThreadingHTTPServer):
    """One that shakes hands in the thread of the connection, so that a silent client holds up nobody."""

    def __init__(self, address, handler, context):
        super().__init__(address, handler)
        self.context = context

    def finish_request(self, request, client_address):
        """Shake hands, then serve."""
        request.settimeout(60)
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, request, client_address):
        """One line, for a client that hung up or spoke no TLS."""
        sys.stderr.write(f"{client_address[0]}: {sys.exc_info()[1]}\n")


def main(address, port, pem, directory):
    """Serve until stopped."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pem)
    handler = functools.partial(Handler, directory=directory)
    Server((address, int(port)), handler, context).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
