//! Budgets of lines per class, and counts of events that repeat.

use super::*;

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// Notices without a shard, and the lines they have led to.
struct Log {
    notices: Notices,
    lines: Vec<(u64, String)>,
}

impl Log {
    fn new() -> Self {
        Self {
            notices: Notices::new(1),
            lines: Vec::new(),
        }
    }

    /// As `Shard::notice` does it.
    fn add(&mut self, about: &About<'_>, text: &str, second: u64) -> Verdict {
        let now = at(second);
        self.show_counts(second);
        let key = self.notices.key(about);
        let verdict = self.notices.judge(key, about, now);
        if matches!(verdict, Verdict::Show { .. }) {
            self.notices.remember(key, about, text, now);
            self.lines.push((second, text.to_owned()));
        }
        verdict
    }

    fn show_counts(&mut self, second: u64) {
        while let Some(due) = self.notices.next_count().filter(|due| *due <= at(second)) {
            let counts = self.notices.counts(due).into_iter();
            let second = due.since(Time::ZERO).as_secs();
            self.lines
                .extend(counts.map(|notice| (second, notice.text)));
        }
    }

    fn lines(&self) -> Vec<(u64, &str)> {
        let lines = self.lines.iter();
        lines.map(|(second, text)| (*second, &**text)).collect()
    }
}

#[test]
fn what_lasts_is_said_when_it_begins_once_a_minute_and_when_it_ends() {
    let mut log = Log::new();
    // Six messages a second for 150 seconds.
    for second in 0..150 {
        for _ in 0..6 {
            log.add(&About::loss("full", Some("gone"), 1), "full", second);
        }
    }
    log.show_counts(1_000);
    let expected = [
        (0, "full"),
        (60, "full: 359 more since the last line, 360 in all"),
        (120, "full: 360 more since the last line, 720 in all"),
        (180, "full: 180 more since the last line, 900 in all"),
        (240, "full: no more of it for a minute, 900 in all"),
    ];
    assert_eq!(log.lines(), expected);
    // An event that begins again later begins with a line, and one that happens once has one.
    log.add(&About::loss("full", Some("gone"), 1), "full", 2_000);
    log.show_counts(3_000);
    assert_eq!(log.lines()[5..], [(2_000, "full")]);
    assert!(log.notices.remembered.is_empty());
}

#[test]
fn what_drops_for_one_client_leaves_room_for_what_happens_to_others() {
    let mut log = Log::new();
    for _ in 0..1_000 {
        log.add(&About::loss("full", Some("gone"), 1), "full", 5);
    }
    let mut shown = |about: &About<'_>| log.add(about, "x", 5);
    let others: Vec<_> = (0..LINES_PER_S + 1).map(|n| format!("c{n}")).collect();
    for (n, id) in (1..).zip(&others) {
        let expected = match n {
            n if n <= LINES_PER_S => Verdict::Show { suppressed: 0 },
            _ => Verdict::LeftOut,
        };
        assert_eq!(shown(&About::refusal("no", Some(id), None)), expected);
    }
    // Each class has its own lines.
    let loss = About::loss("full", Some("other"), 1);
    assert_eq!(shown(&loss), Verdict::Show { suppressed: 0 });
    let takeover = About {
        class: Class::Takeover,
        ..About::loss("", Some("other"), 1)
    };
    assert_eq!(shown(&takeover), Verdict::Show { suppressed: 0 });
    let next = log.add(&About::refusal("no", Some("later"), None), "x", 6);
    assert_eq!(next, Verdict::Show { suppressed: 1 });
}

#[test]
fn refusals_are_counted_by_client_address_and_reason() {
    let peer = |text: &str| Some(RemoteEnd::Ip(text.parse().unwrap()));
    let mut log = Log::new();
    let mut shows = |about: &About<'_>, second| {
        matches!(log.add(about, "refused", second), Verdict::Show { .. })
    };
    let probe = |port: u16| About::refusal("silent", None, peer(&format!("192.0.2.1:{port}")));
    let first: Vec<bool> = (0..6).map(|n| shows(&probe(n), n.into())).collect();
    assert_eq!(first, [true, true, true, false, false, false]);
    assert!(shows(
        &About::refusal("silent", None, peer("192.0.2.2:1")),
        6
    ));
    assert!(shows(
        &About::refusal("wrong", None, peer("192.0.2.1:1")),
        6
    ));
    assert!(shows(
        &About::refusal("silent", Some("c"), peer("192.0.2.1:1")),
        6
    ));
    assert!(shows(
        &About::refusal("silent", None, Some(RemoteEnd::Unix)),
        6
    ));
    // Refusals that have stopped are not an end of anything.
    log.show_counts(1_000);
    let counts: Vec<_> = log
        .lines()
        .into_iter()
        .filter(|(_, text)| text.len() > 7)
        .collect();
    assert_eq!(
        counts,
        [(62, "refused: 3 more since the last line, 6 in all")]
    );
}

#[test]
fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten() {
    let mut log = Log::new();
    let count = 3 * REMEMBERED_MAX as u64;
    for n in 0..count {
        let now = Time::ZERO + Span::from_millis(n);
        let id = format!("c{n}");
        let about = About::loss("full", Some(&id), 1);
        let key = log.notices.key(&about);
        log.notices.remember(key, &about, "full", now);
        // The first is seen all the time.
        let first = About::loss("full", Some("c0"), 1);
        let key = log.notices.key(&first);
        log.notices.judge(key, &first, now);
        assert!(log.notices.remembered.len() <= REMEMBERED_MAX);
    }
    let known = |log: &Log, n: u64| {
        let id = format!("c{n}");
        let key = log.notices.key(&About::loss("full", Some(&id), 1));
        log.notices.remembered.contains_key(&key)
    };
    assert!(known(&log, 0) && known(&log, count - 1) && !known(&log, 1));
}

#[test]
fn what_is_forgotten_is_among_what_was_left_out() {
    let mut log = Log::new();
    for _ in 0..8 {
        log.add(&About::loss("full", Some("first"), 1), "full", 0);
    }
    for n in 0..REMEMBERED_MAX {
        let id = format!("c{n}");
        let about = About::loss("full", Some(&id), 1);
        let key = log.notices.key(&about);
        log.notices.remember(key, &about, "full", at(1));
    }
    let next = log.add(&About::loss("full", Some("next"), 1), "full", 2);
    assert_eq!(next, Verdict::Show { suppressed: 7 });
}

#[test]
fn long_texts_are_cut() {
    assert_eq!(cut("ab", 2), "ab");
    assert_eq!(cut("abc", 2), "ab...");
    assert_eq!(cut("aü", 2), "a...");
    let mut log = Log::new();
    let id = "x".repeat(70_000);
    log.add(&About::loss("full", Some(&id), 1), "full", 0);
    let known = log.notices.remembered.values().next().unwrap();
    assert!(known.client_id.as_ref().unwrap().len() < 300);
}
