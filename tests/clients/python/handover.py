"""What an old and a new process say to each other during an upgrade, so that a test can be either of them."""

import array
import os
import select
import signal
import socket
import struct
import subprocess
import sys

HELLO, REFUSED, READY, SOCKETS, STILL, RETAINED, SESSIONS, CLIENTS, ALL, COMMIT, PREPARED = range(1, 12)
FROM = "RINGMQ_UPGRADE_FROM"
DESCRIPTORS_MAX = 128


def text(value):
    value = value.encode()
    return bytes([len(value)]) + value


def hello(protocol=1, formats=(1, 1)):
    return bytes([protocol, *formats]) + struct.pack("<I", os.getpid()) + text("0.0.0-test") + b"\0"


class Pipe:
    """One end."""

    def __init__(self, own):
        self.socket = own

    def say(self, kind, body=b"", descriptors=()):
        head = struct.pack("<BIH", kind, len(body), len(descriptors))
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([head], beside)
        self.socket.sendall(body)

    def hear(self):
        """Kind, body and descriptors; None at the end."""
        space = socket.CMSG_SPACE(DESCRIPTORS_MAX * 4)
        head, beside, _, _ = self.socket.recvmsg(7, space)
        if not head:
            return None
        descriptors = array.array("i")
        for _, _, data in beside:
            descriptors.frombytes(data[:len(data) - len(data) % 4])
        head += self._exactly(7 - len(head))
        kind, length, _ = struct.unpack("<BIH", head)
        return kind, self._exactly(length), list(descriptors)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def until(self, kind):
        """Takes messages up to one of this kind; returns that."""
        while True:
            found = self.hear()
            if found is None:
                raise EOFError
            for descriptor in found[2]:
                os.close(descriptor)
            if found[0] == kind:
                return found


def become_new(step):
    """The new process, up to a step at which it ends: standard input is its pipe."""
    pipe = Pipe(socket.socket(fileno=os.dup(0)))
    if step == "started":
        return
    if step == "newer":
        pipe.say(HELLO, hello(formats=(2, 3)))
        pipe.hear()
        return
    pipe.say(HELLO, hello())
    if step == "greeted":
        return
    pipe.until(SOCKETS)
    if step == "has listeners":
        return
    if step == "refuses":
        pipe.say(REFUSED, text("no room here"))
        pipe.hear()
        return
    pipe.say(PREPARED)
    if step == "prepared":
        return
    pipe.until(STILL)
    if step == "old is still":
        return
    pipe.hear()
    if step == "has a part":
        return
    pipe.until(ALL)
    if step == "has all":
        return
    if step == "hangs":
        pipe.hear()
    if step == "lies":
        pipe.say(COMMIT, bytes(8))
        pipe.hear()


NEW_STEPS = ["started", "newer", "greeted", "has listeners", "refuses", "prepared", "old is still", "has a part",
             "has all", "lies", "hangs"]


def become_middle(binary, arguments, victim, count):
    """Between an old process, which has started this one, and a real new one: passes on so many messages, and then kills the
    `victim` ("new" or "old"). It ends as the new one does."""
    ours, theirs = socket.socketpair()
    child = subprocess.Popen([binary, *arguments], stdin=theirs, env={**os.environ, FROM: str(os.getpid())})
    theirs.close()
    ends = {True: Pipe(socket.socket(fileno=os.dup(0))), False: Pipe(ours)}
    os.close(0)
    passed, parent = 0, os.getppid()
    while passed < count:
        ready, _, _ = select.select([end.socket for end in ends.values()], [], [], 30)
        assert ready, "neither says anything"
        is_of_old = ready[0] is ends[True].socket
        found = ends[is_of_old].hear()
        if found is None:
            ends[not is_of_old].socket.close()
            break
        kind, body, descriptors = found
        ends[not is_of_old].say(kind, body, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        passed += 1
        print(f"middle: {passed} passed on, of kind {kind}", flush=True)
    if passed == count:
        if victim == "new":
            child.kill()
        else:
            os.kill(parent, signal.SIGKILL)
    for end in ends.values():
        end.socket.close()
    sys.exit(child.wait())
