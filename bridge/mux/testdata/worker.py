#!/usr/bin/env python3
"""A multiplexing worker, written from bridge/wire/PROTOCOL.md alone.

It runs the application of bridge/wire/CONFORMANCE.md: it echoes, streams, stalls, and misbehaves on
request. It needs nothing but Python's standard library.
"""
import selectors
import socket
import struct
import sys

SCOPE, DRAIN, DISCONNECT, REPLY = 0x06, 0x03, 0x07, 0x08
HELLO, READY, LOG, END, CALL = 0x10, 0x11, 0x18, 0x1E, 0x1F
WELCOME, REFUSED, PING, PONG, CREDIT, EVENT = 0x20, 0x21, 0x22, 0x23, 0x24, 0x25
PART, MORE, BINARY, TRAILERS = 0x10, 1, 2, 4
COST = 10  # of an EVENT beside its payload
PIECE = 16384
WINDOW = 65536


class Reader:
    """Takes a payload apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            sys.exit("worker: a payload that does not add up")
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


def string(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack(">I", len(s)) + s


def pairs(*list_of_pairs):
    return struct.pack(">I", len(list_of_pairs)) + b"".join(string(k) + string(v) for k, v in list_of_pairs)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">IIBB", len(payload), stream, kind, flags) + payload


def event(kind, bits=0, number=0, headers=(), rest=b""):
    return struct.pack(">BBH", kind, bits, number) + pairs(*headers) + rest


class Stream:
    """One scope: a generator gets its events and yields when it waits for the next."""

    def __init__(self, worker, number, payload):
        self.worker, self.number = worker, number
        worker.streams[number] = self
        r = Reader(payload)
        self.type = {1: "http", 2: "websocket", 3: "sse", 4: "lifespan"}[r.number("B")]
        self.values, self.headers, self.subprotocols, self.extensions = r.list(), r.pairs(), r.list(), r.pairs()
        self.values += [b""] * (13 - len(self.values))
        self.path = self.values[3].decode("utf-8", "surrogateescape")
        self.window, self.queue, self.parts, self.gone = worker.peer_window, [], b"", False
        self.app = application(self)
        self.run(None)

    def run(self, ev):
        """Goes on with the application: ev is what it waits for."""
        try:
            self.app.send(ev)
        except StopIteration:
            self.end(0)
        except Exception as e:  # the application has thrown an exception
            self.end(3 if isinstance(e, ValueError) else 1, str(e))

    def send(self, payload):
        if not self.gone:
            self.queue.append(payload)
            self.flush()

    def flush(self):
        """Writes what the window allows."""
        while self.queue and self.window > COST:
            whole = self.queue[0]
            n = min(len(whole), PIECE, self.window - COST)
            last = n == len(whole)
            self.window -= n + COST
            self.worker.write(frame(EVENT, 0 if last else PART, self.number, whole[:n]))
            self.queue[0] = whole[n:]
            if last:
                self.queue.pop(0)
        if not self.queue and self.ending is not None:
            self.worker.write(frame(END, 0, self.number, self.ending))
            self.worker.streams.pop(self.number, None)

    ending = None

    def end(self, kind, message=""):
        self.ending = bytes([kind]) + message.encode()
        self.flush()

    def part(self, payload, flags):
        cost = len(payload) + COST
        if cost > WINDOW:
            sys.exit("worker: an EVENT of %d bytes is more than the window" % cost)
        self.worker.write(frame(CREDIT, 0, self.number, struct.pack(">I", cost)))
        self.parts += payload
        if flags & PART:
            return
        whole, self.parts = self.parts, b""
        if self.ending is None:
            r = Reader(whole)
            self.run((r.number("B"), r.number("B"), r.number("H"), r.pairs(), r.rest()))

    def disconnect(self, code, reason):
        self.gone, self.queue = True, []
        if self.ending is None:
            self.run((0, 0, code, [], reason))
        self.flush()


class Worker:
    def __init__(self, config):
        self.streams, self.out, self.last, self.started = {}, b"", 0, 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(config[b"socket"])
        self.socket.sendall(frame(HELLO, 0, 0, struct.pack(">HHI", 3, 3, 0) + string(config[b"token"]) + pairs(
            ("features", "scopes ping calls"), ("runtime", "python"), ("window", str(WINDOW)))))
        self.buffer = b""
        kind, _, _, payload = self.next()
        if kind == REFUSED:
            sys.exit("refused: " + payload.decode())
        welcome = Reader(payload)
        assert kind == WELCOME and welcome.number("H") == 3
        welcome.number("I")
        self.peer_window = int(dict(welcome.pairs()).get(b"window", b"65536"))
        self.write(frame(READY, 0, 0))

    def complete(self):
        """Whether the buffer holds a whole frame."""
        if len(self.buffer) < 10:
            return False
        length, _, kind = struct.unpack(">IIB", self.buffer[:9])
        if length > (1 << 24 if kind == EVENT else 1 << 20):
            sys.exit("worker: a frame of %d bytes" % length)
        return len(self.buffer) >= 10 + length

    def next(self):
        """The next frame, for which it waits."""
        while not self.complete():
            more = self.socket.recv(1 << 16)
            if not more:
                sys.exit(0)
            self.buffer += more
        length, stream, kind, flags = struct.unpack(">IIBB", self.buffer[:10])
        payload, self.buffer = self.buffer[10:10 + length], self.buffer[10 + length:]
        return kind, flags, stream, payload

    def write(self, data):
        self.out += data

    def loop(self):
        """Reads and writes without ever waiting for one of them alone."""
        self.socket.setblocking(False)
        poll, draining = selectors.DefaultSelector(), False
        poll.register(self.socket, selectors.EVENT_READ)
        while not (draining and not self.streams and not self.out):
            poll.modify(self.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0))
            for _, what in poll.select():
                if what & selectors.EVENT_WRITE:
                    self.out = self.out[self.socket.send(self.out[:1 << 18]):]
                if what & selectors.EVENT_READ:
                    data = self.socket.recv(1 << 16)
                    if not data:
                        sys.exit(0)
                    self.buffer += data
            while self.complete():
                draining = self.handle(*self.next()) or draining

    def handle(self, kind, flags, number, payload):
        s = self.streams.get(number)
        if kind == DRAIN:
            return True
        elif kind == PING:
            self.write(frame(PONG, 0, 0, payload))
        elif kind == SCOPE:
            if number <= self.last:
                sys.exit("worker: stream %d is opened twice" % number)
            self.last = number
            Stream(self, number, payload)
        elif kind in (EVENT, DISCONNECT, CREDIT):
            if number > self.last or number == 0:
                sys.exit("worker: stream %d was never opened" % number)
            if s is None:
                return False  # it has ended meanwhile
            if kind == EVENT:
                s.part(payload, flags)
            elif kind == DISCONNECT:
                s.disconnect(struct.unpack(">H", payload[:2])[0], payload[2:])
            else:
                s.window += struct.unpack(">I", payload)[0]
                s.flush()
        elif kind != REPLY:
            sys.exit("worker: a frame of type 0x%02x from the gateway" % kind)
        return False


def application(s):
    """The application of CONFORMANCE.md. Each yield waits for an event; kind 0 is the disconnect."""
    ev = yield
    if s.type == "lifespan":
        while ev[0] != 0x06 and ev[0] != 0:
            s.worker.started += 1
            s.send(event(0x40))
            ev = yield
        s.send(event(0x42))
    elif s.type == "websocket":
        s.send(event(0x20, rest=s.subprotocols[-1] if s.subprotocols else b""))
        while True:
            kind, bits, _, _, rest = yield
            if kind == 0:
                return
            if rest == b"close":
                s.send(event(0x23, number=4001, rest=b"as you wish"))
                return
            s.send(event(0x21, bits & BINARY, rest=rest))
    elif s.type == "sse":
        s.send(event(0x30, headers=[("x-from", "worker")]))
        s.send(event(0x31, headers=[("event", "count"), ("id", "7"), ("retry", "2000")], rest=b"one\ntwo"))
        s.send(event(0x34))
    else:
        yield from http(s, ev)


def http(s, ev):
    def start(status=200, bits=0, *headers):
        s.send(event(0x11, bits, status, headers or [("content-type", "text/plain")]))

    def body(rest, more=False):
        s.send(event(0x12, MORE if more else 0, rest=rest))

    w, path = s.worker, s.path
    if path == "/hello":
        start()
        body(b"hello")
    elif path == "/echo":
        start()
        while ev[0] == 0x01:
            body(ev[4], ev[1] & MORE)
            if not ev[1] & MORE:
                return
            ev = yield
    elif path == "/scope":
        lines = s.values + [k + b": " + v for k, v in s.headers] + [k for k, _ in s.extensions]
        start()
        body(b"\n".join(lines))
    elif path.startswith("/stream/"):
        start()
        body(b"x" * int(path[8:]))
    elif path == "/state":
        start()
        body(b"%d" % w.started)
    elif path == "/trailers":
        start(200, TRAILERS)
        body(b"body")
        s.send(event(0x14, headers=[("x-sum", "4")]))
    elif path == "/stall":
        start()
        while ev[0] != 0:
            ev = yield
    elif path == "/die":
        raise RuntimeError("dead")
    elif path == "/late":
        start()
        body(b"done")
        raise RuntimeError("late")
    elif path == "/invalid":
        raise ValueError("http.response.body: http.response.start must come first")
    elif path == "/misbehave/overrun":
        start()
        w.write(b"".join(frame(EVENT, 0, s.number, event(0x12, MORE, rest=b"x" * 10000)) for _ in range(100)))
    elif path == "/misbehave/type":
        w.write(frame(0x77, 0, 0))
    elif path == "/misbehave/stream":
        w.write(frame(EVENT, 0, s.number + 1000, event(0x12)))
    elif path == "/misbehave/after-end":
        w.write(frame(END, 0, s.number, b"\0") + frame(EVENT, 0, s.number, event(0x12)))
    elif path == "/misbehave/credit":
        w.write(frame(CREDIT, 0, s.number, struct.pack(">I", 0x7FFFFFFF)) * 2)
    elif path == "/misbehave/event":
        s.send(event(0x01))
    elif path == "/misbehave/pong":
        w.write(frame(PONG, 0, 0, b"12345678"))
    elif path == "/misbehave/payload":
        w.write(frame(EVENT, 0, s.number, b"\x11\0\0\xc8\xff\xff\xff\xff"))
    elif path == "/misbehave/loop":
        while True:
            pass
    elif path != "/nothing":
        start(404)
        body(b"no such page")


configuration = Reader(sys.stdin.buffer.read())
Worker(dict(configuration.pairs())).loop()
