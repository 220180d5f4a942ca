"""A stand-in for the service manager: the notify socket, and what systemd does before it starts a service."""

import os
import socket
import time

PATIENCE_S = 30


class Manager:
    """Receives what a service notifies of, in order."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.received = []

    def wait(self, line, since=0):
        """Waits for a line such as READY=1 behind a position; returns the position behind it."""
        end = time.monotonic() + PATIENCE_S
        while True:
            for index, message in enumerate(self.received[since:], since):
                if line in message:
                    return index + 1
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            self.received.append(self.socket.recv(4096).decode().splitlines())

    def close(self):
        self.socket.close()


def unit(path):
    """The last value of each setting of a unit file, by name."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
