"""An edge node by pysparkplug with its device, as a process: port, group, node and the device's first value are its
arguments, and each line of its standard input is an order."""

import sys

from pysparkplug import Client, DataType, Device, EdgeNode, Metric, get_current_timestamp

PORT, GROUP, NODE, VALUE = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
DEVICE = "press 7"


def force(value):
    return Metric(timestamp=get_current_timestamp(), name="force", datatype=DataType.DOUBLE, value=value)


rebirth = Metric(timestamp=get_current_timestamp(), name="Node Control/Rebirth", datatype=DataType.BOOLEAN, value=False)
node = EdgeNode(GROUP, NODE, [rebirth], Client(client_id=f"{GROUP}-{NODE}"))
node.register(Device(DEVICE, [force(VALUE)]))
node.connect("127.0.0.1", port=PORT)
for line in sys.stdin:
    match line.split():
        case ["data", count]:
            for value in range(int(count)):
                node.update_device(DEVICE, [force(float(value))])
        case ["device", "leaves"]:
            node.deregister(DEVICE)
        case ["leave"]:
            node.disconnect()
            break
