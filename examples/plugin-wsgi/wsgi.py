#!/usr/bin/env python3
"""A worker for the gateway that serves a WSGI application (PEP 3333), written from bridge/wire/PROTOCOL.md alone.

    python3 wsgi.py FILE.py[:NAME]

The gateway starts it; a site file says so by

    plugin: {command: [python3, wsgi.py, app.py], protocol: wire, workers: 2, config: {threads: 8}}

FILE.py is loaded, and NAME in it ("application" if not given) is called for each request, in one of `threads` threads.
A request body is passed as it comes, and so is each piece of a response: neither is ever whole in memory. WebSockets and
event streams are declined. Only Python's standard library is needed.
"""
import importlib.util
import json
import os
import queue
import socket
import struct
import sys
import threading
import traceback

# Frames, flags and kinds of events of the protocol.
SCOPE, DISCONNECT, DRAIN = 0x06, 0x07, 0x03
HELLO, READY, FAILED, LOG, END = 0x10, 0x11, 0x12, 0x18, 0x1E
WELCOME, REFUSED, PING, PONG, CREDIT, EVENT = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25
PART, MORE = 0x10, 0x01
HTTP, LIFESPAN = 1, 4
HTTP_REQUEST, RESPONSE_START, RESPONSE_BODY = 0x01, 0x11, 0x12
RETURNED, THREW, UNSUPPORTED = 0, 1, 2
ERROR = 1

COST = 10           # of an EVENT beside its payload
WINDOW = 262144     # what the gateway may send on a stream before it is granted more
PIECE = 16384       # the most of one stream in a frame
MAX_FRAME = 1 << 24


class Gone(Exception):
    """The client has left, or the connection has ended."""


class Payload:
    """Takes a payload apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            violation("a payload that does not add up")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, code):
        return struct.unpack(">" + code, self.take(struct.calcsize(code)))[0]

    def string(self):
        return self.take(self.number("I"))

    def list(self):
        return [self.string() for _ in range(self.number("I"))]

    def pairs(self):
        return [(self.string(), self.string()) for _ in range(self.number("I"))]

    def rest(self):
        return self.take(len(self.data) - self.at)


def violation(what):
    sys.stderr.write("wsgi.py: the gateway breaks the protocol: %s\n" % what)
    sys.stderr.flush()
    os._exit(1)  # from whichever thread: nothing can be served any more


def string(s):
    if isinstance(s, str):
        s = s.encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(s)) + s


def pairs(list_of_pairs):
    return struct.pack(">I", len(list_of_pairs)) + b"".join(string(k) + string(v) for k, v in list_of_pairs)


def event(kind, bits=0, number=0, headers=(), rest=b""):
    return struct.pack(">BBH", kind, bits, number) + pairs(headers) + rest


def latin(b):
    """The text of PEP 3333 for bytes: a character for each."""
    return b.decode("latin-1")


class Stream:
    """One scope. The connection's thread fills it, and a thread of the pool serves it."""

    def __init__(self, worker, number, payload):
        self.worker, self.number = worker, number
        p = Payload(payload)
        self.type, self.values, self.headers, self.subprotocols, self.extensions = p.number("B"), p.list(), p.pairs(), p.list(), p.pairs()
        self.values += [b""] * (13 - len(self.values))
        self.changed = threading.Condition()
        self.window = worker.peer_window   # what may be sent
        self.events = []                   # [(payload, cost)], each whole
        self.part, self.part_cost = b"", 0  # an event of which parts are missing
        self.gone = False

    # The connection's thread.

    def came(self, payload, flags):
        with self.changed:
            cost = len(payload) + COST
            self.part += payload
            if flags & PART:  # granted at once: the whole must come before it can be used
                self.worker.grant(self.number, cost)
                return
            whole, self.part = self.part, b""
            if self.gone:
                self.worker.grant(self.number, cost)
                return
            self.events.append((whole, cost))
            self.changed.notify_all()

    def credit(self, n):
        with self.changed:
            self.window += n
            if self.window > 0x7FFFFFFF:
                violation("CREDIT beyond 2^31-1")
            self.changed.notify_all()

    def disconnect(self):
        with self.changed:
            self.gone = True
            self.changed.notify_all()

    # The thread that serves it.

    def receive(self):
        """The next event as (kind, bits, rest), None once the client has gone."""
        with self.changed:
            while not self.events and not self.gone:
                self.changed.wait()
            if not self.events:
                return None
            payload, cost = self.events.pop(0)
        self.worker.grant(self.number, cost)
        p = Payload(payload)
        kind, bits, _, _ = p.number("B"), p.number("B"), p.number("H"), p.pairs()
        return kind, bits, p.rest()

    def send(self, payload):
        """Sends an event, in as many parts as the window asks for."""
        while True:
            with self.changed:
                while self.window <= COST and not self.gone:
                    self.changed.wait()
                if self.gone:
                    raise Gone()
                n = min(len(payload), PIECE, self.window - COST)
                self.window -= n + COST
            piece, payload = payload[:n], payload[n:]
            self.worker.write(EVENT, PART if payload else 0, self.number, piece)
            if not payload:
                return

    def send_body(self, data, more):
        """Sends a piece of a response, a long one as several."""
        while len(data) > PIECE - 8:
            self.send(event(RESPONSE_BODY, MORE, rest=data[:PIECE - 8]))
            data = data[PIECE - 8:]
        self.send(event(RESPONSE_BODY, MORE if more else 0, rest=data))


