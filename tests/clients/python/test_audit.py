"""scripts/audit.sh with databases of advisories that are made here, in the form of RustSec."""

import os
import shutil
import subprocess
import tomllib

import pytest

from broker import ROOT

SCRIPT = os.path.join(ROOT, "scripts", "audit.sh")
CRATE = "libc"
AUDIT_S = 60

pytestmark = [
    pytest.mark.ringmq,
    pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed"),
]
needs_cargo_audit = pytest.mark.skipif(
    not shutil.which("cargo-audit"),
    reason="cargo-audit is not installed (cargo install cargo-audit --locked)",
)


def read_toml(*path):
    with open(os.path.join(ROOT, *path), "rb") as file:
        return tomllib.load(file)


def locked_version(crate):
    packages = read_toml("Cargo.lock")["package"]
    return next(package["version"] for package in packages if package["name"] == crate)


def advise(database, number, crate, patched):
    """An advisory about every version of a crate but those that `patched` lists."""
    folder = database / "crates" / crate
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}.md").write_text(f"""```toml
[advisory]
id = "{number}"
package = "{crate}"
date = "2020-01-01"

[versions]
patched = [{patched}]
```

# Made for a test

Nothing is wrong with it.
""", encoding="utf-8")


def audit(database, **more):
    """Status and output, with no way to the network."""
    closed = "http://127.0.0.1:9"
    environment = {**os.environ, "ADVISORY_DB": str(database), "CARGO_NET_OFFLINE": "true",
                   "HTTPS_PROXY": closed, "https_proxy": closed, **more}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True,
                          timeout=AUDIT_S, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_cargo_audit
def test_an_advisory_without_a_patched_version_is_named(tmp_path):
    version = locked_version(CRATE)
    advise(tmp_path, "RUSTSEC-2020-9001", CRATE, "")
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, f'">= {version}"')
    advise(tmp_path, "RUSTSEC-2020-9003", CRATE, f'"> {version}"')
    status, output = audit(tmp_path)
    assert status == 1 and CRATE in output and "update the dependency" in output, output
    named = [number for number in (9001, 9002, 9003) if f"RUSTSEC-2020-{number}" in output]
    assert named == [9001, 9003], output


@needs_cargo_audit
def test_patched_versions_are_not_named(tmp_path):
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, f'">= {locked_version(CRATE)}"')
    advise(tmp_path, "RUSTSEC-2020-9004", "no-dependency-of-ringmq", "")
    status, output = audit(tmp_path)
    assert status == 0 and "nothing was found in Cargo.lock" in output, output


@needs_cargo_audit
def test_what_audit_toml_lists_is_known(tmp_path):
    known = read_toml(".cargo", "audit.toml")["advisories"]["ignore"]
    for number in known:
        advise(tmp_path, number, CRATE, "")
    status, output = audit(tmp_path)
    assert known and status == 0, output


@needs_cargo_audit
def test_a_database_that_cannot_be_read_is_no_finding(tmp_path):
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, "no version")
    status, output = audit(tmp_path)
    assert status == 2 and "nothing was looked up" in output, output


def test_without_a_database_it_says_so(tmp_path):
    status, output = audit(tmp_path, CARGO_HOME=str(tmp_path))
    assert status == 2 and "nothing was looked up" in output and "ADVISORY_DB" in output, output
