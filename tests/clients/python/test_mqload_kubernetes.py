"""The example for Kubernetes with TLS between coordinator and agents: as its schema wants it, and run through its tunnels."""

import copy
import json
import os
import shutil
import socket
import ssl
import subprocess
import time

import kubernetes_validate
import pytest
import yaml

from broker import ROOT, free_port

pytestmark = pytest.mark.ringmq

PROGRAMS = os.path.join(ROOT, "target", "debug")
MQLOAD = os.environ.get("MQLOAD_BIN", os.path.join(PROGRAMS, "mqload"))
DEPLOY = os.path.join(ROOT, "deploy")
MANIFEST = os.path.join(DEPLOY, "mqload", "kubernetes.yaml")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def documents():
    with open(MANIFEST, encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


def test_the_manifest_is_what_kubernetes_takes():
    # The oldest that has sidecars, and the newest that is known.
    for version in ("1.29", kubernetes_validate.latest_version()):
        for document in documents():
            kubernetes_validate.validate(document, version, strict=True)
    wrong = copy.deepcopy(documents()[2])
    wrong["spec"]["template"]["spec"]["containers"][0]["argument"] = ["agent"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.29", strict=True)


def test_what_the_manifest_names_is_there():
    config, service, agents, job = documents()
    named = [container for owner in (agents, job) for key in ("containers", "initContainers")
             for container in owner["spec"]["template"]["spec"].get(key, [])]
    assert [container["name"] for container in named] == ["agent", "stunnel", "mqload", "stunnel"]
    for container in named:
        files = {f"/etc/mqload/{name}" for name in config["data"]}
        assert container.get("command", ["", "/etc/mqload/run.conf"])[1] in files
    # Each agent has a tunnel at the coordinator, and the Service its port.
    count = agents["spec"]["replicas"]
    given = next(word for word in named[2]["args"] if word.startswith("--agents="))
    accepts = [line.split("127.0.0.1:")[1] for line in config["data"]["run.conf"].splitlines() if "accept" in line]
    assert given == "--agents=" + ",".join(f"127.0.0.1:{port}" for port in accepts) and len(accepts) == count
    connects = [line.split(" = ")[1] for line in config["data"]["run.conf"].splitlines() if "connect" in line]
    name, port = agents["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert connects == [f"{name}-{at}.{service['metadata']['name']}:{port}" for at in range(count)]
    assert f"accept = {port}\n" in config["data"]["agent.conf"]
    # What each container is started with is understood.
    for container in named:
        if "args" in container:
            assert "Usage" in run(MQLOAD, container["args"][0], "--help")
            done = subprocess.run([MQLOAD, *container["args"], "--help"], capture_output=True, check=False)
            assert done.returncode == 0, (container["args"], done.stderr)


def listens(port, process):
    for _ in range(400):
        assert process.poll() is None, "it ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


@pytest.fixture
def processes():
    running = []
    yield running
    for process in running:
        process.kill()
        process.wait()


def test_a_run_over_the_tunnels_of_the_manifest(processes, start, tmp_path):
    """The ConfigMap's tunnels with other ports and places, and the Job's arguments with smaller numbers."""
    stunnel = shutil.which("stunnel4") or shutil.which("stunnel")
    assert stunnel, "stunnel is missing: apt-get install stunnel4"
    config, _, _, job = documents()
    run(os.path.join(DEPLOY, "mqload", "certificates.sh"), tmp_path / "tls")
    environment = {**os.environ, "MQLOAD_TOKEN": "a secret of tests"}

    def tunnel(name, **places):
        text = config["data"]["run.conf" if name == "run" else "agent.conf"].replace("/tls/", f"{tmp_path}/tls/")
        for old, new in places.values():
            assert old in text, (old, text)
            text = text.replace(old, new)
        path = tmp_path / f"{name}.conf"
        path.write_text(text)
        processes.append(subprocess.Popen([stunnel, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return processes[-1]

    outside = []
    for at in range(2):
        inner, outer = free_port(), free_port()
        processes.append(subprocess.Popen([MQLOAD, "agent", "--listen", f"127.0.0.1:{inner}"], env=environment,
                                          stdout=subprocess.DEVNULL))
        listens(inner, processes[-1])
        listens(outer, tunnel(f"agent-{at}", accept=("accept = 7884", f"accept = 127.0.0.1:{outer}"),
                              connect=("127.0.0.1:7883", f"127.0.0.1:{inner}")))
        outside.append(outer)
    own = [free_port(), free_port()]
    listens(own[0], tunnel("run", accept=("127.0.0.1:7900", f"127.0.0.1:{own[0]}"),
                           other=("127.0.0.1:7901", f"127.0.0.1:{own[1]}"),
                           first=("mqload-agent-0.mqload-agent:7884", f"127.0.0.1:{outside[0]}"),
                           second=("mqload-agent-1.mqload-agent:7884", f"127.0.0.1:{outside[1]}")))
    small = {"--target": f"127.0.0.1:{start(2).port}", "--clients": "6", "--rate": "300", "--duration": "1s",
             "--agents": f"127.0.0.1:{own[0]},127.0.0.1:{own[1]}"}
    words = [word.split("=", 1) for word in job["spec"]["template"]["spec"]["containers"][0]["args"]]
    words = ["=".join([word[0], small.get(word[0], word[-1])]) if len(word) == 2 else word[0] for word in words]
    result = json.loads(run(MQLOAD, *words, "--unpinned", env=environment, timeout=60))
    assert len(result["agents"]) == 2 and result["verdict"] == "passed"
    assert result["truth"]["received"][1] == 300
    # Who has no certificate of the authority comes to no agent: an alert, and not what an agent does to the silent.
    context = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.pem")
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", outside[0])) as plain:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            with context.wrap_socket(plain) as secured:
                secured.settimeout(20)
                secured.recv(1)
