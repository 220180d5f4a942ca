"""Fixtures: a broker for each number of shards, names of its own for each test."""

import inspect
import re
import uuid

import pytest

from broker import IS_MOSQUITTO, Broker, allow_many_files
from client import VERSIONS, Client
from raw import Raw

SHARDS = [1] if IS_MOSQUITTO else [1, 2, 4]

allow_many_files()


def pytest_configure(config):
    config.addinivalue_line("markers", "ringmq: looks at something Mosquitto does otherwise")


# What takes long begins first where several processes share the files.
LONG = ["late", "cluster", "durable", "bridges", "process", "admin_page", "package", "mqload_package", "retained", "autobahn"]


def pytest_collection_modifyitems(items):
    ranks = {f"test_{name}.py": rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONG)))
    if IS_MOSQUITTO:
        for item in items:
            if item.get_closest_marker("ringmq"):
                item.add_marker(pytest.mark.skip(reason="Mosquitto does it otherwise"))


def pytest_generate_tests(metafunc):
    if "broker" not in metafunc.fixturenames:
        return
    # A test that starts brokers of its own needs the common one once at most.
    asked = inspect.signature(metafunc.function).parameters
    shards = SHARDS[:1] if "start" in asked and "broker" not in asked else SHARDS
    metafunc.parametrize("broker", shards, indirect=True, scope="session", ids=lambda n: f"shards{n}")


@pytest.fixture(scope="session")
def broker(request):
    """A broker with default options, shared by all tests."""
    running = Broker(request.param)
    yield running
    ended = not running.is_running()
    log = running.log()
    running.close()
    assert not ended, f"the broker ended during the tests: {log[-4000:]}"


@pytest.fixture
def start():
    """Starts brokers with options of their own; all end with the test."""
    running = []

    def run(shards=2, **options):
        running.append(Broker(shards, **options))
        return running[-1]

    yield run
    for one in running:
        one.close()


@pytest.fixture
def name(request):
    """A prefix for the topics and client ids of one test."""
    plain = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    return f"{plain[:40]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(broker, name):
    """Makes connected clients; the client id gets the test's name in front."""
    made = []

    def make(client_id, version="3.1.1", to=None, **options):
        one = Client(to or broker, f"{name}-{client_id}", VERSIONS[version], **options)
        made.append(one)
        return one.connect()

    yield make
    for one in made:
        one.close()


@pytest.fixture
def raw(broker):
    """Makes raw connections."""
    made = []

    def make(version=4, to=None, **options):
        made.append(Raw(to or broker, version, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
