"""A client of the admin listener, by the standard library."""

import base64
import functools
import http.client
import json
import os
import re
import socket
import ssl
import subprocess

from broker import BINARY, ROOT, free_port
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


def closed(schema):
    """A schema that takes no property but those that it names."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(one) for name, one in schema.items()}
    if "properties" in schema and isinstance(schema.get("type"), str):
        made.setdefault("unevaluatedProperties", False)
    return made


@functools.cache
def described():
    """docs/openapi.json: its paths as patterns, and what is wrong with an answer by one of its schemas."""
    from jsonschema import Draft202012Validator, exceptions  # OpenAPI 3.1 has its schemas
    with open(os.path.join(ROOT, "docs", "openapi.json"), encoding="utf-8") as file:
        document = json.load(file)
    patterns = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path, methods) for path, methods in document["paths"].items()]
    components = closed(document["components"])

    def problem(schema, value):
        validator = Draft202012Validator({"components": components, **closed(schema)})
        found = exceptions.best_match(validator.iter_errors(value))
        return found and f"{found.json_path}: {found.message}"

    return patterns, problem


def check_description(method, target, answer):
    """Every answer of the API that a test gets is as its description says."""
    patterns, problem = described()
    asked = target.split("?", 1)[0]
    found = [methods for pattern, path, methods in patterns if asked == path or pattern.fullmatch(asked)]
    if not found or method.lower() not in found[0]:
        assert answer.status >= 400, (method, target, answer.status)
        return
    responses = found[0][method.lower()]["responses"]
    response = responses.get(str(answer.status)) or (responses["default"] if answer.status >= 400 else None)
    assert response, f"{method} {target} is not described to answer {answer.status}"
    kind = answer.headers["Content-Type"]
    content = response.get("content", {"text/plain": {}})
    assert kind in content, f"{method} {target} is not described to answer with {kind}"
    documents = {"application/x-ndjson": answer.body.splitlines, "text/plain": list}.get(kind, lambda: [answer.body])
    for document in documents():
        wrong = problem(content[kind].get("schema", {}), json.loads(document))
        assert not wrong, f"{method} {target}: {wrong}"


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
            answer = Answer(connection.getresponse())
            if target.startswith("/api/"):
                check_description(method, target, answer)
            return answer
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
