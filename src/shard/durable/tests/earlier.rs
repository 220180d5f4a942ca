//! A log from before there were sessions of MQTT-SN, octet by octet: what this version reads it must go on to read.

use super::*;

/// Key of the session in each record.
const KEY: &[u8] = &[7, 0, 0, 0, 0, 0, 0, 0];

/// The image of a client that is away, with what stands before and behind the time until which it is kept.
const IMAGE: [&[u8]; 2] = [
    // Format 1, a session; "s", no owner, no rules, kept for 100 s, until:
    b"\x01\x01\x01s\0\0\x64\0\0\0\x01",
    // No will, nothing due; "t" at QoS 1; a window whose last identifier was 1; nothing waits, nothing was received.
    b"\0\0\x01\x01t\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0",
];
/// The first of its turn: QoS 1, topic "t", payload "x", neither properties nor expiry.
const PUBLICATION: &[u8] = b"\0\0\0\0\x01\0\x01t\x01x\0\0";
/// It is queued at QoS 1; a subscription to "u" at QoS 2; identifier 9 was received; one to "t" ended.
const CHANGES: &[u8] = b"\0\x01\0\0\0\0\x09\x01u\x02\0\x07\x09\0\x0A\x01t";

fn earlier_log() -> Disk {
    let setup = setup(1);
    let until = (setup.wall.0 + 50_000).to_le_bytes();
    let image = [KEY, IMAGE[0], &until, IMAGE[1]].concat();
    let changes = [KEY, CHANGES].concat();
    let world = World::<crate::testing::Calm>::calm(setup);
    let lane = world.shards[0].routes.placement.lane_number("s");
    let mut log = Log::new(DATA, 0, SEGMENT_BYTES, &Recovered::default());
    let mut disk = Disk::default();
    for (kind, flags, body) in [
        (kind::IMAGE, record::FIRST | record::LAST, &image[..]),
        (kind::PUBLICATION, record::FIRST, PUBLICATION),
        (kind::CHANGES, record::LAST, &changes),
    ] {
        log.append(&Record {
            kind,
            flags,
            lane,
            body,
        });
    }
    let number = log.segment();
    disk.prepare(number, SEGMENT_BYTES as usize, None);
    log.handle_prepared(number);
    while let Some(write) = log.next_write(world.clocks().wall) {
        disk.write(&write);
        disk.complete();
        log.handle_written();
    }
    disk
}

#[test]
fn a_log_without_anything_of_mqtt_sn_is_continued() {
    let mut life = Life::of(setup(1), vec![earlier_log()], SEGMENT_BYTES);
    let session = at_rest(life.sessions()["s"].clone());
    assert_eq!(session.sensor, None);
    assert_eq!(session.received.earlier, [9]);
    let filters: Vec<&str> = session
        .subscriptions
        .iter()
        .map(|(one, _)| &**one)
        .collect();
    assert_eq!(filters, ["u"]);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), b"\x32\x07\0\x01t\0\x02\0x");
    life.send(link, b"\x40\x02\0\x02");
    life.close(link);
    let mut life = life.killed(0, 1);
    let link = life.resume(b's', true);
    assert_eq!(life.received(link), b"");
}
