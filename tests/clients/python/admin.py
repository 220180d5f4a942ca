"""A client of the admin listener, by the standard library."""

import base64
import http.client
import json
import socket
import ssl
import subprocess

from broker import BINARY, free_port
from client import DEADLINE_S


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self.path)


class Answer:
    """A response, read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Admin:
    """Requests to one admin listener; each on a connection of its own."""

    def __init__(self, port=None, path=None, authority=None):
        self.port, self.path = port, path
        self.context = None
        if authority:
            self.context = ssl.create_default_context(cafile=authority)
            self.context.check_hostname = False

    def connection(self):
        if self.path:
            return UnixConnection(self.path)
        if self.context:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)

    def request(self, method, target, body=None, token=None, login=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        connection = self.connection()
        try:
            connection.request(method, target, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target, **arguments):
        return self.request("GET", target, **arguments)


def start_admin(start, shards=2, host="127.0.0.1", **options):
    """A broker with an admin listener, and its client."""
    port = free_port()
    broker = start(shards, admin_listen=f"{host}:{port}", **options)
    return broker, Admin(port)


def token(file, name, *arguments):
    """A bearer token made by the program."""
    done = subprocess.run([BINARY, "token", str(file), name, *arguments], capture_output=True, text=True,
                          timeout=DEADLINE_S, check=True)
    return done.stdout.strip()
