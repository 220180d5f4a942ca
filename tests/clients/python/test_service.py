"""As a service: the manager is notified, sockets are inherited, the log is what journald and machines read."""

import json
import os
import signal
import socket
import subprocess
import time
import types

import pytest

import raw as mqtt
from broker import BINARY, free_port
from manager import Manager

pytestmark = pytest.mark.ringmq

START_S = 20


class Service:
    """A broker with an environment, and sockets that are its descriptors from 3 on."""

    def __init__(self, folder, text, environment=None, sockets=()):
        path = folder / "ringmq.toml"
        path.write_text(text, encoding="utf-8")
        self.log_path = folder / "log"
        variables = {**os.environ, **(environment or {})}

        def hand_over():
            for index, inherited in enumerate(sockets):
                os.dup2(inherited.fileno(), 3 + index)

        command = [BINARY, "--config", str(path), "--shards", "2"]
        if sockets:  # the process number of the program is that of the shell
            variables["LISTEN_FDS"] = str(len(sockets))
            command = ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', *command]
        with open(self.log_path, "ab") as log:
            if environment and environment.get("JOURNAL_STREAM") == "log":
                seen = os.fstat(log.fileno())
                variables["JOURNAL_STREAM"] = f"{seen.st_dev}:{seen.st_ino}"
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables,
                                            preexec_fn=hand_over, close_fds=False)

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def wait_log(self, text):
        end = time.monotonic() + START_S
        while text not in self.log():
            assert time.monotonic() < end and self.process.poll() is None, self.log()
            time.sleep(0.01)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def launch(tmp_path):
    running = []

    def run(text, **options):
        running.append(Service(tmp_path, text, **options))
        return running[-1]

    yield run
    for one in running:
        one.close()


@pytest.fixture
def manager(tmp_path):
    one = Manager(tmp_path)
    yield one
    one.close()


def listening(port=0):
    one = socket.socket()
    one.bind(("127.0.0.1", port))
    one.listen(16)
    os.set_inheritable(one.fileno(), True)
    return one


def ping(port):
    with socket.create_connection(("127.0.0.1", port), START_S) as client:
        client.settimeout(START_S)
        client.sendall(mqtt.connect("service"))
        assert client.recv(4) == b"\x20\x02\0\0"


def test_the_manager_is_notified_of_ready_reload_watchdog_and_stop(launch, manager, tmp_path):
    port = free_port()
    text = f'listen = "127.0.0.1:{port}"\ndata-dir = "{tmp_path}/data"\n'
    # The watchdog's time is short here, so that it is fed often.
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    service = launch(text, environment=environment)
    at = manager.wait("READY=1")
    socket.create_connection(("127.0.0.1", port), 5).close()  # listens before it says so
    assert any(line.startswith("STATUS=") for line in manager.received[at - 1])
    for _ in range(3):
        at = manager.wait("WATCHDOG=1", at)
    service.process.send_signal(signal.SIGHUP)
    at = manager.wait("RELOADING=1", at)
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.received[at - 1])
    at = manager.wait("READY=1", at)
    service.process.send_signal(signal.SIGTERM)
    manager.wait("STOPPING=1", at)
    assert service.process.wait(START_S) == 0






def test_a_manager_that_cannot_be_reached_is_a_warning(launch, tmp_path):
    port = free_port()
    service = launch(f'listen = "127.0.0.1:{port}"\n', environment={"NOTIFY_SOCKET": f"{tmp_path}/nobody"})
    service.wait_log("the service manager cannot be reached")
    service.wait_log("INFO ready")
    ping(port)


def test_a_listener_takes_the_socket_of_its_name(launch):
    with listening() as first, listening() as second:
        port = second.getsockname()[1]
        text = ('[[listener]]\naddress = "fd:other"\nauthentication = "anonymous"\nallow-anonymous = true\n'
                '[[listener]]\naddress = "fd:mqtt"\nallow-anonymous = true\n')
        service = launch(text, environment={"LISTEN_FDNAMES": "other:mqtt"}, sockets=[first, second])
        service.wait_log(f"listening on 127.0.0.1:{port}")
        service.wait_log("INFO ready")
        ping(port)
        # The socket outlives the broker: a client waits for the next one.
        service.process.terminate()
        assert service.process.wait(START_S) == 0
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


