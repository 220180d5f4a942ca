#!/usr/bin/env python3
"""Looks up Cargo.lock in a database of advisories in the form of RustSec, where cargo-audit is not installed.

   scripts/audit.py DATABASE      as scripts/audit.sh does; the same statuses
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FENCE = "```"
VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
COMPARATOR = re.compile(r"(=|>=|>|<=|<|~|\^)?\s*(.+)")
# Behind every pre-release and before every release of the same number.
RELEASE = (1,)


class Unreadable(Exception):
    """The database is not of the form that this knows."""


def pre_release(text):
    """Its rank (Semantic Versioning 2.0.0, clause 11.4)."""
    if not text:
        return RELEASE
    return (0, *((0, int(part), "") if part.isdigit() else (1, 0, part) for part in text.split(".")))


def parse(text):
    """The numbers that are given, and the rank of the pre-release."""
    found = VERSION.fullmatch(text.strip())
    if not found:
        raise Unreadable(f'"{text}" is not a version')
    return [int(number) for number in found.groups()[:3] if number is not None], pre_release(found[4])


def full(numbers, pre=RELEASE):
    return (*numbers, *(0,) * (3 - len(numbers)), pre)


def after(numbers, place):
    """Where what agrees up to a place ends."""
    return full([*numbers[:place], numbers[place] + 1], (0,))


def matches(version, comparator):
    """Whether a version is in what one comparator names, as Cargo reads it."""
    if comparator.strip() == "*":
        return True
    operator, text = COMPARATOR.fullmatch(comparator.strip()).groups()
    numbers, pre = parse(text)
    low, end = full(numbers, pre), after(numbers, len(numbers) - 1)
    is_whole = len(numbers) == 3
    match operator:
        case "=":
            return version == low if is_whole else low <= version < end
        case ">":
            return version > low if is_whole else version >= end
        case ">=":
            return version >= low
        case "<":
            return version < low
        case "<=":
            return version <= low if is_whole else version < end
        case "~":
            return low <= version < after(numbers, min(1, len(numbers) - 1))
    first = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    return low <= version < after(numbers, first)


def is_in(version, requirements):
    return any(all(matches(version, one) for one in requirement.split(",")) for requirement in requirements)


def advisories(database, crate):
    """Of one crate, as tables: each file begins with one between fences."""
    for path in sorted((database / "crates" / crate).glob("*.md")):
        text = path.read_text(encoding="utf-8")
        begin, end = text.find(f"{FENCE}toml\n"), text.find(f"\n{FENCE}", 1)
        try:
            if begin != 0 or end < 0:
                raise Unreadable("it does not begin with a table")
            table = tomllib.loads(text[len(FENCE) + len("toml\n"):end])
            yield table["advisory"], table.get("versions", {}), title(text[end:])
        except (Unreadable, tomllib.TOMLDecodeError, KeyError) as error:
            raise Unreadable(f"{path}: {error}") from error


def title(text):
    return next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")


def findings(database):
    with open(ROOT / "Cargo.lock", "rb") as file:
        packages = tomllib.load(file)["package"]
    with open(ROOT / ".cargo" / "audit.toml", "rb") as file:
        known = set(tomllib.load(file)["advisories"]["ignore"])
    for package in packages:
        if "registry+" not in package.get("source", ""):
            continue  # of this repository
        numbers, pre = parse(package["version"])
        version = full(numbers, pre)
        for advisory, versions, name in advisories(database, package["name"]):
            if advisory["id"] in known or "withdrawn" in advisory:
                continue
            patched = versions.get("patched", [])
            try:
                is_affected = not is_in(version, [*patched, *versions.get("unaffected", [])])
            except Unreadable as error:
                raise Unreadable(f"{advisory['id']}: {error}") from error
            if is_affected:
                mended = " or ".join(patched) or "no version"
                yield f"{advisory['id']}: {package['name']} {package['version']}: {name} (mended in: {mended})"


def main():
    try:
        found = list(findings(pathlib.Path(sys.argv[1])))
    except Unreadable as error:
        print(f"error loading advisory database: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
