//! Any steps of clients, and a kill after any of them: a model is what was there before.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(u8, u8, bool),
    Close(u8),
    Disconnect(u8, u8),
    Subscribe(u8, u8, u8),
    Unsubscribe(u8, u8),
    Publish(u8, u8, u8, bool),
    Acknowledge(u8, u8, u8),
    Release(u8, u8),
    Wait,
    Kill(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, topic, qos) = (0..4_u8, 0..4_u8, 0..3_u8);
    prop_oneof![
        3 => (client.clone(), 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(client, expiry, clean)| Step::Connect(client, expiry, clean)),
        2 => client.clone().prop_map(Step::Close),
        1 => (client.clone(), 0..3_u8).prop_map(|(client, expiry)| Step::Disconnect(client, expiry)),
        3 => (client.clone(), topic.clone(), qos.clone())
            .prop_map(|(client, topic, qos)| Step::Subscribe(client, topic, qos)),
        1 => (client.clone(), topic.clone())
            .prop_map(|(client, topic)| Step::Unsubscribe(client, topic)),
        8 => (client.clone(), topic, qos, any::<bool>())
            .prop_map(|(client, topic, qos, retain)| Step::Publish(client, topic, qos, retain)),
        4 => (client.clone(), 4..8_u8, 1..6_u8)
            .prop_map(|(client, kind, id)| Step::Acknowledge(client, kind, id)),
        2 => (client, 1..4_u8).prop_map(|(client, id)| Step::Release(client, id)),
        1 => Just(Step::Wait),
        1 => (1..4_u16).prop_map(Step::Kill),
    ]
}

/// Filter of a topic of the steps: two of them are shared.
fn filter(topic: u8) -> Vec<u8> {
    match topic {
        0 | 1 => vec![b't' + topic],
        _ => [b"$share/g/".as_slice(), &[b't' + topic - 2]].concat(),
    }
}

fn run(life: &mut Life, links: &mut [Option<usize>; 4], step: Step) {
    let link_of = |links: &[Option<usize>; 4], client: u8| links[usize::from(client)];
    match step {
        Step::Connect(client, expiry, is_clean) => {
            let will: (u8, &[u8]) = match expiry {
                1 => (WILL, DELAYED),
                _ => (0, &[]),
            };
            let flags = will.0 | u8::from(is_clean) << 1;
            let link = life.connect(b'a' + client, expiry * 50, flags, will.1);
            links[usize::from(client)] = Some(link);
        }
        Step::Close(client) => {
            if let Some(link) = links[usize::from(client)].take() {
                life.close(link);
            }
        }
        Step::Disconnect(client, expiry) => {
            if let Some(link) = links[usize::from(client)].take() {
                life.send(link, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, expiry * 50]);
            }
        }
        Step::Subscribe(client, topic, qos) => {
            if let Some(link) = link_of(links, client) {
                let filter = filter(topic);
                let mut packet = vec![0x82, 6 + filter.len() as u8, 0, 1, 0, 0];
                packet.push(filter.len() as u8);
                packet.extend_from_slice(&filter);
                packet.push(qos);
                life.send(link, &packet);
            }
        }
        Step::Unsubscribe(client, topic) => {
            if let Some(link) = link_of(links, client) {
                let filter = filter(topic);
                let mut packet = vec![0xA2, 5 + filter.len() as u8, 0, 1, 0, 0];
                packet.push(filter.len() as u8);
                packet.extend_from_slice(&filter);
                life.send(link, &packet);
            }
        }
        Step::Publish(client, topic, qos, is_retained) => {
            if let Some(link) = link_of(links, client) {
                let topic = b't' + topic % 2;
                let flags = qos << 1 | u8::from(is_retained);
                life.publish(link, flags, topic, 1 + client, qos);
            }
        }
        Step::Acknowledge(client, kind, id) => {
            if let Some(link) = link_of(links, client) {
                let flags = if kind == 6 { 2 } else { 0 };
                life.send(link, &[kind << 4 | flags, 2, 0, id]);
            }
        }
        Step::Release(client, id) => {
            if let Some(link) = link_of(links, client) {
                life.send(link, &[0x62, 2, 0, id]);
            }
        }
        Step::Wait => {
            life.world.wait(Span::from_millis(2_000));
            life.settle();
        }
        Step::Kill(_) => {}
    }
}

