#!/usr/bin/python3
"""Stands between the sharder and the API server, and behaves as some do that people run there.

    api_proxy.py MODE LISTEN_PORT API_PORT [CERTIFICATE KEY AUTHORITY]

    cut            ends every connection 20 s after it was opened; TLS passes through, so HTTP/2 too
    http1          ends TLS and speaks HTTP/1.1 only, on both sides
    no-bookmarks   as http1, and leaves the BOOKMARK events out of watches
    delay          each round trip takes 200 ms longer, as on a long way; TLS passes through. SIGUSR2 ends that for all
                   that comes from then on, and SIGUSR1 begins it again

Who asks must have a token: a client certificate does not come through where TLS ends.
"""

import argparse
import asyncio
import re
import signal
import ssl

MODES = ("no-bookmarks", "cut", "http1", "delay")
CUT_AFTER = 20  # seconds
ROUND_TRIP = 0.2  # seconds
# Of an event in JSON, and of one in protobuf: field 1 of a WatchEvent.
BOOKMARK = re.compile(rb'\{"type":"BOOKMARK"|\n\x08BOOKMARK')
LIMIT = 1 << 20  # of a header, and of what is kept before its reader takes it


class Reader(asyncio.StreamReader):
    """Tells that the other end has gone, also while nobody reads."""

    def __init__(self):
        super().__init__(LIMIT)
        self.gone = asyncio.Event()

    def feed_eof(self):
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc):
        super().set_exception(exc)
        self.gone.set()


async def connect(port, tls=None):
    loop, reader = asyncio.get_running_loop(), Reader()
    transport, protocol = await loop.create_connection(lambda: asyncio.StreamReaderProtocol(reader), "127.0.0.1", port,
                                                       ssl=tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def serve(port, handler, tls=None):
    """Calls `handler`(reader, writer) for each connection."""
    async def one(reader, writer):
        try:
            await handler(reader, writer)
        except (OSError, EOFError, asyncio.TimeoutError):
            pass  # one of the ends went, or was cut
        finally:
            writer.close()

    server = await asyncio.get_running_loop().create_server(
        lambda: asyncio.StreamReaderProtocol(Reader(), one), "127.0.0.1", port, ssl=tls, backlog=512)
    await server.serve_forever()


# -- bytes

async def relay(source, sink):
    while data := await source.read(LIMIT):
        sink.write(data)
        await sink.drain()


async def first_of(*coroutines):
    """Runs them until one of them ends."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Cutter:
    def __init__(self, api_port):
        self._port = api_port

    async def handle(self, reader, writer):
        api_reader, api_writer = await connect(self._port)
        try:
            await asyncio.wait_for(first_of(relay(reader, api_writer), relay(api_reader, writer)), CUT_AFTER)
        finally:
            api_writer.close()


class Delayer:
    def __init__(self, api_port):
        self._port, self._one_way = api_port, ROUND_TRIP / 2

    def begin(self):
        self._one_way = ROUND_TRIP / 2

    def end(self):
        self._one_way = 0

    async def handle(self, reader, writer):
        api_reader, api_writer = await connect(self._port)
        try:
            await first_of(self._relay(reader, api_writer), self._relay(api_reader, writer))
        finally:
            api_writer.close()

    async def _relay(self, source, sink):
        under_way = asyncio.Queue(64)  # (when it arrives, bytes)

        async def arrive():
            while True:
                when, data = await under_way.get()
                await asyncio.sleep(when - asyncio.get_running_loop().time())
                if not data:
                    return
                sink.write(data)
                await sink.drain()

        async def leave():
            data = b"-"
            while data:
                data = await source.read(LIMIT)
                await under_way.put((asyncio.get_running_loop().time() + self._one_way, data))
            await asyncio.Event().wait()  # the end has to arrive too

        await first_of(arrive(), leave())


# -- HTTP/1.1

class Head:
    """The first line and the fields of a message."""

    def __init__(self, data):
        self.data = data
        self.line, *fields = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        self._fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}

    @staticmethod
    async def read(reader):
        return Head(await reader.readuntil(b"\r\n\r\n"))

    def get(self, name):
        return self._fields.get(name, "")

    def is_watch(self):
        return bool(re.search(r"[?&]watch=(true|1)\b", self.line))

    def has_no_body(self):
        return self.line.split()[1] in ("204", "304")

    def chunked(self):
        return "chunked" in self.get("transfer-encoding").lower()


async def chunks(reader):
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")  # Kubernetes has no trailers


async def frames(pieces, protobuf):
    """The events of a watch with what frames each: a length before it in protobuf, a line break behind it in JSON."""
    rest = b""
    async for piece in pieces:
        rest += piece
        while True:
            end = 4 + int.from_bytes(rest[:4], "big") if protobuf else rest.find(b"\n") + 1
            if not (4 if protobuf else 1) <= end <= len(rest):
                break
            yield rest[:end]
            rest = rest[end:]


async def without_bookmarks(pieces, protobuf):
    async for frame in frames(pieces, protobuf):
        if not BOOKMARK.match(frame, 4 if protobuf else 0):
            yield frame


class Http1:
    def __init__(self, api_port, tls, bookmarks):
        self._port, self._tls, self._bookmarks = api_port, tls, bookmarks

    async def handle(self, reader, writer):
        api_reader, api_writer = await connect(self._port, self._tls)
        try:
            await first_of(self._exchanges(reader, writer, api_reader, api_writer), reader.gone.wait())
        finally:
            api_writer.close()

    async def _exchanges(self, reader, writer, api_reader, api_writer):
        while True:
            request = await Head.read(reader)
            api_writer.write(request.data)
            await self._body(request, reader, api_writer)
            answer = await Head.read(api_reader)
            writer.write(answer.data)
            if request.is_watch() and answer.chunked() and not self._bookmarks:
                pieces = without_bookmarks(chunks(api_reader), "protobuf" in answer.get("content-type"))
                await self._chunked(pieces, writer)
            elif not answer.has_no_body():
                await self._body(answer, api_reader, writer)

    async def _body(self, head, source, sink):
        if head.chunked():
            await self._chunked(chunks(source), sink)
            return
        left = int(head.get("content-length") or 0)
        while left:
            data = await source.read(min(left, LIMIT))
            if not data:
                raise EOFError
            left -= len(data)
            sink.write(data)
            await sink.drain()
        await sink.drain()

    @staticmethod
    async def _chunked(pieces, sink):
        async for piece in pieces:
            sink.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await sink.drain()
        sink.write(b"0\r\n\r\n")
        await sink.drain()


async def delay(port, api_port):
    delayer, loop = Delayer(api_port), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, delayer.begin)
    loop.add_signal_handler(signal.SIGUSR2, delayer.end)
    await serve(port, delayer.handle)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("port", type=int)
    parser.add_argument("api_port", type=int)
    parser.add_argument("certificate", nargs="?")
    parser.add_argument("key", nargs="?")
    parser.add_argument("authority", nargs="?")
    options = parser.parse_args()
    if options.mode == "cut":
        asyncio.run(serve(options.port, Cutter(options.api_port).handle))
        return
    if options.mode == "delay":
        asyncio.run(delay(options.port, options.api_port))
        return
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(options.certificate, options.key)
    theirs = ssl.create_default_context(cafile=options.authority)
    for tls in (ours, theirs):
        tls.set_alpn_protocols(["http/1.1"])
    asyncio.run(serve(options.port, Http1(options.api_port, theirs, options.mode == "http1").handle, ours))


if __name__ == "__main__":
    main()