class Input:
    """wsgi.input: the request body, as it comes."""

    def __init__(self, stream):
        self.stream, self.buffer, self.more = stream, b"", True

    def fill(self):
        """Takes one more piece. Reports whether there was one."""
        if not self.more:
            return False
        ev = self.stream.receive()
        if ev is None:
            self.more = False
            raise OSError("the client has left before its request was complete")
        kind, bits, rest = ev
        if kind != HTTP_REQUEST:
            violation("an event of kind 0x%02x in a request" % kind)
        self.more = bool(bits & MORE)
        self.buffer += rest
        return True

    def read(self, size=-1):
        if size is None or size < 0:
            pieces = [self.buffer]
            self.buffer = b""
            while self.fill():
                pieces.append(self.buffer)
                self.buffer = b""
            return b"".join(pieces)
        while len(self.buffer) < size and self.fill():
            pass
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def readline(self, size=-1):
        limit = size if size is not None and size >= 0 else None
        while b"\n" not in self.buffer and (limit is None or len(self.buffer) < limit) and self.fill():
            pass
        end = self.buffer.find(b"\n") + 1 or len(self.buffer)
        if limit is not None:
            end = min(end, limit)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def readlines(self, hint=-1):
        lines, size = [], 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint and 0 < hint <= size:
                break
        return lines

    def __iter__(self):
        return iter(self.readline, b"")


class Errors:
    """wsgi.errors: each line is a record in the gateway's log, about this request."""

    def __init__(self, stream):
        self.stream, self.text = stream, ""

    def write(self, text):
        self.text += text
        *lines, self.text = self.text.split("\n")
        for line in lines:
            self.log(line)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        line, self.text = self.text, ""
        self.log(line)

    def log(self, line):
        if line:
            self.stream.worker.write(LOG, ERROR, self.stream.number, line.encode("utf-8", "replace")[:65536])


