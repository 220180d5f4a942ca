"""mosquitto_pub and mosquitto_sub, as a user would call them."""

import shutil
import subprocess
import threading

import pytest

from client import DEADLINE_S

PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")
VERSIONS = ["31", "311", "5"]

pytestmark = pytest.mark.skipif(not (PUB and SUB), reason="mosquitto-clients is not installed")


class Tools:
    """Both programs against one broker."""

    def __init__(self, broker):
        self.to = ["-h", "127.0.0.1", "-p", str(broker.port)]
        self.running = []

    def publish(self, *arguments, stdin=None):
        subprocess.run([PUB, *self.to, *arguments], input=stdin, check=True, timeout=DEADLINE_S)

    def subscribe(self, count, *arguments):
        """Starts mosquitto_sub for `count` messages; returns when it has subscribed."""
        # By lines, or "Subscribed" would stay in its buffer.
        command = ["stdbuf", "-oL", SUB, *self.to, "-d", "-C", str(count), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.running.append(process)
        overdue = threading.Timer(DEADLINE_S, process.kill)
        overdue.start()
        try:
            for line in process.stdout:
                if b"Subscribed" in line:
                    return process
        finally:
            overdue.cancel()
        raise AssertionError("mosquitto_sub did not subscribe")

    def lines(self, process):
        """What it printed, without its debugging lines."""
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        return [line for line in output.decode().splitlines() if not line.startswith("Client ")]


@pytest.fixture
def tools(broker):
    made = Tools(broker)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("sub_version", VERSIONS)
@pytest.mark.parametrize("pub_version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_versions_and_qos(tools, name, sub_version, pub_version, qos):
    subscriber = tools.subscribe(1, "-V", sub_version, "-t", f"{name}/#", "-q", str(qos), "-v")
    tools.publish("-V", pub_version, "-t", f"{name}/t", "-m", "hello", "-q", str(qos))
    assert tools.lines(subscriber) == [f"{name}/t hello"]


def test_everything(start, name):
    """The first thing a user does: -t '#' -v."""
    tools = Tools(start(2))
    subscriber = tools.subscribe(3, "-t", "#", "-v")
    for qos in range(3):
        tools.publish("-t", f"a/{qos}", "-m", f"m{qos}", "-q", str(qos))
    assert tools.lines(subscriber) == ["a/0 m0", "a/1 m1", "a/2 m2"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_thousand_lines_in_order(tools, name, qos):
    lines = [f"line {n}" for n in range(1000)]
    subscriber = tools.subscribe(1000, "-t", name, "-q", str(qos))
    tools.publish("-t", name, "-l", "-q", str(qos), stdin="\n".join(lines).encode() + b"\n")
    assert tools.lines(subscriber) == lines


def test_large_payload(tools, name, tmp_path):
    content = "x" * 900_000
    path = tmp_path / "payload"
    path.write_text(content)
    subscriber = tools.subscribe(1, "-t", name, "-q", "1")
    tools.publish("-t", name, "-q", "1", "-f", str(path))
    assert tools.lines(subscriber) == [content]


@pytest.mark.parametrize("version", VERSIONS)
def test_retained(tools, name, version):
    tools.publish("-V", version, "-t", f"{name}/t", "-m", "kept", "-r", "-q", "1")
    subscriber = tools.subscribe(1, "-V", version, "-t", f"{name}/+", "-F", "%r %p")
    assert tools.lines(subscriber) == ["1 kept"]
    tools.publish("-V", version, "-t", f"{name}/t", "-n", "-r")


@pytest.mark.parametrize("version", VERSIONS)
def test_will(tools, name, version):
    observer = tools.subscribe(1, "-t", f"{name}/w", "-q", "1")
    dying = tools.subscribe(1, "-V", version, "-t", f"{name}/x", "--will-topic", f"{name}/w",
                            "--will-payload", "gone", "--will-qos", "1")
    dying.kill()
    assert tools.lines(observer) == ["gone"]


@pytest.mark.parametrize("version", VERSIONS)
def test_session(tools, name, version):
    keep = ["-V", version, "-i", f"{name[:12]}{name[-8:]}", "-c", "-t", name, "-q", "1"]
    if version == "5":
        keep += ["-x", "100"]
    first = tools.subscribe(1, *keep)
    tools.publish("-t", name, "-m", "0", "-q", "1")
    assert tools.lines(first) == ["0"]
    for n in range(1, 4):
        tools.publish("-t", name, "-m", str(n), "-q", "1")
    second = subprocess.run([SUB, *tools.to, *keep, "-C", "3"], capture_output=True, check=True,
                            timeout=DEADLINE_S)
    assert second.stdout.decode().split() == ["1", "2", "3"]


def test_v5_properties(tools, name):
    subscriber = tools.subscribe(1, "-V", "5", "-t", name, "-F", "%P|%C|%R|%D|%F|%p")
    tools.publish("-V", "5", "-t", name, "-m", "x", "-D", "publish", "user-property", "k", "v",
                  "-D", "publish", "content-type", "text", "-D", "publish", "response-topic", "r",
                  "-D", "publish", "correlation-data", "c",
                  "-D", "publish", "payload-format-indicator", "1")
    assert tools.lines(subscriber) == ["k:v|text|r|c|1|x"]


@pytest.mark.parametrize("version", VERSIONS)
def test_shared_subscription(tools, name, version):
    members = [tools.subscribe(10, "-V", version, "-t", f"$share/g/{name}", "-q", "1")
               for _ in range(3)]
    tools.publish("-t", name, "-l", "-q", "1",
                  stdin="".join(f"{n}\n" for n in range(30)).encode())
    seen = [int(line) for member in members for line in tools.lines(member)]
    assert sorted(seen) == list(range(30))


def test_many_subscribers(tools, name):
    """Twenty subscribers, each with its own filter."""
    subscribers = [tools.subscribe(1, "-t", f"{name}/{n}", "-q", str(n % 3)) for n in range(20)]
    for n in range(20):
        tools.publish("-t", f"{name}/{n}", "-m", str(n), "-q", "2")
    assert [tools.lines(s) for s in subscribers] == [[str(n)] for n in range(20)]
