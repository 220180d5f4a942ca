"""Brokers with a TLS listener, and how tests speak to them."""

import socket
import ssl
import subprocess

import pytest

from authority import Authority
from broker import Broker, free_port
from client import DEADLINE_S, VERSIONS, Client


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.sign("server")
    made.sign("device")
    return made


def table(address, **options):
    """A [[listener]] of the configuration file."""
    lines = ["[[listener]]", f'address = "{address}"']
    for name, value in options.items():
        if isinstance(value, list):
            value = "[" + ", ".join(f'"{item}"' for item in value) + "]"
        elif isinstance(value, bool):
            value = str(value).lower()
        elif not isinstance(value, int):
            value = f'"{value}"'
        lines.append(f"{name.replace('_', '-')} = {value}")
    return "\n".join(lines) + "\n"


class TlsBroker(Broker):
    """A broker with a TLS listener besides the plain one."""

    def __init__(self, authority, shards=2, server=("server",), more="", options=None, **tls):
        self.tls_port = free_port()
        pairs = [(authority.path(f"{name}.pem"), authority.path(f"{name}.key")) for name in server]
        text = table(f"127.0.0.1:{self.tls_port}", transport=tls.pop("transport", "tls"),
                     tls_certificate=[pair[0] for pair in pairs],
                     tls_key=[pair[1] for pair in pairs], **tls)
        self.config = authority.path(f"ringmq-{self.tls_port}.toml")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text + more)
        super().__init__(shards, config=self.config, **(options or {}))


@pytest.fixture
def start_tls(authority):
    running = []

    def run(**options):
        running.append(TlsBroker(options.pop("by", authority), **options))
        return running[-1]

    yield run
    for one in running:
        one.close()


def context(authority, own=None, version=None):
    made = ssl.create_default_context(cafile=authority.ca)
    if version:
        made.minimum_version = made.maximum_version = version
    if own:
        made.load_cert_chain(*own)
    return made


def pair(authority, name):
    return authority.path(f"{name}.pem"), authority.path(f"{name}.key")


def secure(broker, context_, **options):
    """A paho client over TLS, not yet connected."""
    made = Client(broker, options.pop("client_id", "tls"), VERSIONS["5"], **options)
    made.broker = type("To", (), {"port": broker.tls_port})
    made.paho.tls_set_context(context_)
    return made


def s_client(broker, *arguments):
    """Output of one connection by openssl, without an error when it is refused."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.tls_port}", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    return done.stdout + done.stderr


def exchange(port, data, end=True):
    """Sends bytes and reads to the end."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain:
        received = b""
        try:
            plain.sendall(data)
            if end:
                plain.shutdown(socket.SHUT_WR)
            while piece := plain.recv(4096):
                received += piece
        except OSError:
            pass  # reset, or closed before we were done
        return received


def client_hello(authority):
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
