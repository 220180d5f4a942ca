//! The plan of a run: the subscriptions and publications of its clients.

use super::client::Client;
use super::history::Planned;
use super::parameters::{Focus, RunParameters};
use super::random::Random;
use super::rules::{Answer, ROOT};
use crate::mqtt::{Qos, RetainHandling, SubscriptionOptions};

/// `$share/g/s/+` and `$share/h/u/#` are groups; no ordinary filter matches their topics.
const FILTERS: [&str; 10] = [
    "p/0",
    "p/1",
    "p/+",
    "p/#",
    "p/2/x",
    "r/+",
    "r/#",
    "w/+",
    "$share/g/s/+",
    "$share/h/u/#",
];
const TOPICS: [&str; 6] = ["p/0", "p/1", "p/2/x", "s/0", "s/1", "u/0/x"];
/// A retained topic that all publish to; of the others each publisher has its own.
pub(super) const CONTESTED: &str = "r/all";
/// Larger than the Maximum Packet Size of clients that have one.
const PADDING: usize = 150;

pub(super) fn draw(drawn: &RunParameters, random: &mut Random) -> (Vec<Client>, Vec<Planned>) {
    let mut clients: Vec<Client> = (0..drawn.clients)
        .map(|index| Client::new(format!("c{index}"), index, drawn, random))
        .collect();
    // One QoS for a whole group now and then, so that what is promised of groups is exact.
    let group_qos = match drawn.focus {
        Focus::Groups => Some([Qos::AtLeastOnce, Qos::ExactlyOnce][random.below(2)]),
        _ => random.once_in(2).then(|| qos(random)),
    };
    for client in &mut clients {
        for filter in FILTERS {
            let is_wanted = client.is_steady() || random.once_in(likelihood(drawn.focus));
            if !is_in(drawn.focus, filter) || !is_wanted {
                continue;
            }
            let mut options = options(client, filter, random);
            if let Some(qos) = group_qos.filter(|_| filter.starts_with('$')) {
                options.qos = qos;
            }
            let identifier = random.once_in(2).then(|| 1 + random.below(300) as u32);
            let identifier = identifier.filter(|_| client.profile.version.is_v5());
            client.wanted.push((filter.into(), options, identifier));
        }
    }
    let plan = (0..drawn.publications)
        .map(|index| {
            let publisher = random.below(clients.len());
            clients[publisher].to_publish.push_back(index);
            planned(drawn, &clients[publisher], random)
        })
        .collect();
    (clients, plan)
}

/// Filters and topics of a run with this focus.
fn is_in(focus: Focus, name: &str) -> bool {
    match focus {
        Focus::Everything => true,
        Focus::Groups => name.starts_with(['$', 's', 'u']),
        Focus::Retained => name.starts_with('r'),
        Focus::Flood => matches!(name, "p/0" | "p/#"),
        Focus::Wills => matches!(name, "p/0" | "w/+"),
    }
}

/// A client wants a filter once in so many.
fn likelihood(focus: Focus) -> usize {
    match focus {
        Focus::Everything => 3,
        Focus::Retained | Focus::Groups | Focus::Flood | Focus::Wills => 2,
    }
}

fn qos(random: &mut Random) -> Qos {
    [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][random.below(3)]
}

fn options(client: &Client, filter: &str, random: &mut Random) -> SubscriptionOptions {
    let qos = qos(random);
    if !client.profile.version.is_v5() {
        return SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
    }
    let handling = [
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ];
    SubscriptionOptions {
        qos,
        no_local: !filter.starts_with('$') && random.once_in(4), // [MQTT-3.8.3-4]
        retain_as_published: random.once_in(2),
        retain_handling: handling[random.below(3)],
    }
}

fn planned(drawn: &RunParameters, client: &Client, random: &mut Random) -> Planned {
    let publisher = client.index;
    let retain = match drawn.focus {
        Focus::Everything => random.once_in(4),
        Focus::Retained => true,
        Focus::Groups | Focus::Flood | Focus::Wills => false,
    };
    let is_clear = retain && random.once_in(8);
    let is_contested = retain && random.once_in(3);
    let is_clear = is_clear && !is_contested;
    let topic = if is_contested {
        CONTESTED.into()
    } else if retain {
        format!("r/{publisher}")
    } else {
        loop {
            let topic = TOPICS[random.below(TOPICS.len())];
            if is_in(drawn.focus, topic) {
                break topic.into();
            }
        }
    };
    // A repeat at QoS 1 is a new message to the broker and would set an older value again.
    let qos = if retain {
        Qos::ExactlyOnce
    } else {
        qos(random)
    };
    let may_expire = drawn.has_expiry && !retain && client.profile.version.is_v5();
    let is_large = drawn.has_large && !is_clear && !is_contested && random.once_in(4);
    Planned {
        publisher,
        user: client.profile.user,
        topic,
        qos,
        retain,
        is_clear,
        expiry_s: (may_expire && random.once_in(3)).then(|| 1 + random.below(3) as u32),
        padding: if is_large { PADDING } else { 0 },
        sent: None,
        sends: 0,
        accepted: None,
        is_abandoned: false,
        will: None,
        left: 0,
        decided: None,
        is_refused: false,
        lacked_room: None,
        permission: Answer::Yes,
    }
}

/// A client that comes at the end and asks for everything retained.
pub(super) fn newcomer(drawn: &RunParameters, random: &mut Random) -> Client {
    let calm = RunParameters {
        focus: Focus::Everything,
        loses_sessions: false,
        has_wills: false,
        has_large: false,
        has_keep_alives: false,
        ..drawn.clone()
    };
    let mut newcomer = Client::new("newcomer".into(), usize::MAX, &calm, random);
    newcomer.profile.user = ROOT;
    let options = SubscriptionOptions {
        qos: Qos::AtLeastOnce,
        ..SubscriptionOptions::default()
    };
    newcomer.wanted.push(("r/+".into(), options, None));
    newcomer
}
