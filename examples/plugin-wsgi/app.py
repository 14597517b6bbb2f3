"""A WSGI application for wsgi.py."""
import html
import time


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream()
    if path == "/echo":
        start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "application/octet-stream"))])
        return iter(lambda: environ["wsgi.input"].read(8192), b"")
    name = html.escape(environ["QUERY_STRING"] or "world")
    body = "<h1>Hello, %s</h1>\n" % name
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body.encode()]


def stream():
    for n in range(5):
        yield b"%d\n" % n
        time.sleep(0.01)