/// What the disks hold at this moment is what there is, but what ends with a connection: sessions in full, retained
/// messages in full.
fn compare_with_disks(life: &Life) {
    // The fold is compared before anything ends, in an empty shard each.
    let mut world = World::calm(setup(1));
    let clocks = world.clocks();
    world.shards[0].handle_clocks(clocks);
    let mut found = BTreeMap::new();
    let mut retained = BTreeMap::new();
    for (number, disk) in life.disks.iter().enumerate() {
        let state = read(world.shards[0].begin_fold(), disk, number).1;
        for (publication, _) in state.retained {
            let topic = Rc::clone(&publication.topic);
            assert_eq!(retained.insert(topic, publication.payload.clone()), None);
        }
        for kept in state.sessions {
            let image = whole(kept.image(), disk, record::READ_BACK);
            assert_eq!(found.insert(Rc::clone(&image.client_id), image), None);
        }
    }
    for (name, image) in life.sessions() {
        if image.expiry_interval_s > 0 {
            let kept = found.remove(&name).expect("it is in the log");
            assert_eq!(kept.expires_at.is_some(), image.expires_at.is_some());
            assert_eq!(at_rest(kept), at_rest(image));
        } else if image.will.is_some() {
            assert_eq!(found.remove(&name).map(|kept| kept.will), Some(image.will));
        }
    }
    assert_eq!(found, BTreeMap::new(), "nothing else is in it");
    for shard in &life.world.shards {
        for topic in ["t", "u"] {
            if let Some(publication) = shard.routes.retained.get(topic) {
                assert_eq!(retained.remove(topic), Some(publication.payload.clone()));
            }
        }
    }
    assert_eq!(retained, BTreeMap::new(), "nothing else is retained");
}

/// All of it is there after the process has ended.
fn kill_and_compare(life: Life, shards: u16) -> Life {
    let kept = |life: &Life| {
        let shards = life.world.shards.iter();
        shards.map(Shard::retained_messages).sum::<usize>()
    };
    let retained = kept(&life);
    compare_with_disks(&life);
    let life = life.killed(10, shards);
    assert_eq!(kept(&life), retained);
    life
}

/// A case of what is below that has failed once: it waits for a client that was away before the process was.
#[test]
fn a_message_of_qos_0_between_kills() {
    let steps = [
        Step::Connect(1, 1, false),
        Step::Subscribe(1, 1, 0),
        Step::Kill(2),
        Step::Connect(2, 1, false),
        Step::Publish(2, 1, 2, false),
        Step::Kill(1),
    ];
    continue_over(1, steps);
}

fn continue_over(shards: u16, steps: impl IntoIterator<Item = Step>) {
    let mut life = Life::first(shards);
    let mut links = [None; 4];
    for step in steps {
        if let Step::Kill(shards) = step {
            life = kill_and_compare(life, shards);
            links = [None; 4];
        }
        run(&mut life, &mut links, step);
    }
    kill_and_compare(life, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn shards_continue_where_they_were_killed(
        shards in 1..4_u16,
        steps in vec(step(), 0..60),
    ) {
        continue_over(shards, steps);
    }
    /// Logs that are cleaned all the time, and read after each step: whatever is on the disk is the state at that point.
    #[test]
    fn every_prefix_of_a_log_is_the_state_of_its_time(
        shards in 1..3_u16,
        is_stored: bool,
        steps in vec(step(), 10..40),
    ) {
        let mut setup = setup(shards);
        if is_stored {
            setup.limits.queue_memory = 0; // what waits, also for groups, is moved out of what is cleaned
        }
        let mut life = Life::of(setup, Vec::new(), 16 << 10);
        for shard in &mut life.world.shards {
            shard.set_cleaning(0, 1 << 10);
        }
        let mut links = [None; 4];
        // From the beginning on messages wait for a client that is away.
        let begins = [
            Step::Connect(0, 2, false),
            Step::Subscribe(0, 0, 2),
            Step::Close(0),
            Step::Connect(1, 2, false),
            Step::Publish(1, 0, 1, false),
            Step::Publish(1, 0, 2, false),
        ];
        for step in begins.into_iter().chain(steps) {
            run(&mut life, &mut links, step);
            compare_with_disks(&life);
        }
    }
}
