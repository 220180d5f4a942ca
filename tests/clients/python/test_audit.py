"""scripts/audit.sh with databases of advisories that are made here, in the form of RustSec."""

import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from broker import ROOT

SCRIPT = os.path.join(ROOT, "scripts", "audit.sh")
CRATE = "libc"
AUDIT_S = 60

pytestmark = pytest.mark.ringmq


@pytest.fixture(params=["cargo-audit", "audit.py"])
def audit(request, tmp_path_factory):
    """Runs the script, once with each of what it may look up with; there is no way to the network."""
    programs = tmp_path_factory.mktemp("programs")
    names = ["cat", "dirname", "grep", "mktemp", "rm", "python3"]
    if request.param == "cargo-audit":
        if not shutil.which("cargo-audit"):
            pytest.skip("cargo-audit is not installed (cargo install cargo-audit --locked)")
        names += ["cargo", "cargo-audit"]
    for name in names:
        (programs / name).symlink_to(sys.executable if name == "python3" else shutil.which(name))
    return lambda database, **more: run(database, PATH=str(programs), **more)


def read_toml(*path):
    with open(os.path.join(ROOT, *path), "rb") as file:
        return tomllib.load(file)


def locked_version(crate):
    packages = read_toml("Cargo.lock")["package"]
    return next(package["version"] for package in packages if package["name"] == crate)


def advise(database, number, crate, patched, unaffected="", more=""):
    """An advisory about every version of a crate but those that are listed."""
    folder = database / "crates" / crate
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}.md").write_text(f"""```toml
[advisory]
id = "{number}"
package = "{crate}"
date = "2020-01-01"
{more}
[versions]
patched = [{patched}]
unaffected = [{unaffected}]
```

# Made for a test

Nothing is wrong with it.
""", encoding="utf-8")


def run(database, **more):
    """Status and output."""
    closed = "http://127.0.0.1:9"
    environment = {**os.environ, "ADVISORY_DB": str(database), "CARGO_NET_OFFLINE": "true",
                   "HTTPS_PROXY": closed, "https_proxy": closed, **more}
    done = subprocess.run(["/bin/sh", SCRIPT], env=environment, capture_output=True, text=True,
                          timeout=AUDIT_S, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_advisory_without_a_patched_version_is_named(audit, tmp_path):
    version = locked_version(CRATE)
    advise(tmp_path, "RUSTSEC-2020-9001", CRATE, "")
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, f'">= {version}"')
    advise(tmp_path, "RUSTSEC-2020-9003", CRATE, f'"> {version}"')
    status, output = audit(tmp_path)
    assert status == 1 and CRATE in output and "update the dependency" in output, output
    named = [number for number in (9001, 9002, 9003) if f"RUSTSEC-2020-{number}" in output]
    assert named == [9001, 9003], output


def test_patched_versions_are_not_named(audit, tmp_path):
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, f'">= {locked_version(CRATE)}"')
    advise(tmp_path, "RUSTSEC-2020-9004", "no-dependency-of-ringmq", "")
    status, output = audit(tmp_path)
    assert status == 0 and "nothing was found in Cargo.lock" in output, output


def test_what_was_withdrawn_or_never_concerned_this_version_is_not_named(audit, tmp_path):
    advise(tmp_path, "RUSTSEC-2020-9005", CRATE, "", more='withdrawn = "2020-01-02"')
    advise(tmp_path, "RUSTSEC-2020-9006", CRATE, "", unaffected=f'"<= {locked_version(CRATE)}"')
    status, output = audit(tmp_path)
    assert status == 0, output


@pytest.mark.parametrize("crate", [CRATE, "tokio"])
def test_requirements_mean_what_they_mean_to_cargo(audit, tmp_path, crate):
    major, minor, patch = (int(number) for number in locked_version(crate).split("."))
    assert (major > 0) == (crate != CRATE) and minor > 0, "another crate is needed"
    own = f"{major}.{minor}.{patch}"
    later = f"{major}.{minor}.{patch + 1}"
    has_it = [f">= {major}.{minor}", f"^{major}.{minor}", f"^{own}", f"~{own}", f"= {own}", f"<= {own}", f"< {later}",
              f"< {major}.{minor + 1}.0", f"> {own}-rc.1", f">= {major}.{minor}.0, < {later}", f'<{own}", "^{own}']
    has_it_not = [f"> {own}", f"< {own}", f"= {later}", f"= {major}.{minor}.0", f"^{later}", f"~{major}.{minor - 1}.0",
                  f"^{major + 1}.0.0", f"< {own}-rc.1", f">= {major}.{minor}.0, < {own}", f">= {major}.{minor + 1}"]
    (has_it if major else has_it_not).append(f"^{major}.{minor - 1}.0")
    for number, requirement in enumerate(has_it + has_it_not):
        advise(tmp_path, f"RUSTSEC-2020-{8000 + number}", crate, f'"{requirement}"')
    status, output = audit(tmp_path)
    named = [requirement for number, requirement in enumerate(has_it + has_it_not)
             if f"RUSTSEC-2020-{8000 + number}" in output]
    assert status == 1 and sorted(named) == sorted(has_it_not), output


def test_what_audit_toml_lists_is_known(audit, tmp_path):
    known = read_toml(".cargo", "audit.toml")["advisories"]["ignore"]
    for number in known:
        advise(tmp_path, number, CRATE, "")
    status, output = audit(tmp_path)
    assert known and status == 0, output


def test_a_database_that_cannot_be_read_is_no_finding(audit, tmp_path):
    advise(tmp_path, "RUSTSEC-2020-9002", CRATE, "no version")
    status, output = audit(tmp_path)
    assert status == 2 and "nothing was looked up" in output, output


def test_without_a_database_it_says_so(audit, tmp_path):
    status, output = audit(tmp_path, CARGO_HOME=str(tmp_path))
    assert status == 2 and "nothing was looked up" in output and "ADVISORY_DB" in output, output
