//! Parameters of a run, drawn from its seed as in swarm testing: each run has its own extremes.

use super::random::Random;
use crate::limits::{Limits, QueuePolicy, Rate, Rates};

/// Of the world: shards, rings, sockets.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub shards: u16,
    /// Blocks and sockets one ring holds.
    pub ring_blocks: usize,
    /// Bytes that cross a socket at once, at most.
    pub piece_max: usize,
    /// Bytes a socket towards a client holds before the broker must wait.
    pub socket_room: usize,
    /// A data block is taken once in so many attempts: control messages overtake.
    pub data_lag: usize,
    /// Longest time between two steps, in nanoseconds.
    pub step_max_ns: u64,
    /// Deliveries after which the rest waits for the next turn.
    pub turn_work: usize,
    /// A shard gets the verdict on a login once in so many turns.
    pub login_lag: usize,
    /// Logs are cleaned when so much of them may be given up, and so much in a turn; `None`: when they are large.
    pub cleaning: Option<(u64, usize)>,
}

/// What a run is about: narrow runs meet what wide ones seldom do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Everything,
    /// Shared groups, with members that come and go.
    Groups,
    Retained,
    /// One topic, more than its subscribers take at once.
    Flood,
    /// Wills, under rules that change.
    Wills,
}

/// Of the clients and what happens to them.
#[derive(Clone, Debug)]
pub(super) struct RunParameters {
    pub(super) world: Parameters,
    pub(super) focus: Focus,
    pub(super) clients: usize,
    pub(super) publications: usize,
    /// Once in so many acts of a client its connection is cut or taken over.
    pub(super) rest: usize,
    /// A client publishes once in so many chances.
    pub(super) pace: usize,
    /// Acts of clients for each step of the broker.
    pub(super) acts: usize,
    /// Small queues, so that messages may be dropped (and must be counted).
    pub(super) is_tight: bool,
    pub(super) queue_messages_max: u32,
    pub(super) queue_policy: QueuePolicy,
    pub(super) queue_qos0: bool,
    /// Beyond it what waits is on the disk alone.
    pub(super) queue_memory: u64,
    /// How long clients of 3.1.1 wait for room on a full disk.
    pub(super) disk_full_timeout_s: u16,
    pub(super) outgoing_bytes_max: u32,
    pub(super) outgoing_window_max: u16,
    pub(super) session_expiry_max_s: u32,
    /// Of a client: messages per second in either direction, bytes per second from it.
    pub(super) messages_per_s: [Option<u32>; 2],
    pub(super) bytes_per_s: Option<u32>,
    /// Of all clients together, in either direction.
    pub(super) all_messages_per_s: [Option<u32>; 2],
    /// Time sometimes jumps ahead by up to this, in milliseconds; 0: never.
    pub(super) jump_max_ms: u64,
    /// Clients unsubscribe once in so many chances; 0: never.
    pub(super) unsubscribe_once_in: usize,
    /// Some clients start clean or lose their session.
    pub(super) loses_sessions: bool,
    pub(super) has_keep_alives: bool,
    pub(super) has_wills: bool,
    pub(super) has_large: bool,
    pub(super) has_expiry: bool,
    /// Clients have accounts and rules.
    pub(super) has_accounts: bool,
    /// The rules change once in so many acts; 0: never.
    pub(super) rules_change_once_in: usize,
    /// Step at which the shutdown begins.
    pub(super) shutdown_at: Option<usize>,
}

