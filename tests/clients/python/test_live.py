"""The live view: what is published to a filter, by WebSocket on the admin listener."""

import json
import subprocess

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from admin import start_admin, token
from broker import BINARY
from client import DEADLINE_S, Client
from test_admin_api import until

pytestmark = pytest.mark.ringmq


def url(admin, filter_="a/%23"):
    return f"ws://127.0.0.1:{admin.port}/api/v1/live?filter={filter_}"


def refused(*arguments, **options):
    with pytest.raises(InvalidStatus) as wrong:
        connect(*arguments, open_timeout=DEADLINE_S, **options)
    response = wrong.value.response
    return response.status_code, json.loads(response.body)["detail"]


@pytest.fixture(params=[1, 2], ids=lambda n: f"shards{n}")
def served(request, start):
    return start_admin(start, request.param)


def test_what_is_published_is_shown(served):
    broker, admin = served
    publisher = Client(broker, "p").connect()
    with connect(url(admin), origin=f"http://127.0.0.1:{admin.port}") as live:
        publisher.publish_and_wait("b", b"not this", 1)
        publisher.publish_and_wait("a/b", b"x" * 300, 1, True)
        line = json.loads(live.recv(timeout=DEADLINE_S))
        assert (line["topic"], line["qos"], line["retain"], line["client_id"]) == ("a/b", 1, True, "p")
        assert (line["payload"], line["payload_bytes"], line["payload_cut"]) == ("x" * 200, 300, True)
        live.ping().wait(DEADLINE_S)
    publisher.close()


def test_places_are_bounded(served):
    _, admin = served
    views = [connect(url(admin)) for _ in range(8)]
    status, text = refused(url(admin))
    assert (status, text) == (503, "there are 8 traces already: wait until one has ended")
    views.pop().close()

    def again():
        try:
            views.append(connect(url(admin)))
            return True
        except InvalidStatus:
            return False

    until(again, True)
    for one in views:
        one.close()


def test_what_is_no_websocket_is_ended(served):
    _, admin = served
    with connect(url(admin)) as live:
        live.socket.sendall(b"\x81\x01x")  # not masked
        with pytest.raises(ConnectionClosed) as ended:
            live.recv(timeout=DEADLINE_S)
        assert ended.value.rcvd.code == 1002


def test_who_may_watch(start, tmp_path):
    tokens = tmp_path / "tokens"
    viewer, metrics = token(tokens, "v", "--role", "viewer"), token(tokens, "m", "--role", "metrics")
    passwords = tmp_path / "passwords"
    subprocess.run([BINARY, "passwd", "-c", "-b", "--rounds", "100", str(passwords), "ann", "one"], check=True)
    _, admin = start_admin(start, 1, host="0.0.0.0", admin_token_file=tokens, password_file=passwords)

    def bearer(own):
        return {"Authorization": f"Bearer {own}"}

    status, text = refused(url(admin))
    assert status == 401 and "log in" in text
    assert refused(url(admin), additional_headers=bearer(metrics))[0] == 403
    connect(url(admin), additional_headers=bearer(viewer), open_timeout=DEADLINE_S).close()


def test_bad_requests_are_sentences(served):
    _, admin = served
    assert refused(url(admin, "a/%23/b"))[0] == 400
    assert refused(url(admin, ""))[0] == 400
    assert refused(url(admin), origin="http://evil.example") == (403, "Origin is another site")
    plain = admin.get("/api/v1/live?filter=a")
    assert plain.status == 426 and "WebSocket" in plain.json["detail"] and plain.headers["Upgrade"] == "websocket"
