"""`ringmq journal`, and data directories that are not as a broker has left them: a sentence each."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from broker import BINARY, Broker
from client import Client, VERSIONS
# pylint: disable=unused-import
from test_durable import KEPT, folder, frames, last_segment, lives, refusal, start_on, written

pytestmark = pytest.mark.ringmq

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
MESSAGES = 20


def journal(verb, data, *options):
    """Exit code, output and errors of a tool."""
    command = [BINARY, "journal", verb, data, *options]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return found.returncode, found.stdout, found.stderr


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def content_of(data):
    """Every file below a folder with what it holds."""
    found = {}
    for name in sorted(glob.glob(os.path.join(data, "**"), recursive=True)):
        if os.path.isfile(name):
            with open(name, "rb") as file:
                found[os.path.relpath(name, data)] = file.read()
    return found


@pytest.fixture
def large(lives):
    """A data directory of one shard whose log has several segments; its broker was killed."""
    all_of = lives(1, queue_bytes_max="64MiB")
    one = all_of.kept("s")
    one.subscribe("t", 1)
    one.disconnect()
    publisher = all_of.client("p")
    for n in range(MESSAGES):
        publisher.publish_and_wait("t", b"%d " % n + b"x" * 250_000, 1)
        publisher.publish_and_wait(f"r/{n}", b"kept", 1, True)
    all_of.kept("last").disconnect()
    all_of.end("kill")
    return all_of


def segments(all_of):
    """Paths of the segments with records, in order."""
    names = glob.glob(os.path.join(all_of.data, "shard-00-of-01", "*.seg"))
    number = lambda name: int(os.path.basename(name)[:-4])
    found = []
    for name in sorted(names, key=number):
        with open(name, "rb") as file:
            header = file.read(64)
        if header[:4] == b"SQMR" and int.from_bytes(header[28:32], "little") == number(name):
            found.append(name)
    return found


def numbers_of(all_of, client_id="s"):
    """What a session has in its queue: the numbers that its messages begin with."""
    one = all_of.kept(client_id)
    publisher = all_of.client("ends")
    publisher.publish_and_wait("t", b"end", 1)
    found = []
    while (payload := one.next().payload) != b"end":
        found.append(int(payload.split()[0]))
    return found


def test_check_says_what_a_log_holds(written):
    before = content_of(written.data)
    code, text, errors = journal("check", written.data)
    assert (code, errors) == (0, ""), text
    assert text.startswith("shard-00-of-01: whole: segment 1, "), text
    assert "; 2 sessions with 20 messages, 0 retained messages; 2 files without records" in text
    assert content_of(written.data) == before, "a look has changed something"


def test_check_tells_a_torn_end_from_damage(written):
    name, content = last_segment(written)
    places = frames(content)
    with open(name, "r+b") as file:
        file.seek(places[-1] + 80)
        file.write(b"\0" * 8)
    code, text, _ = journal("check", written.data)
    assert code == 0 and "frame" in text and "was not written whole" in text, text
    assert f"(segment 1, byte {places[-1]})" in text
    flip(name, places[5] + 70)
    code, text, _ = journal("check", written.data)
    assert code == 4, text
    assert f"the journal is damaged at {name}: frame 6 (segment 1, byte {places[5]})" in text
    assert f"ringmq journal repair {written.data}" in text
    # The refusal at the start says the same.
    assert f"ringmq journal repair {written.data}" in start_on(written)[1]


def test_a_directory_in_use_is_not_looked_at(lives):
    all_of = lives(1)
    for verb in ("check", "dump", "repair"):
        code, text, errors = journal(verb, all_of.data)
        assert (code, text) == (1, ""), text
        assert f"is in use by process {all_of.broker.pid}" in errors


def test_what_is_no_data_directory(folder):
    for path, sentence in [
        (folder, f"{folder} is not a data directory of ringmq: it has no manifest"),
        (os.path.join(folder, "no"), f"there is no folder {folder}/no"),
        (__file__, "is not a folder"),
    ]:
        code, _, errors = journal("check", path)
        assert code == 1 and sentence in errors, errors
    assert subprocess.run([BINARY, "journal"], capture_output=True, check=False).returncode == 2


def test_dump_has_every_record(written):
    code, text, errors = journal("dump", written.data)
    assert (code, errors) == (0, "")
    first = text.splitlines()[0]
    assert first.startswith("shard 0, segment 1, byte 4160, frame 1, kind \"session\", lane "), first
    assert 'client_id "s"' in first and "payload \"" not in text
    code, text, _ = journal("dump", written.data, "--json", "--payloads")
    records = [json.loads(line) for line in text.splitlines()]
    published = [record for record in records if record["kind"] == "publication"]
    assert [record["payload"] for record in published] == [str(n) for n in range(MESSAGES)]
    changes = [change for record in records for change in record.get("changes", [])]
    assert [change["what"] for change in changes].count("Queued") == MESSAGES
    assert any(change == {"what": "Subscribed", "filter": "t", "qos": 1} for change in changes)


def test_dump_shows_what_is_behind_damage(written):
    name, content = last_segment(written)
    flip(name, frames(content)[5] + 70)
    code, text, _ = journal("dump", written.data, "--json")
    records = [json.loads(line) for line in text.splitlines()]
    assert code == 4
    assert "the journal is damaged" in records[-1]["error"]
    broken = [record for record in records if record.get("frame") == 6]
    assert "not readable" in broken[0]["error"]
    assert max(record.get("frame", 0) for record in records) > 15


def test_repair_says_what_is_lost_and_does_it_only_when_told(written):
    name, content = last_segment(written)
    places = frames(content)
    flip(name, places[10] + 70)
    before = content_of(written.data)
    code, text, errors = journal("repair", written.data)
    assert (code, errors) == (4, ""), text
    kept = numbered = None
    for line in text.splitlines():
        if line.startswith("  kept: "):
            kept = int(line.split(" sessions with ")[1].split()[0])
        if "of what can be read: " in line:
            numbered = int(line.split("of what can be read: ")[1].split()[0])
    # One message is in the frame that cannot be read.
    assert kept + numbered + 1 == MESSAGES, text
    assert f"  lost: {len(places) - 10} frames, of which 1 cannot be read" in text
    assert f'  lost: session "s": {numbered} messages in ' in text
    assert '  lost: session "last", all of it: ' in text
    assert "nothing was changed" in text and "--yes" in text
    assert content_of(written.data) == before
    code, text, errors = journal("repair", written.data, "--yes")
    assert (code, errors) == (0, ""), text
    assert f"the files as they were are in {written.data}/aside-1" in text
    with open(os.path.join(written.data, "aside-1", "shard-00-of-01", "1.seg"), "rb") as file:
        assert file.read() == before["shard-00-of-01/1.seg"]
    assert journal("check", written.data)[0] == 0
    assert "nothing to repair" in journal("repair", written.data, "--yes")[1]
    written.start()
    assert numbers_of(written) == list(range(kept))
    assert not written.kept("last").session_present
    written.restart("kill")
    assert written.kept("s").session_present


def test_repair_of_a_log_without_one_of_its_segments(large):
    names = segments(large)
    assert len(names) >= 5
    os.remove(names[2])
    status, line = start_on(large)
    assert status == 1 and "begins with frame" in line and "but the log before it ends with frame" in line
    code, text, _ = journal("repair", large.data, "--yes")
    assert code == 0 and 'lost: session "s": ' in text, text
    assert 'lost: what became of the retained message of "r/19"' in text
    large.start()
    found = numbers_of(large)
    assert found == list(range(len(found))) and 0 < len(found) < MESSAGES


def test_repair_of_a_log_whose_beginning_is_damaged_keeps_the_rest(large):
    names = segments(large)
    flip(names[0], 20)
    status, line = start_on(large)
    assert status == 1 and f"damaged at {names[0]}" in line
    code, text, _ = journal("repair", large.data)
    assert code == 4 and "session" in text
    assert journal("repair", large.data, "--yes")[0] == 0
    large.start()
    large.broker.wait_line("records were read")


def test_messages_in_a_beginning_that_a_repair_gave_up_are_counted_and_forgotten(large):
    # The queue may hold less than it does, so its session is written anew, behind most of what waits for it.
    large.options["queue_messages_max"] = 15
    large.start()
    large.end("kill")
    for name in segments(large)[:2]:
        os.remove(name)
    code, text, _ = journal("repair", large.data, "--yes")
    found = re.search(r'  lost: session "s": (\d+) messages that wait, which were in what is given up', text)
    assert code == 0 and found, text
    count = int(found[1])
    assert f'session "s": {count} messages are lost by a repair' in journal("check", large.data)[1]
    large.start()
    large.broker.wait_line(f'{count} messages for "s" are lost')
    large.restart("kill")
    assert numbers_of(large) == list(range(MESSAGES - 15 + count, MESSAGES))


@pytest.mark.parametrize("which", ["oldest", "newest", "prepared"])
def test_a_log_without_a_segment_at_one_of_its_ends_is_refused(large, which):
    names = segments(large)
    prepared = int(os.path.basename(names[-1])[:-4]) + 1
    name = {"oldest": names[0], "newest": names[-1],
            "prepared": os.path.join(os.path.dirname(names[0]), f"{prepared}.seg")}[which]
    os.remove(name)
    status, line = start_on(large)
    assert status == 1 and f"{name} is missing, a segment of a log that was there" in line, line
    assert f"ringmq journal repair {large.data}" in line
    code, text, _ = journal("check", large.data)
    assert code == 4 and f"{name} is missing" in text
    assert journal("repair", large.data)[0] == 4
    assert journal("repair", large.data, "--yes")[0] == 0
    large.start()
    large.broker.wait_line("records were read")


def test_a_newest_segment_that_was_emptied_is_refused(large):
    name = segments(large)[-1]
    os.truncate(name, 0)
    status, line = start_on(large)
    assert status == 1 and f"{name} has 0 bytes, and was 1048576 bytes long" in line, line


def test_a_bit_of_what_was_acknowledged_last_that_flips_is_noticed(lives):
    all_of = lives(1)
    one = all_of.kept("s")
    one.subscribe("t", 1)
    one.disconnect()
    all_of.client("p").publish_and_wait("t", b"last", 1)
    all_of.end(signal.SIGTERM)
    name, content = last_segment(all_of)
    places = frames(content)
    flip(name, places[-2] + 70)
    status, line = start_on(all_of)
    assert status == 1 and f"byte {places[-2]}) is damaged, though frame" in line, line
    flip(name, places[-2] + 70)
    flip(name, places[-1] + 20)  # there is nothing in it
    all_of.start()
    assert all_of.kept("s").payloads(1) == [b"last"]


def test_segments_that_changed_places_are_refused(large):
    names = segments(large)
    os.rename(names[1], names[1] + ".x")
    os.rename(names[2], names[1])
    os.rename(names[1] + ".x", names[2])
    status, line = start_on(large)
    assert status == 1 and "the journal is damaged at " in line, line


@pytest.mark.parametrize("length", [0, 100, 4096, 300_000])
def test_a_segment_that_was_cut_short_is_refused(large, length):
    names = segments(large)
    os.truncate(names[1], length)
    status, line = start_on(large)
    assert status == 1 and "the journal is damaged at " in line, line
    assert journal("check", large.data)[0] == 4


def test_a_half_deleted_directory_is_refused(lives):
    all_of = lives(2)
    for n in range(8):
        all_of.kept(f"s{n}").disconnect()
    all_of.end("kill")
    shutil.rmtree(os.path.join(all_of.data, "shard-01-of-02"))
    status, line = start_on(all_of, 2)
    assert status == 1
    assert f"{all_of.data}/shard-01-of-02 is missing, which had the log of one of the shards" in line
    code, text, _ = journal("check", all_of.data)
    assert code == 4 and "shard-00-of-02: whole" in text and "is missing" in text
    assert not os.path.exists(os.path.join(all_of.data, "shard-01-of-02"))


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def change_header(name, place, content):
    """With a checksum that is right."""
    with open(name, "r+b") as file:
        header = bytearray(file.read(60))
        header[place:place + len(content)] = content
        header[56:60] = crc32c(header[:56]).to_bytes(4, "little")
        file.seek(0)
        file.write(header)


def test_a_segment_of_the_future_is_refused(written):
    name = segments(written)[0]
    change_header(name, 4, (7).to_bytes(4, "little"))
    status, line = start_on(written)
    assert status == 1
    assert f'{name} has format "7", which this version does not read' in line
    code, text, errors = journal("repair", written.data, "--yes")
    assert code == 1 and 'has format "7"' in errors, text
    assert not os.path.exists(os.path.join(written.data, "aside-1"))


def test_a_segment_of_another_directory_is_refused(large):
    name = segments(large)[2]
    change_header(name, 8, b"another identity")
    status, line = start_on(large)
    number = os.path.basename(name)[:-4]
    assert status == 1 and f"segment {number} belongs to another data directory or shard" in line, line
    # Without it there is a gap, and all behind it goes, too.
    assert journal("repair", large.data, "--yes")[0] == 0
    large.start()
    assert numbers_of(large)[:3] == [0, 1, 2]


def test_foreign_files_are_left_alone(written):
    names = ["notes.txt", "shard-00-of-01/7.seg.old", "shard-00-of-01/x.seg", "shard-00-of-01/007.seg"]
    for name in names:
        with open(os.path.join(written.data, name), "w", encoding="ascii") as file:
            file.write("mine")
    written.start()
    assert written.kept("s").payloads(20) == [b"%d" % n for n in range(20)]
    written.end("kill")
    for name in names:
        with open(os.path.join(written.data, name), encoding="ascii") as file:
            assert file.read() == "mine"


def test_check_config_looks_at_the_data_directory(folder, lives):
    def check(path, shards=2):
        command = [BINARY, "--data-dir", path, "--shards", str(shards), "--check-config"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return found.returncode, found.stdout + found.stderr

    new = os.path.join(folder, "new")
    code, text = check(new)
    assert code == 0 and f"data directory {new} will be made\n" in text
    assert not os.path.exists(new)
    code, text = check(os.path.join(new, "no"))
    assert code == 2 and "there is no folder for it" in text
    os.mkdir(new)
    assert f"data directory {new} is empty\n" in check(new)[1]
    with open(os.path.join(new, "x"), "w", encoding="ascii"):
        pass
    code, text = check(new)
    assert code == 2 and "has no manifest, but other files (x)" in text
    # Also while a broker uses it.
    all_of = lives(2)
    code, text = check(all_of.data)
    assert code == 0 and f"data directory {all_of.data} has the logs of 2 shards\n" in text
    assert "has the logs of 2 shards, which will be read for 3\n" in check(all_of.data, 3)[1]


@pytest.fixture
def mounted(folder):
    """Mounts a file system of a kind on a folder."""
    made = []

    def mount(kind, options="size=8m"):
        path = os.path.join(folder, f"mounted-{len(made)}")
        os.mkdir(path)
        command = ["mount", "-t", kind, "-o", options, "none", path]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip(f"no {kind} can be mounted here")
        made.append(path)
        return path

    yield mount
    for path in made:
        subprocess.run(["umount", "--lazy", path], check=False)


SMALL = {"journal_segment_bytes": "1MiB"}


@AS_ROOT
def test_a_file_system_without_direct_writes_is_refused(mounted):
    path = mounted("ramfs", "mode=700")
    status, line = refusal("--data-dir", os.path.join(path, "data"), "--shards", "1")
    assert status == 1 and "cannot write a block to the disk at once (O_DIRECT, O_DSYNC)" in line, line


@AS_ROOT
def test_a_file_system_in_memory_is_used_and_said(mounted):
    data = os.path.join(mounted("tmpfs", "size=32m"), "data")
    for number in range(2):
        broker = Broker(1, data_dir=data, **SMALL)
        assert "is on a file system in memory (tmpfs)" in broker.log()
        one = Client(broker, "s", VERSIONS["5"], clean=False, connect_properties=KEPT).connect()
        assert one.session_present == bool(number)
        broker.kill()
        broker.close()


@AS_ROOT
def test_a_file_system_that_is_too_small_or_read_only_is_refused(mounted):
    small = mounted("tmpfs", "size=2m")
    status, line = refusal("--data-dir", os.path.join(small, "data"), "--shards", "1")
    assert status == 1 and "the journal needs 192 MiB to begin with in" in line, line
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    status, line = refusal("--data-dir", os.path.join(small, "data"), "--shards", "1")
    assert status == 1 and f"the file system of {small}/" in line and "is read-only" in line, line


@AS_ROOT
def test_a_stop_whose_journal_cannot_be_written_says_so(mounted):
    path = mounted("tmpfs", "size=4m")
    large = {name: "4MiB" for name in ("packet_size_max", "queue_bytes_max", "outgoing_bytes_max")}
    broker = Broker(1, data_dir=os.path.join(path, "data"), shutdown_timeout="1s", **SMALL, **large)
    publisher = Client(broker, "p", VERSIONS["5"]).connect()
    # Of more than a file, for which there is no room.
    publisher.publish("r", b"x" * 3_500_000, 1, True)
    broker.wait_log("no further file can be made")
    broker.send_signal(signal.SIGTERM)
    assert broker.process.wait(20) == 3
    assert "the journal could not be written to its end in time" in broker.log()
    assert "clients did not close" not in broker.log()
    broker.close()


def test_a_journal_of_its_largest_size_is_treated_as_a_full_disk(lives):
    all_of = lives(1, queue_bytes_max="64MiB", journal_bytes_max="8MiB")
    one = all_of.kept("s")
    one.subscribe("t", 1)
    one.disconnect()
    publisher = all_of.client("p")
    for _ in range(2):
        taken = []
        while (code := publisher.publish_and_wait("t", b"%d " % len(taken) + b"x" * 50_000, 1)) == 0:
            taken.append(len(taken))
        assert code == 0x97 and len(taken) > 20
        all_of.broker.wait_line("no further file can be made", "MiB of journal-bytes-max, 8 MiB, are in use")
        files = glob.glob(os.path.join(all_of.data, "shard-00-of-01", "*.seg"))
        assert sum(os.path.getsize(name) for name in files) <= 8 << 20
        seen = len(all_of.broker.log())
        one = all_of.kept("s")
        assert [int(payload.split()[0]) for payload in one.payloads(len(taken))] == taken
        all_of.broker.wait_log("files can be made again", seen)
        one.disconnect()


def test_a_largest_size_below_what_a_journal_begins_with_is_refused(folder):
    status, line = refusal("--data-dir", os.path.join(folder, "data"), "--shards", "2", "--journal-segment-bytes", "2MiB",
                           "--journal-bytes-max", "11MiB")
    assert status == 1 and "the journal needs 12 MiB to begin with, and journal-bytes-max is 11 MiB" in line, line
