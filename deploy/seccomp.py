#!/usr/bin/env python3
"""Writes deploy/seccomp.json anew: what systemd calls @system-service, which the unit of the package permits as well.

    deploy/seccomp.py > deploy/seccomp.json

The three calls of io_uring are in its group @aio. The default profiles of container engines deny them.
"""

import json
import subprocess

GROUPS = ["@system-service", "@process"]
# What the engine itself calls between the filter and the program.
ENGINE = ["capset", "chdir", "execve", "fchdir", "prctl", "setgroups", "setgid", "setuid", "statx", "pidfd_getfd", "close_range"]


def members(group: str) -> set[str]:
    text = subprocess.check_output(["systemd-analyze", "syscall-filter", group], text=True)
    found = set()
    for line in text.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def profile() -> dict:
    names = set(ENGINE)
    for group in GROUPS:
        names |= members(group)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [{"names": sorted(names), "action": "SCMP_ACT_ALLOW"}],
    }


if __name__ == "__main__":
    print(json.dumps(profile(), indent=1))
