#!/usr/bin/env python3
"""Builds the .deb from [package.metadata.deb] of Cargo.toml and programs that are built already.

    deploy/deb.py --binary target/release/ringmq --pages target/pages --out FOLDER
    deploy/deb.py --manifest loadgen/Cargo.toml --binary target/release/mqload --pages target/pages --out FOLDER

What cargo-deb makes of the same metadata, in a second instead of the minutes that installing cargo-deb takes: the test
command builds a package each time. Prints the name of the file.
"""

import argparse
import glob
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE, PAGES = "target/release/", "target/pages/"


def sources(pattern: str, root: Path, binary: Path, pages: Path) -> list[Path]:
    if pattern.startswith(RELEASE):
        return [binary]
    if pattern.startswith(PAGES):
        pattern = str(pages / pattern.removeprefix(PAGES))
    else:
        pattern = str(root / pattern)
    found = [Path(name) for name in sorted(glob.glob(pattern))]
    if not found:
        raise SystemExit(f"deb.py: there is no {pattern}")
    return found


def put(source: Path, to: Path, mode: int) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if "/share/man/" in str(to):  # policy 12.1
        to = to.with_name(to.name + ".gz")
        to.write_bytes(gzip.compress(source.read_bytes(), 9, mtime=0))
    else:
        shutil.copyfile(source, to)
    to.chmod(mode)


def control(package: dict, deb: dict, tree: Path) -> str:
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    fields = {
        "Package": package["name"],
        "Version": package["version"] + "-1",
        "Architecture": architecture,
        "Maintainer": deb["maintainer"],
        "Installed-Size": str(-(-size // 1024)),
        "Depends": deb["depends"],
        **({"Suggests": deb["suggests"]} if "suggests" in deb else {}),
        "Section": deb["section"],
        "Priority": deb["priority"],
        "Description": package["description"],
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    for paragraph in deb["extended-description"].splitlines():
        lines += [" " + line for line in textwrap.wrap(paragraph, 78)] + [" ."]
    return "\n".join(lines[:-1]) + "\n"


def changelog(package: dict, deb: dict) -> bytes:
    """Debian's form, with the package's own text beside it."""
    date = subprocess.check_output(["date", "--rfc-email", "--date", "@0"], text=True).strip()
    text = (
        f"{package['name']} ({package['version']}-1) unstable; urgency=medium\n\n"
        f"  * See /usr/share/doc/{package['name']}/NEWS.md.gz.\n\n -- {deb['maintainer']}  {date}\n"
    )
    return text.encode()


def build(manifest: Path, binary: Path, pages: Path, out: Path, compression: str) -> Path:
    package = tomllib.loads((ROOT / manifest).read_text())["package"]
    program, root = package["name"], (ROOT / manifest).parent
    deb = package["metadata"]["deb"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for pattern, dest, mode in deb["assets"]:
            for source in sources(pattern, root, binary, pages):
                to = tree / (dest + source.name if dest.endswith("/") else dest)
                if pattern.startswith(RELEASE):
                    to = tree / (dest + Path(pattern).name)
                put(source, to, int(mode, 8))
        doc = tree / "usr/share/doc" / program
        put(root / deb["license-file"][0], doc / "copyright", 0o644)
        for name, content in [
            ("changelog.Debian.gz", changelog(package, deb)),
            ("NEWS.md.gz", (root / deb["changelog"]).read_bytes()),
        ]:
            (doc / name).write_bytes(gzip.compress(content, 9, mtime=0))
        subprocess.run(["strip", "--strip-unneeded", tree / "usr/bin" / program], check=True)
        about = tree / "DEBIAN"
        sums = [
            f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
            for path in sorted(tree.rglob("*"))
            if path.is_file() and not str(path.relative_to(tree)).startswith("etc/")
        ]
        text = control(package, deb, tree)
        about.mkdir()
        (about / "control").write_text(text)
        (about / "md5sums").write_text("".join(sums))
        (about / "conffiles").write_text("".join(f"{name}\n" for name in deb.get("conf-files", [])))
        if "maintainer-scripts" in deb:
            for script in (root / deb["maintainer-scripts"]).iterdir():
                put(script, about / script.name, 0o755)
        for path in [tree, *tree.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        architecture = re.search(r"Architecture: (\S+)", text)[1]
        file = out / f"{program}_{package['version']}-1_{architecture}.deb"
        out.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", f"-Z{compression}", tree, file],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--manifest", type=Path, default=Path("Cargo.toml"))
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--pages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--compression", default="xz", choices=["none", "gzip", "xz"], help="none is quick to install")
    given = parser.parse_args()
    os.umask(0o022)
    print(build(given.manifest, given.binary, given.pages, given.out, given.compression))