impl RunParameters {
    pub(super) fn draw(random: &mut Random, steps: usize) -> Self {
        // From a stream of their own: runs without accounts or rates are what they would be without these.
        let mut apart = Random::new(random.draw());
        let mut stored = Random::new(apart.draw());
        let is_tight = random.once_in(6);
        let jump_max_ms = [0, 300, 3_000, 12_000][random.below(4)];
        let focus = [
            Focus::Everything,
            Focus::Everything,
            Focus::Groups,
            Focus::Groups,
            Focus::Retained,
            Focus::Flood,
        ][random.below(6)];
        let has_accounts = apart.once_in(3);
        let is_about_wills = has_accounts && apart.once_in(4);
        let focus = if is_about_wills { Focus::Wills } else { focus };
        let has_keep_alives = jump_max_ms > 1_000 && random.once_in(2);
        // A client that must wait is not silent, but the model does not know that it waits.
        let has_rates = !has_keep_alives && random.once_in(4);
        let is_short = focus != Focus::Groups && random.once_in(4);
        Self {
            world: Parameters {
                shards: [1, 2, 2, 3, 4, 5, 8][random.below(7)],
                ring_blocks: 1 + random.below(3),
                piece_max: [1, 7, 60, 2_000][random.below(4)],
                socket_room: [40, 300, 100_000][random.below(3)],
                data_lag: [1, 3, 30][random.below(3)],
                step_max_ns: [200_000, 2_000_000, 20_000_000][random.below(3)],
                turn_work: [1, 5, 1 << 16][random.below(3)],
                login_lag: [1, 4, 40][apart.below(3)],
                cleaning: [None, Some((0, 100)), Some((16 << 10, 1_000))][stored.below(3)],
            },
            focus,
            clients: 2 + random.below(6),
            publications: 20 + random.below(80),
            rest: [60, 300, 1_500][random.below(3)],
            pace: [1, 5, 30][random.below(3)],
            acts: 1 + random.below(3),
            is_tight,
            queue_messages_max: if is_tight {
                1 + random.below(6) as u32
            } else {
                100_000
            },
            queue_policy: [
                QueuePolicy::DropOldest,
                QueuePolicy::DropNewest,
                QueuePolicy::Disconnect,
            ][random.below(3)],
            queue_qos0: random.once_in(4),
            queue_memory: [0, 1_000, 1 << 30][stored.below(3)],
            disk_full_timeout_s: [1, 5, 60][stored.below(3)],
            outgoing_bytes_max: [50, 400, 1 << 20][random.below(3)],
            outgoing_window_max: [1, 3, 512][random.below(3)],
            session_expiry_max_s: if is_short { 4 } else { 100_000 },
            jump_max_ms,
            unsubscribe_once_in: if focus == Focus::Groups {
                [40, 6][random.below(2)]
            } else {
                [0, 0, 40, 6][random.below(4)]
            },
            loses_sessions: random.once_in(if focus == Focus::Groups { 2 } else { 3 }),
            messages_per_s: std::array::from_fn(|_| {
                let is_limited = has_rates && random.once_in(2);
                is_limited.then(|| [10, 40][random.below(2)])
            }),
            bytes_per_s: (has_rates && apart.once_in(2)).then(|| [300, 2_000][apart.below(2)]),
            all_messages_per_s: std::array::from_fn(|_| {
                (has_rates && apart.once_in(3)).then(|| [200, 500][apart.below(2)])
            }),
            has_accounts,
            rules_change_once_in: [0, 500, 2_000][apart.below(3)],
            has_keep_alives,
            has_wills: random.once_in(2) || is_about_wills,
            has_large: random.once_in(4),
            has_expiry: random.once_in(3),
            shutdown_at: random.once_in(10).then(|| random.below(steps)),
        }
    }

    pub(super) fn has_rates(&self) -> bool {
        self.messages_per_s.iter().any(Option::is_some)
            || self.all_messages_per_s.iter().any(Option::is_some)
            || self.bytes_per_s.is_some()
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            queue_messages_max: self.queue_messages_max,
            queue_bytes_max: 1 << 30,
            queue_policy: self.queue_policy,
            queue_qos0: self.queue_qos0,
            queue_memory: self.queue_memory,
            disk_full_timeout_s: self.disk_full_timeout_s,
            outgoing_bytes_max: self.outgoing_bytes_max,
            outgoing_window_max: self.outgoing_window_max,
            session_expiry_max_s: self.session_expiry_max_s,
            topic_alias_outgoing_max: 9,
            topic_alias_bytes_max: 24, // what a client sends fits, what it is sent does not always
            client_rates: Rates {
                incoming: Rate {
                    bytes_per_s: self.bytes_per_s,
                    ..rate(self.messages_per_s[0])
                },
                outgoing: rate(self.messages_per_s[1]),
            },
            listener_rates: Rates {
                incoming: rate(self.all_messages_per_s[0]),
                outgoing: rate(self.all_messages_per_s[1]),
            },
            ..Limits::default()
        }
    }
}

fn rate(messages_per_s: Option<u32>) -> Rate {
    Rate {
        messages_per_s,
        bytes_per_s: None,
    }
}
