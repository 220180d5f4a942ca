use super::*;
use crate::image::FORMAT;

fn round(message: &Message) {
    let (kind, body) = message.encode();
    assert_eq!(Message::decode(kind, &body).as_ref(), Ok(message));
    for end in 0..body.len() {
        assert!(Message::decode(kind, &body[..end]).is_err(), "cut at {end}");
    }
    let longer = [&body[..], &[0]].concat();
    assert!(Message::decode(kind, &longer).is_err());
}

fn hello() -> Hello {
    Hello::own(7, Some("/data".into()))
}

#[test]
fn messages_are_read_as_they_were_written() {
    let name = |used_for| SocketName {
        used_for,
        address: "[::1]:1883".into(),
    };
    let uses = [SocketUse::Listener(3), SocketUse::Admin, SocketUse::Lock];
    let live = |layers| ClientParcel::Live {
        session: vec![1, 2],
        connection: vec![3],
        layers,
    };
    let layers = ParcelLayers::Here {
        image: vec![1],
        unsent: vec![2, 3],
    };
    let opened = ClientParcel::Opened {
        origin: vec![4],
        read: vec![],
    };
    for message in [
        Message::Hello(hello()),
        Message::Refused("why".into()),
        Message::Prepared,
        Message::Ready { refused: 2 },
        Message::Sockets(uses.map(name).into()),
        Message::Tickets(vec![TicketKeys {
            address: "streams [::1]:8883".into(),
            keys: vec![1, 2, 3],
        }]),
        Message::Still,
        Message::Retained(vec![("a/b".into(), vec![1]), ("c".into(), vec![])]),
        Message::Sessions(vec![vec![], vec![9; 300]]),
        Message::Clients(vec![
            live(ParcelLayers::Nothing),
            live(ParcelLayers::Elsewhere),
            live(layers),
            opened,
        ]),
        Message::All(Counts {
            clients: 1,
            sessions: 2,
            retained: 3,
        }),
        Message::Commit {
            resting_since: 1 << 60,
        },
        Message::Paused(Pauses::of(vec![3, 4, 5])),
    ] {
        round(&message);
    }
    assert!(Message::decode(0, &[]).is_err() && Message::decode(99, &[]).is_err());
}

#[test]
fn an_old_process_goes_on_until_it_has_committed() {
    let mut giver = Giver::new(Some("/data".into()));
    assert!(giver.clone().heard(Message::Prepared).is_err());
    assert_eq!(giver.heard(Message::Hello(hello())), Ok(Next::Prepare));
    let ready = || Message::Ready { refused: 0 };
    assert!(giver.clone().heard(ready()).is_err());
    assert_eq!(giver.heard(Message::Prepared), Ok(Next::Give));
    assert!(giver.may_go_on());
    let mut refused = giver.clone();
    let why = refused.heard(Message::Refused("no".into())).unwrap_err();
    assert_eq!(why, "the new process refuses: no");
    assert!(refused.may_go_on());
    assert!(giver.clone().heard(Message::Hello(hello())).is_err());
    assert_eq!(giver.heard(ready()), Ok(Next::Commit));
    assert!(!giver.may_go_on());
}

#[test]
fn who_reads_other_images_or_another_data_directory_is_refused() {
    let refused = |hello: Hello| {
        let mut giver = Giver::new(Some("/data".into()));
        giver.heard(Message::Hello(hello)).unwrap_err()
    };
    let newer = Hello {
        formats: (FORMAT + 1, FORMAT + 2),
        ..hello()
    };
    assert!(refused(newer).contains("restart instead"));
    let other = Hello {
        protocol: PROTOCOL + 1,
        ..hello()
    };
    let (kind, body) = Message::Hello(other.clone()).encode();
    let Ok(Message::Hello(seen)) = Message::decode(kind, &body[..1]) else {
        panic!("of another protocol only the first byte is looked at");
    };
    assert!(refused(seen).contains("restart instead"));
    let elsewhere = Hello {
        data_dir: None,
        ..hello()
    };
    assert!(refused(elsewhere).contains("data-dir"));
    let next = Hello {
        formats: (FORMAT, FORMAT + 1),
        ..hello()
    };
    let mut giver = Giver::new(Some("/data".into()));
    assert_eq!(giver.heard(Message::Hello(next)), Ok(Next::Prepare));
}

/// A new process serves when it has everything and the old one has committed or is dead, and never before.
#[test]
fn a_new_process_serves_what_is_whole() {
    let mut taker = Taker::default();
    let sessions = || Message::Sessions(vec![vec![1], vec![2]]);
    let all = |sessions| {
        Message::All(Counts {
            sessions,
            ..Counts::default()
        })
    };
    let commit = || Message::Commit { resting_since: 5 };
    let dies = |taker: &Taker| taker.clone().ended();
    assert!(taker.clone().heard(sessions()).is_err(), "before its time");
    for (message, is_kept) in [
        (Message::Sockets(Vec::new()), true),
        (Message::Still, false),
        (sessions(), true),
    ] {
        assert!(dies(&taker).is_err());
        assert!(taker.clone().heard(commit()).is_err());
        let heard = taker.heard(message.clone()).unwrap();
        assert_eq!(heard == Heard::Keep(message), is_kept);
    }
    assert!(taker.clone().heard(all(1)).is_err(), "one is missing");
    assert_eq!(taker.heard(all(2)), Ok(Heard::Build));
    assert!(dies(&taker).is_err(), "it has not built anything");
    assert!(taker.clone().heard(commit()).is_err());
    taker.is_ready();
    let resting_since = None;
    assert_eq!(dies(&taker), Ok(Heard::Serve { resting_since }));
    let resting_since = Some(5);
    assert_eq!(taker.heard(commit()), Ok(Heard::Serve { resting_since }));
    assert!(taker.heard(commit()).is_err());
}
