"""SIGHUP reads everything again: what can change does, what cannot is named, and a mistake changes nothing."""

import signal
import socket
import time

import pytest

import raw as mqtt
from broker import free_port
from test_accounts import log_in, passwd
from test_service import START_S, Service

pytestmark = pytest.mark.ringmq


class Live(Service):
    """A broker whose file is written anew."""

    def __init__(self, folder, text):
        super().__init__(folder, text)
        self.path = folder / "ringmq.toml"
        self.wait_log("INFO ready")

    def reload(self, text, said):
        """Writes the file and waits for a line; returns what was logged."""
        since = len(self.log())
        self.path.write_text(text, encoding="utf-8")
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + START_S
        while said not in self.log()[since:]:
            assert time.monotonic() < end and self.process.poll() is None, self.log()
            time.sleep(0.01)
        return self.log()[since:]


@pytest.fixture
def live(tmp_path):
    running = []

    def run(text):
        running.append(Live(tmp_path, text))
        return running[-1]

    yield run
    for one in running:
        one.close()


APPLIED, REFUSED = "were read again", "nothing has changed: the old values stay in force"


class At:
    def __init__(self, port):
        self.port = port


def connected(port, version=5, client_id="c"):
    raw = mqtt.Raw(At(port), version)
    raw.connect(client_id)
    return raw


def refused(port):
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 2).close()


def test_listeners_come_and_go_and_connections_of_others_stay(live, tmp_path):
    first, second, third = free_port(), free_port(), free_port()
    path = tmp_path / "socket"
    service = live(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{second}"]\n')
    stays, goes = connected(first, client_id="stays"), connected(second, client_id="goes")
    log = service.reload(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{third}"]\n'
                         f'[[listener]]\naddress = "unix:{path}"\n', APPLIED)
    assert f"listening on 127.0.0.1:{third}" in log and f"no longer listening on 127.0.0.1:{second}" in log
    # Connections stay, those of the listener that has gone, too.
    stays.ping()
    goes.ping()
    for index in range(8):  # on each shard
        connected(third, client_id=f"new{index}").ping()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(str(path))
    refused(second)
    goes.close()
    # Back again, and the Unix socket gone with its file.
    service.reload(f'listen = ["127.0.0.1:{first}", "127.0.0.1:{second}"]\n', APPLIED)
    assert not path.exists()
    for index in range(8):
        connected(second, client_id=f"again{index}").ping()
    refused(third)
    stays.ping()


def test_a_mistake_anywhere_changes_nothing(live, tmp_path):
    port, other, taken = free_port(), free_port(), free_port()
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite a\n", encoding="utf-8")
    begin = f'listen = "127.0.0.1:{port}"\nacl-file = "{acl}"\n'
    service = live(begin)
    client = connected(port)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", taken))
        holder.listen()
        mistakes = {
            "colour: no such option": begin + "colour = 1\n",
            "shards: 0 is too small": begin + "shards = 0\n",
            "cannot be read": begin + f'[[listener]]\naddress = "127.0.0.1:{other}"\ntransport = "tls"\n'
                                      f'tls-certificate = "{tmp_path}/none"\ntls-key = "{tmp_path}/none"\n',
            f"cannot listen on 127.0.0.1:{taken}": begin + f'[[listener]]\naddress = "127.0.0.1:{other}"\n'
                                                           f'[[listener]]\naddress = "127.0.0.1:{taken}"\n',
        }
        for said, text in mistakes.items():
            acl.write_text("topic readwrite b\n", encoding="utf-8")
            assert said in service.reload(text, REFUSED), said
            assert client.subscribe(("a", 0)) == b"\0" and client.subscribe(("b", 0), packet_id=2) == b"\x87"
            refused(other)
    # Without a mistake the rules of before end what they do not allow.
    service.reload(begin, APPLIED)
    assert [body[0] for first, body in client.expect_end() if first == 0xE0] == [0x98]
    assert connected(port).subscribe(("b", 0)) == b"\0"


def test_limits_levels_and_accounts_change_and_a_restart_is_named(live, tmp_path):
    port = free_port()
    begin = f'listen = "127.0.0.1:{port}"\n'
    service = live(begin + "topic-levels-max = 2\nconnections-max = 100\n")
    client = connected(port)
    assert client.subscribe(("a/b/c", 0)) == b"\x8f"
    log = service.reload(begin + 'topic-levels-max = 3\nconnections-max = 1\nlog-level = "debug"\nshards = 1\n', APPLIED)
    assert "reload: topic-levels-max: 3, 2 before" in log
    assert "reload: shards stays" not in log  # the command line overrides the file
    assert client.subscribe(("a/b/c", 0), packet_id=2) == b"\0"
    # One connection is open, and one is allowed.
    with socket.create_connection(("127.0.0.1", port), START_S) as late:
        late.settimeout(START_S)
        assert late.recv(1) == b""
    # Accounts where there were none: threads that judge logins begin to run.
    accounts = tmp_path / "passwd"
    passwd("-b", "-c", "--rounds", 100, accounts, "ann", "one")
    log = service.reload(begin + f'password-file = "{accounts}"\nmemory-max = "9GiB"\nlog-level = "debug"\n', APPLIED)
    assert "memory-max stays 0" in log and "needs a restart" in log
    assert log_in(At(port), "c1", "ann", "one", 5)[1] == 0
    assert log_in(At(port), "c2", "ann", "two", 5)[1] == 0x86
    with pytest.raises(AssertionError):
        connected(port)
    service.wait_log("DEBUG")