def environ_of(stream, worker):
    """The environment of a request."""
    version, method, scheme, path, _, _, query, root, client, client_port, server, server_port = stream.values[:12]
    env = {
        "REQUEST_METHOD": latin(method), "SCRIPT_NAME": latin(root), "PATH_INFO": latin(path), "QUERY_STRING": latin(query),
        "SERVER_PROTOCOL": "HTTP/" + latin(version), "SERVER_NAME": latin(server) or "localhost", "SERVER_PORT": latin(server_port) or "80",
        "SERVER_SOFTWARE": "pagi-bridge", "REMOTE_ADDR": latin(client), "REMOTE_PORT": latin(client_port),
        "wsgi.version": (1, 0), "wsgi.url_scheme": latin(scheme), "wsgi.input": Input(stream), "wsgi.errors": Errors(stream),
        "wsgi.multithread": worker.threads > 1, "wsgi.multiprocess": worker.processes > 1, "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in stream.headers:
        name, value = latin(name), latin(value)
        if name in ("proxy", "") or "_" in name:
            continue  # see httpoxy; and x_y would be the same variable as x-y
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        env[key] = env[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value if key in env else value
    return env


class Response:
    """What the application says about its response."""

    def __init__(self, stream, head):
        self.stream, self.head = stream, head
        self.status, self.headers, self.sent = None, None, False

    def start(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called already")
        self.status = int(status.split(" ", 1)[0])
        self.headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers]
        return self.write

    def write(self, data):
        self.send(data, True)

    def send(self, data, more):
        if self.status is None:
            raise AssertionError("the application has not called start_response")
        if not self.sent:
            self.sent = True
            self.stream.send(event(RESPONSE_START, 0, self.status, self.headers))
        if self.head:
            data = b""
        if data or not more:
            self.stream.send_body(data, more)


def respond(stream, application, worker):
    """Calls the application for a request."""
    env = environ_of(stream, worker)
    response = Response(stream, env["REQUEST_METHOD"] == "HEAD")
    result = application(env, response.start)
    try:
        for data in result:
            if data:  # the head goes out with the first bytes
                response.send(data, True)
        response.send(b"", False)
    finally:
        if hasattr(result, "close"):
            result.close()
        env["wsgi.errors"].flush()


class Worker:
    """The connection to the gateway."""

    def __init__(self, configuration):
        c = {k.decode(): v.decode("utf-8", "surrogateescape") for k, v in configuration}
        options = json.loads(c.get("config") or "{}")
        self.threads = options.pop("threads", 8)
        if options:
            sys.exit("wsgi.py: there is no option %s; there is: threads" % ", ".join(map(repr, options)))
        if not isinstance(self.threads, int) or not 1 <= self.threads <= 1000:
            sys.exit("wsgi.py: threads must be a number from 1 to 1000, is %r" % (self.threads,))
        self.processes = int(c.get("workers", "1"))
        if "umask" in c:
            os.umask(int(c["umask"]))
        self.streams, self.last, self.draining = {}, 0, False
        self.lock = threading.Lock()  # of the streams
        self.writing = threading.Lock()
        self.waiting = queue.Queue()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(c["socket"])
        self.buffer = b""
        self.write(HELLO, 0, 0, struct.pack(">HHI", 3, 3, os.getpid()) + string(c["token"]) + pairs([
            ("features", "scopes ping"), ("runtime", "python"), ("version", sys.version.split()[0]),
            ("window", str(WINDOW)), ("streams", "1000")]))
        kind, _, _, payload = self.next()
        if kind == REFUSED:
            sys.exit("wsgi.py: refused: " + payload.decode("utf-8", "replace"))
        if kind != WELCOME:
            violation("a frame of type 0x%02x instead of WELCOME" % kind)
        welcome = Payload(payload)
        welcome.number("H"), welcome.number("I")
        self.peer_window = int(dict(welcome.pairs()).get(b"window", b"65536"))

    def write(self, kind, flags, stream, payload=b""):
        data = struct.pack(">IIBB", len(payload), stream, kind, flags) + payload
        with self.writing:
            try:
                self.socket.sendall(data)
            except OSError:
                raise Gone() from None

    def grant(self, number, n):
        self.write(CREDIT, 0, number, struct.pack(">I", n))

    def next(self):
        """The next frame, for which it waits. The end of the connection is the end of the worker."""
        while True:
            if len(self.buffer) >= 10:
                length, stream, kind, flags = struct.unpack(">IIBB", self.buffer[:10])
                if length > MAX_FRAME:
                    violation("a frame of %d bytes" % length)
                if len(self.buffer) >= 10 + length:
                    payload, self.buffer = self.buffer[10:10 + length], self.buffer[10 + length:]
                    return kind, flags, stream, payload
            more = self.socket.recv(1 << 17)
            if not more:
                os._exit(0)
            self.buffer += more

    def serve(self, application):
        self.write(READY, 0, 0)
        for _ in range(self.threads):
            threading.Thread(target=self.work, args=(application,), daemon=True).start()
        while True:
            self.handle(*self.next())

    def handle(self, kind, flags, number, payload):
        with self.lock:
            stream = self.streams.get(number)
        if kind == PING:
            self.write(PONG, 0, 0, payload)
        elif kind == DRAIN:
            self.draining = True
            self.finish()
        elif kind == SCOPE:
            if number <= self.last:
                violation("stream %d is opened twice" % number)
            self.last = number
            stream = Stream(self, number, payload)
            if stream.type != HTTP:
                what = {2: "websocket", 3: "sse", LIFESPAN: "lifespan"}.get(stream.type, "?")
                self.write(END, 0, number, bytes([UNSUPPORTED]) + b"WSGI has no scopes of type " + what.encode())
                return
            with self.lock:
                self.streams[number] = stream
            self.waiting.put(stream)
        elif kind in (EVENT, CREDIT, DISCONNECT):
            if not 0 < number <= self.last:
                violation("stream %d was never opened" % number)
            if stream is None:
                return  # it has ended meanwhile
            if kind == EVENT:
                stream.came(payload, flags)
            elif kind == CREDIT:
                stream.credit(Payload(payload).number("I"))
            else:
                stream.disconnect()
        else:
            violation("a frame of type 0x%02x" % kind)

    def work(self, application):
        """Serves one request after another."""
        while True:
            stream = self.waiting.get()
            kind, message = RETURNED, ""
            try:
                respond(stream, application, self)
            except Gone:
                pass
            except Exception:
                kind, message = THREW, traceback.format_exc()
            with self.lock:
                del self.streams[stream.number]
            try:
                self.write(END, 0, stream.number, bytes([kind]) + message.encode("utf-8", "replace")[:65000])
            except Gone:
                return
            self.finish()

    def finish(self):
        """Exits if the gateway wants that and no request is left."""
        with self.lock:
            if self.draining and not self.streams:
                os._exit(0)


def load(name):
    """The application of "FILE.py:NAME"."""
    path, _, attribute = name.partition(":")
    path = os.path.abspath(path)
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, attribute or "application")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: wsgi.py FILE.py[:NAME], started by the gateway")
    worker = Worker(Payload(sys.stdin.buffer.read()).pairs())
    try:
        application = load(sys.argv[1])
    except BaseException:  # also SystemExit
        worker.write(FAILED, 0, 0, traceback.format_exc().encode("utf-8", "replace")[:1 << 20])
        sys.exit(1)
    worker.serve(application)


if __name__ == "__main__":
    main()
