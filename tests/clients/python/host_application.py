"""A Sparkplug host application by aiospb, as a process: port and name are its arguments. It leaves when its standard
input ends."""

import asyncio
import sys

from aiospb.groups import MqttServer
from aiospb.hosts import HostApplication

PORT, NAME = sys.argv[1:]


async def run():
    server = MqttServer({"hostname": "127.0.0.1", "port": PORT, "username": None, "password": None})
    # aiospb reads payloads as JSON, which is what those of STATE are: it gets no others.
    host = HostApplication(NAME, server, "no such group")
    await host.establish_session()
    await asyncio.to_thread(sys.stdin.read)
    await host.terminate_session()


asyncio.run(run())
