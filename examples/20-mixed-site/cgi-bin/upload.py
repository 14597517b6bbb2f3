#!/usr/bin/env python3
"""Takes an upload and shows each file's name, size and SHA-256.

The body is read in pieces and hashed on the way: a file may be larger than
memory. Standard library only, and without the cgi module, which Python dropped.
"""

import hashlib
import html
import os
import platform
import re
import sys
from email.message import EmailMessage

PIECE = 1 << 16
MAX_PART_HEADER = 16 << 10

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>An upload in Python</title>
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<header>
<nav aria-label="Site"><ul>
<li><a href="/">Home</a></li>
<li><a href="/guestbook/">Guestbook</a></li>
<li><a href="/cgi-bin/form.cgi">Form</a></li>
<li><a href="/cgi-bin/env.sh">Environment</a></li>
<li><a href="/cgi-bin/upload.py" aria-current="page">Upload</a></li>
</ul></nav>
</header>
<main>
<h1>An upload in Python</h1>
{content}
<form method="post" action="/cgi-bin/upload.py" enctype="multipart/form-data">
<label for="file">Files</label>
<input id="file" type="file" name="file" multiple required>
<button type="submit">Upload</button>
</form>
<p class="note">Nothing is kept.</p>
</main>
<footer>Answered by Python {version}, a CGI script</footer>
</body>
</html>
"""


class BadUpload(Exception):
    """The body is not the multipart form it claims to be."""


def boundary_of(content_type):
    """Returns the boundary of a multipart form, None where it is none."""
    message = EmailMessage()
    message["Content-Type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return None
    return message.get_boundary()


def file_name(headers):
    """Returns the file name in a part's headers, None for a plain field."""
    for line in headers.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            # Browsers send %22 for a quote and leave the rest as it is.
            match = re.search(r';\s*filename="([^"]*)"', value, re.IGNORECASE)
            return match.group(1).replace("%22", '"') if match else None
    return None


class Parts:
    """Splits a stream at a boundary (RFC 2046 section 5.1.1)."""

    def __init__(self, stream, boundary):
        self.stream = stream
        # The first boundary has no line end before it; as if there were one:
        self.buffer = b"\r\n"
        self.mark = b"\r\n--" + boundary

    def more(self):
        """Reads one piece more; a body that ends here is broken."""
        piece = self.stream.read1(PIECE)
        if not piece:
            raise BadUpload("the body ends in the middle of a part")
        self.buffer += piece

    def until_mark(self):
        """Yields what comes before the next boundary, and takes that too."""
        while (at := self.buffer.find(self.mark)) < 0:
            keep = len(self.mark) - 1
            if len(self.buffer) > keep:
                yield self.buffer[:-keep]
                self.buffer = self.buffer[-keep:]
            self.more()
        yield self.buffer[:at]
        self.buffer = self.buffer[at + len(self.mark):]

    def headers(self):
        """Returns the next part's header block, None after the last part."""
        while len(self.buffer) < 2:
            self.more()
        if self.buffer.startswith(b"--"):
            return None
        while (at := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > MAX_PART_HEADER:
                raise BadUpload("the headers of a part are too large")
            self.more()
        block = self.buffer[:at]
        self.buffer = self.buffer[at + 4:]
        return block


def uploads(stream, boundary):
    """Yields (name, size, sha256) for each file of a multipart form."""
    parts = Parts(stream, boundary)
    for _ in parts.until_mark():
        pass
    while (block := parts.headers()) is not None:
        filename = file_name(block)
        digest, size = hashlib.sha256(), 0
        for piece in parts.until_mark():
            digest.update(piece)
            size += len(piece)
        if filename:
            yield filename, size, digest.hexdigest()


def drain(stream):
    """Reads what follows the last boundary."""
    while stream.read1(PIECE):
        pass


def table(files):
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{size}</td><td class="value">{digest}</td></tr>\n'
        for name, size, digest in files
    )
    return (
        '<table class="stack">\n<caption>What arrived</caption>\n<thead><tr><th scope="col">Name</th>'
        '<th scope="col">Bytes</th><th scope="col">SHA-256</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>"
    )


def answer():
    """Returns the status and the content of the page."""
    method = os.environ.get("REQUEST_METHOD", "GET")
    if method in ("GET", "HEAD"):
        return "200 OK", "<p>Choose files; the script shows what reached it.</p>"
    if method != "POST":
        return "405 Method Not Allowed", '<p class="error">This page knows GET, HEAD and POST.</p>'
    boundary = boundary_of(os.environ.get("CONTENT_TYPE", ""))
    if not boundary:
        return "415 Unsupported Media Type", '<p class="error">This page wants multipart/form-data.</p>'
    try:
        files = list(uploads(sys.stdin.buffer, boundary.encode("utf-8", "surrogateescape")))
        drain(sys.stdin.buffer)
    except BadUpload as problem:
        return "400 Bad Request", f'<p class="error">{html.escape(str(problem))}</p>'
    return "200 OK", table(files) if files else '<p class="error">No file arrived.</p>'


def main():
    status, content = answer()
    page = PAGE.format(content=content, version=platform.python_version())
    out = sys.stdout.buffer
    out.write(f"Status: {status}\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n".encode())
    out.write(page.encode("utf-8", "replace"))


main()
