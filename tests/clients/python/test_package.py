"""The packages: built from the programs under test, installed, started as their unit says, and removed without a trace."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
import tomllib

import pytest

from broker import BINARY, ROOT
from manager import Manager, unit

pytestmark = [
    pytest.mark.ringmq,
    pytest.mark.skipif(os.geteuid() != 0, reason="packages are installed by root"),
]

# The program that writes pages, if it is built already; otherwise cargo builds it.
PAGES = os.environ.get("RINGMQ_PAGES")
MQLOAD = os.environ.get("MQLOAD_BIN", os.path.join(ROOT, "target", "debug", "mqload"))
UNIT = os.path.join(ROOT, "deploy", "ringmq.service")
TRACES = ["/etc/ringmq", "/var/lib/ringmq", "/usr/bin/ringmq", "/usr/lib/systemd/system/ringmq.service",
          "/usr/share/doc/ringmq", "/usr/share/man/man1/ringmq.1.gz", "/usr/lib/sysusers.d/ringmq.conf",
          "/usr/bin/mqload", "/usr/share/mqload", "/usr/share/doc/mqload", "/usr/share/man/man1/mqload.1.gz"]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    pages = [os.path.join(ROOT, PAGES)] if PAGES else ["cargo", "run", "--quiet", "--package", "ringmq-pages", "--"]
    run(*pages, folder / "pages", cwd=ROOT)
    build = [os.path.join(ROOT, "deploy", "deb.py"), "--pages", folder / "pages", "--out", folder, "--compression", "none"]
    ringmq = run(*build, "--binary", BINARY)
    mqload = run(*build, "--binary", MQLOAD, "--manifest", os.path.join(ROOT, "loadgen", "Cargo.toml"))
    return [ringmq.strip(), mqload.strip()]


@pytest.fixture(scope="module")
def dpkg(tmp_path_factory):
    """dpkg on this machine, with a copy of its database: the packages that are here are known, but a trigger of theirs
    (the index of manual pages, which takes half a minute) is not run, and no entry of ours can stay behind."""
    database = tmp_path_factory.mktemp("dpkg") / "database"
    shutil.copytree("/var/lib/dpkg", database)
    (database / "triggers" / "File").write_text("")

    def carry_out(*words):
        # Images of containers leave out pages.
        run("dpkg", f"--admindir={database}", "--force-unsafe-io", "--path-include=/usr/share/*", *words)
    return carry_out


@pytest.fixture(scope="module")
def installed(packages, dpkg):
    assert not any(os.path.exists(path) for path in TRACES), "something of ours is installed already"
    accounts = [open(path, encoding="utf-8").read() for path in ("/etc/passwd", "/etc/group")]
    dpkg("--install", *packages)
    yield
    dpkg("--purge", "ringmq", "mqload")
    assert [path for path in TRACES if os.path.exists(path)] == []
    assert [open(path, encoding="utf-8").read() for path in ("/etc/passwd", "/etc/group")] == accounts


def test_the_unit_is_hardened():
    told = run("systemd-analyze", "security", "--offline=true", UNIT)
    exposure = float(re.search(r"exposure level for ringmq.service: ([0-9.]+)", told)[1])
    assert exposure < 2, told


def test_the_unit_is_sound(installed):
    done = subprocess.run(["systemd-analyze", "verify", "/usr/lib/systemd/system/ringmq.service"],
                          capture_output=True, text=True, check=False)
    about = [line for line in (done.stdout + done.stderr).splitlines() if "ringmq" in line]
    assert about == [] and done.returncode == 0, done.stderr


def test_the_installed_program_as_its_unit_starts_it(installed, tmp_path):
    settings = unit("/usr/lib/systemd/system/ringmq.service")
    user = pwd.getpwnam(settings["User"])
    os.chmod(tmp_path, 0o755)
    manager = Manager("/tmp")
    runtime = os.path.join("/run", settings["RuntimeDirectory"])
    os.makedirs(runtime, 0o750)
    os.chown(runtime, user.pw_uid, user.pw_gid)
    environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "2000000", "PATH": "/usr/bin:/bin"}
    log = open(tmp_path / "log", "w+", encoding="utf-8")
    process = subprocess.Popen(
        settings["ExecStart"].split(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
        user=user.pw_uid, group=user.pw_gid, extra_groups=[], umask=0o027,
    )
    try:
        at = manager.wait("READY=1")
        received = subprocess.Popen(["mosquitto_sub", "-h", "127.0.0.1", "-p", "1883", "-t", "a", "-C", "1", "-q", "1"],
                                    stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 20
        while received.poll() is None and time.monotonic() < deadline:
            run("mosquitto_pub", "-h", "127.0.0.1", "-p", "1883", "-t", "a", "-m", "hello", "-q", "1", "-r")
        assert received.communicate(timeout=20)[0] == "hello\n"
        assert "ready" in run("ringmq", "ctl", "status")
        at = manager.wait("WATCHDOG=1", at)
        reload = settings["ExecReload"].replace("$MAINPID", str(process.pid)).split()
        run(*reload)
        at = manager.wait("RELOADING=1", at)
        at = manager.wait("READY=1", at)
        assert os.stat("/var/lib/ringmq").st_uid == user.pw_uid and os.listdir("/var/lib/ringmq")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        manager.close()
        os.unlink(manager.path)
        shutil.rmtree(runtime)
        log.seek(0)
        print(log.read())


def completed(*words, program="ringmq"):
    """What bash makes of the last of these words behind a program."""
    line = [program, *words]
    return run("bash", "-c", f"source /usr/share/bash-completion/completions/{program}; COMP_WORDS=(" + " ".join(line) + "); "
               f"COMP_CWORD={len(words)}; _{program} {program} {line[-1]} {line[-2]}; echo ${{COMPREPLY[@]}}").strip()


def test_pages_completions_and_the_doctor(installed):
    assert r"queue\-messages\-max" in run("zcat", "/usr/share/man/man5/ringmq.toml.5.gz")
    assert "exit code" in run("zcat", "/usr/share/man/man1/ringmq-doctor.1.gz").lower()
    for page in ["ctl", "ctl-kick", "top", "token", "journal", "journal-repair", "import", "passwd"]:
        assert os.path.exists(f"/usr/share/man/man1/ringmq-{page}.1.gz"), page
    assert completed("--queue-m") == "--queue-messages-max --queue-memory"
    assert completed("to") == "token top"
    assert completed("ctl", "ki") == "kick"
    assert completed("ctl", "kick", "--end") == "--end-session"
    assert completed("top", "--on") == "--once"
    assert completed("journal", "rep") == "repair"
    assert completed("token", "--ro") == "--role"
    told = run("/usr/bin/ringmq", "--config", "/etc/ringmq/ringmq.toml", "--check-config")
    assert told.startswith("configuration ok")
    assert '\ndata-dir = "/var/lib/ringmq"  # in /etc/ringmq/ringmq.toml:' in told


def test_mqload_runs_what_its_package_brings(installed, start, tmp_path):
    broker = start(2)
    target = f"127.0.0.1:{broker.port}"
    told = run("/usr/bin/mqload", "pairs", "--clients", "2", "--rate", "200", "--duration", "500ms", "--qos", "1",
               "--unpinned", "--target", target)
    assert "expected 100, received 100, lost 0" in told
    scenarios = sorted(os.listdir("/usr/share/mqload/scenarios"))
    assert scenarios == sorted(os.listdir(os.path.join(ROOT, "loadgen", "scenarios")))
    checked = run("/usr/bin/mqload", "check", *[f"/usr/share/mqload/scenarios/{name}" for name in scenarios])
    assert len(checked.splitlines()) == len(scenarios)
    made = run("/usr/share/doc/mqload/examples/certificates.sh", tmp_path / "made")
    assert made == "" and sorted(os.listdir(tmp_path / "made")) == ["ca.pem", "mqload.key", "mqload.pem"]


def test_pages_and_completions_of_mqload(installed):
    assert r"\-\-find\-max" in run("zcat", "/usr/share/man/man1/mqload-pairs.1.gz")
    assert completed("pairs", "--find", program="mqload") == "--find-max"


def test_every_file_of_the_metadata_is_packed_for_rpm_too():
    """In the same place and with the same mode, but for the folder that each family of systems has for zsh."""
    with open(os.path.join(ROOT, "Cargo.toml"), "rb") as file:
        metadata = tomllib.load(file)["package"]["metadata"]
    of_deb = {source: (os.path.join("/", place, os.path.basename(source)) if place.endswith("/") else f"/{place}", mode)
              for source, place, mode in metadata["deb"]["assets"]}
    own = metadata["generate-rpm"]
    of_rpm = {asset["source"]: (asset["dest"], asset["mode"]) for asset in own["assets"]}
    for source, (place, mode) in of_rpm.items():
        place = os.path.join(place, os.path.basename(source)) if place.endswith("/") else place
        of_rpm[source] = place.replace("/zsh/site-functions/", "/zsh/vendor-completions/"), mode
    assert of_deb == of_rpm
    for source in of_deb:
        assert source.startswith("target/") or os.path.exists(os.path.join(ROOT, source)), source
    kept = {asset["dest"] for asset in own["assets"] if asset.get("config") == "noreplace"}
    assert kept == set(metadata["deb"]["conf-files"])
    for script in ("post_install_script", "pre_uninstall_script", "post_uninstall_script"):
        run("sh", "-n", os.path.join(ROOT, own[script]))


def test_a_profile_of_a_container_permits_io_uring_and_without_it_the_start_says_so(tmp_path):
    python = shutil.which("python3", path="/usr/bin")
    if subprocess.run([python, "-c", "import seccomp"], capture_output=True, check=False).returncode:
        pytest.skip("python3-seccomp is not installed")
    profile = os.path.join(ROOT, "deploy", "seccomp.json")
    for without, status, said in [("none", 0, " ready"), ("io_uring_setup", 1, "deploy/seccomp.json")]:
        log = tmp_path / without
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(
                [python, os.path.join(os.path.dirname(__file__), "under_seccomp.py"), profile, without, BINARY,
                 "--listen", "127.0.0.1:0", "--shards", "1"], stdout=out, stderr=out)
        deadline = time.monotonic() + 20
        while said not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == status and said in log.read_text(), (without, log.read_text())