@pytest.mark.parametrize("text, names, said", [
    ('listen = "127.0.0.1:0"\n', "mqtt", 'no listener uses it: give one address = "fd:mqtt"'),
    ('[[listener]]\naddress = "fd:mqtt"\nallow-anonymous = true\n[[listener]]\naddress = "fd:tls"\nallow-anonymous = true\n',
     "mqtt", 'no socket of the name "tls" was handed over'),
])
def test_sockets_and_listeners_that_do_not_belong_together(launch, text, names, said):
    with listening() as one:
        service = launch(text, environment={"LISTEN_FDNAMES": names}, sockets=[one])
        assert service.process.wait(START_S) == 1
        assert said in service.log()


def test_lines_for_journald_begin_with_their_priority(launch):
    service = launch('listen = "127.0.0.1:0"\n', environment={"JOURNAL_STREAM": "log"})
    service.wait_log("ready")
    lines = service.log().splitlines()
    assert lines and all(line.startswith(("<6>", "<4>")) for line in lines), lines
    assert "<6>ready" in lines


def test_a_log_for_machines(launch):
    service = launch('listen = "127.0.0.1:0"\nlog-format = "json"\n')
    service.wait_log('"ready"')
    lines = [json.loads(line) for line in service.log().splitlines()]
    assert {"timestamp", "level", "message"} <= lines[-1].keys()
    assert lines[-1]["message"] == "ready"


class Store:
    """The manager's end of its descriptor store: what is notified of, with the descriptors beside it."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(START_S)

    def wait(self, line):
        """Lines and descriptors of the next message that has this line."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 4)
            lines = data.decode().splitlines()
            if line in lines:
                return lines, descriptors

    def close(self):
        self.socket.close()


@pytest.fixture
def store(tmp_path):
    one = Store(tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize("ends_by", [signal.SIGKILL, signal.SIGTERM], ids=["crash", "restart"])
def test_clients_wait_while_the_process_is_started_anew(launch, store, ends_by):
    port = free_port()
    text = f'listen = "127.0.0.1:{port}"\n'
    service = launch(text, environment={"NOTIFY_SOCKET": store.path})
    lines, [descriptor] = store.wait("FDSTORE=1")
    name = f"ringmq-kept-127.0.0.1_{port}"
    assert f"FDNAME={name}" in lines
    store.wait("READY=1")
    with socket.socket(fileno=descriptor) as kept:
        service.process.send_signal(ends_by)
        service.process.wait(START_S)
        waits = mqtt.Raw(types.SimpleNamespace(port=port), 4)  # nobody accepts it yet
        waits.send(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01w")
        following = launch(text, environment={"NOTIFY_SOCKET": store.path, "LISTEN_FDNAMES": name}, sockets=[kept])
        assert waits.expect(0x20) == b"\x00\x00"
        assert store.wait("FDSTORE=1")[0] == lines, "it is kept by the same name"
        assert "was kept by the service manager" not in following.log()


def test_a_socket_that_is_not_configured_any_more_is_not_kept(launch, store):
    with listening() as kept:
        os.set_inheritable(kept.fileno(), False)  # the broker has one descriptor of it
        port = kept.getsockname()[1]
        name = f"ringmq-kept-127.0.0.1_{port}"
        service = launch('listen = "127.0.0.1:0"\n', sockets=[kept],
                         environment={"NOTIFY_SOCKET": store.path, "LISTEN_FDNAMES": name})
        assert f"FDNAME={name}" in store.wait("FDSTOREREMOVE=1")[0]
        service.wait_log("INFO ready")
        assert f"{name} was kept by the service manager, and no listener is there any more" in service.log()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
