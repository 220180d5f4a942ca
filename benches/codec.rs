//! Time per packet of the codec's hot paths.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use ringmq::mqtt::encode::{self, AckKind, PublishOut, UserPropertiesBuf};
use ringmq::mqtt::frame::next_frame;
use ringmq::mqtt::{decode, Ack, PacketId, Qos, ReasonCode, Sender, UserProperties, Version};

/// 20 bytes, so that a packet with [`PAYLOAD`] takes about 40.
const TOPIC: &str = "plant/4/line/7/motor";
const PAYLOAD: &[u8] = b"0123456789abcdef";
const PACKETS: u64 = 1_000;

fn publish_out(qos: Qos, properties: &[u8]) -> PublishOut<'_> {
    PublishOut {
        qos,
        topic: TOPIC,
        packet_id: (qos != Qos::AtMostOnce).then(|| PacketId::new(7).expect("not zero")),
        properties,
        payload_len: PAYLOAD.len(),
        payload: PAYLOAD,
        ..PublishOut::default()
    }
}

/// A stream of equal packets, as one read delivers it.
fn stream(version: Version, publish: &PublishOut<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..PACKETS {
        encode::publish(&mut out, version, publish);
    }
    out
}

fn decode_publish(c: &mut Criterion) {
    let mut users = UserPropertiesBuf::new();
    users.push("unit", "rpm").push("sensor", "17");
    let cases = [
        (
            "v311_qos0",
            Version::V311,
            publish_out(Qos::AtMostOnce, &[]),
        ),
        ("v5_qos0", Version::V5, publish_out(Qos::AtMostOnce, &[])),
        ("v5_qos1", Version::V5, publish_out(Qos::AtLeastOnce, &[])),
        (
            "v5_qos1_2_user_properties",
            Version::V5,
            publish_out(Qos::AtLeastOnce, users.as_bytes()),
        ),
    ];
    let mut group = c.benchmark_group("decode_publish");
    group.throughput(Throughput::Elements(PACKETS));
    for (name, version, publish) in cases {
        let bytes = stream(version, &publish);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut rest = black_box(&bytes[..]);
                while let Ok(Some(frame)) = next_frame(rest, 1 << 20) {
                    rest = &rest[frame.length..];
                    black_box(
                        decode::publish_from(version, Sender::Client, &frame)
                            .expect("a valid packet"),
                    );
                }
                assert!(rest.is_empty());
            });
        });
    }
    group.finish();
}

fn encode_publish(c: &mut Criterion) {
    let cases = [
        ("v311_qos0", Version::V311, Qos::AtMostOnce),
        ("v5_qos0", Version::V5, Qos::AtMostOnce),
        ("v5_qos1", Version::V5, Qos::AtLeastOnce),
    ];
    let mut group = c.benchmark_group("encode_publish");
    group.throughput(Throughput::Elements(PACKETS));
    for (name, version, qos) in cases {
        let mut out = Vec::with_capacity(64 * PACKETS as usize);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for _ in 0..PACKETS {
                    encode::publish(&mut out, version, black_box(&publish_out(qos, &[])));
                }
                black_box(out.len())
            });
        });
    }
    group.finish();
}

fn acknowledgements(c: &mut Criterion) {
    let ack = Ack {
        packet_id: PacketId::new(7).expect("not zero"),
        reason: ReasonCode::Success,
        reason_string: None,
        user_properties: UserProperties::default(),
    };
    let mut group = c.benchmark_group("ack");
    group.throughput(Throughput::Elements(PACKETS));
    let mut out = Vec::with_capacity(4 * PACKETS as usize);
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..PACKETS {
                encode::ack(&mut out, Version::V5, AckKind::PubAck, black_box(&ack));
            }
            black_box(out.len())
        });
    });
    out.clear();
    for _ in 0..PACKETS {
        encode::ack(&mut out, Version::V5, AckKind::PubAck, &ack);
    }
    group.bench_function("decode", |b| {
        b.iter(|| {
            let mut rest = black_box(&out[..]);
            while let Ok(Some(frame)) = next_frame(rest, 1 << 20) {
                rest = &rest[frame.length..];
                black_box(decode::ack(Version::V5, &frame).expect("a valid packet"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode_publish, encode_publish, acknowledgements);
criterion_main!(benches);
