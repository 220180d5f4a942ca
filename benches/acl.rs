//! What a check of the ACL costs: the walk down the tree, and a decision that is remembered.
//!
//! A file of 1,000 users with ten rules each and ten patterns; one user asks.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion};
use ringmq::auth::{Acl, Decisions, Names};

fn acl() -> Acl {
    let mut text = String::new();
    for user in 0..1_000 {
        text.push_str(&format!("user u{user}\ntopic deny site/{user}/secret/#\n"));
        for rule in 0..9 {
            text.push_str(&format!("topic readwrite site/{user}/area{rule}/+/value\n"));
        }
    }
    for pattern in 0..10 {
        text.push_str(&format!("pattern write own{pattern}/%u/%c/#\n"));
    }
    Acl::parse("acl", &text).expect("it is an ACL file")
}

fn checks(c: &mut Criterion) {
    let acl = acl();
    let names = Names {
        client: "device-17",
        user: Some("u500"),
    };
    let topics = [
        ("rule", "site/500/area7/sensor/value"),
        ("pattern", "own3/u500/device-17/x"),
        ("refused", "site/501/area7/sensor/value"),
    ];
    for (name, topic) in topics {
        c.bench_function(&format!("publish/{name}"), |b| {
            b.iter(|| acl.may_publish(names, black_box(topic)));
        });
        let mut decisions = Decisions::default();
        c.bench_function(&format!("publish/{name}, remembered"), |b| {
            b.iter(|| decisions.get_or(black_box(topic), || acl.may_publish(names, topic)));
        });
    }
    c.bench_function("subscribe/rule", |b| {
        b.iter(|| acl.may_subscribe(names, black_box("site/500/area7/+/value")));
    });
}

criterion_group!(benches, checks);
criterion_main!(benches);
