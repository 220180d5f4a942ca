"""The cases of Autobahn's testsuite, run by kosoku, against a broker.

They are written for a server that sends every message back. A broker does so with a PUBLISH to a topic that
its client has subscribed to. So a message of a case becomes the payload of a PUBLISH, cut where that keeps
the frame as long as the case wants it, and the case hears its own message when the same bytes have come
back. Text becomes binary, because MQTT has no other [MQTT-6.0.0-1]. All the rest, frames, fragments, control
frames, closing, is the case's.

    autobahn_cases.py PORT CASES

prints a line for each case: its number, how it and its end are judged, and why.
"""

import asyncio
import itertools
import sys

import kosoku
import kosoku.cases  # makes the next import find Autobahn's
from case import Case

TEXT, BINARY = 1, 2
CLIENTS = itertools.count()


def variable_length(number):
    """A length as MQTT writes it."""
    out = b""
    while True:
        number, byte = divmod(number, 128)
        if not number:
            return out + bytes([byte])
        out += bytes([byte | 128])


def field(text):
    return len(text).to_bytes(2, "big") + text


def packet(first, body):
    return bytes([first]) + variable_length(len(body)) + body


class Broker:
    """What a case takes for its connection."""

    def __init__(self, connection):
        self.__dict__.update(connection=connection, topic=b"%d" % next(CLIENTS), expected=[],
                             parts=[], received=b"", is_ready=False)

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def __setattr__(self, name, value):
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self.connection, name, value)

    @property
    def txFrameStats(self):  # pylint: disable=invalid-name
        """As if there had been no CONNECT, and text."""
        sent = self.connection.txFrameStats
        return {0: sent.get(0, 0), TEXT: sent.get(BINARY, 0) - 1}

    def open(self):
        connect = packet(0x10, field(b"MQTT") + b"\4\2\0\0" + field(b"case" + self.topic))
        subscribe = packet(0x82, b"\0\1" + field(self.topic) + b"\0")
        self.connection.sendFrame(opcode=BINARY, payload=(connect + subscribe).decode("latin-1"))

    def publish(self, text, opcode, is_final):
        """A PUBLISH as long as the text, if that is long enough."""
        data = text.encode("latin-1")
        head = field(self.topic)
        for kept in range(len(data) - len(head) - 2, len(data) - len(head) - 6, -1):
            if kept >= 0 and len(shorter := packet(0x30, head + data[:kept])) == len(data):
                sent = shorter
                break
        else:
            sent = packet(0x30, head + data)
        self.expected.append((sent, text, opcode, is_final))
        return sent.decode("latin-1")

    def sendFrame(self, opcode, payload="", fin=True, payload_len=None, **more):
        if opcode in (0, TEXT, BINARY):
            if payload_len is not None:
                payload = (payload * (payload_len // max(len(payload), 1) + 1))[:payload_len]
            payload = self.publish(payload, opcode, fin)
        elif payload_len is not None:
            more["payload_len"] = payload_len
        opcode = BINARY if opcode == TEXT else opcode
        self.connection.sendFrame(opcode=opcode, payload=payload, fin=fin, **more)

    def sendMessage(self, payload, isBinary=False, **more):
        payload = self.publish(payload, BINARY if isBinary else TEXT, True)
        self.connection.sendMessage(payload, isBinary=True, **more)

    def messages(self, data):
        """The messages of the case that have come back whole."""
        self.received += data if isinstance(data, bytes) else data.encode("latin-1")
        while self.expected:
            sent, text, opcode, is_final = self.expected[0]
            if len(self.received) < len(sent):
                return
            assert self.received.startswith(sent), "other bytes than were sent"
            self.received = self.received[len(sent):]
            del self.expected[0]
            self.parts.append((text, opcode))
            if is_final:
                whole = "".join(text for text, _ in self.parts)
                kind, self.parts = self.parts[0][1], []
                yield whole, kind == BINARY


def adapted(init):
    def adapt(case, connection):
        broker = Broker(connection)
        init(case, broker)
        on_open, on_message = case.onOpen, case.onMessage

        def heard(data, _is_binary):
            if not broker.is_ready:
                broker.received += data if isinstance(data, bytes) else data.encode("latin-1")
                answers = b"\x20\2\0\0\x90\3\0\1\0"
                if len(broker.received) < len(answers):
                    return
                assert broker.received == answers, broker.received
                broker.received, broker.is_ready = b"", True
                on_open()
                return
            for message, is_binary in broker.messages(data):
                on_message(message, is_binary)

        case.onOpen, case.onMessage = broker.open, heard
    return adapt


async def carry(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other end has gone; so will this one
    writer.close()


async def relay(port, reader, writer):
    """Asks the broker for the subprotocol of MQTT, which the cases do not, and hides that it was given."""
    request = await reader.readuntil(b"\r\n\r\n")
    from_broker, to_broker = await asyncio.open_connection("127.0.0.1", port)
    to_broker.write(request[:-2] + b"Sec-WebSocket-Protocol: mqtt\r\n\r\n")
    answer = (await from_broker.readuntil(b"\r\n\r\n")).split(b"\r\n")
    name = b"sec-websocket-protocol:"
    writer.write(b"\r\n".join(line for line in answer if not line.lower().startswith(name)))
    await asyncio.gather(carry(reader, to_broker), carry(from_broker, writer))


async def run(port, cases):
    Case.__init__ = adapted(Case.__init__)
    server = await asyncio.start_server(lambda *ends: relay(port, *ends), "127.0.0.1")
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        results = await kosoku.run_fuzzingclient(url, cases, concurrency=16)
    except kosoku.FailureError as failure:
        results = failure.results
    for result in results:
        print(result.case_id, result.behavior.value, result.behavior_close.value, result.result,
              result.result_close, sep="\t", flush=True)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), sys.argv[2:]))
