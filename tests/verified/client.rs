//! A client that keeps its session and loses its connections.

use std::time::{Duration, Instant};

use rustix::event::PollFd;

use super::frames::{self, Connect, Frame};
use super::link::Link;
use super::random::Random;

/// What a client does to its own connections. Each rate is once in so many packets received, 0 never.
#[derive(Clone, Copy)]
pub(crate) struct Disorder {
    pub(crate) cut_one_in: u64,
    /// Cuts still to come.
    pub(crate) cuts_left: u32,
    /// Stops reading for a while.
    pub(crate) stall_one_in: u64,
    pub(crate) stall_ms_max: u64,
    /// Connections opened at once when one takes over.
    pub(crate) rivals_max: u64,
}

impl Disorder {
    pub(crate) const NONE: Self = Self {
        cut_one_in: 0,
        cuts_left: 0,
        stall_one_in: 0,
        stall_ms_max: 1,
        rivals_max: 1,
    };
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum Cut {
    /// Closed, whatever is under way.
    Closed,
    /// Closed after any byte of what is to be written.
    HalfWritten,
    /// Reset after any byte of what is to be written.
    Reset,
    /// Open until another connection of the same client has taken over.
    TakenOver,
}

pub(crate) struct Client {
    pub(crate) is_v5: bool,
    client_id: String,
    port: u16,
    receive_buffer: Option<usize>,
    /// Never empty. More than one while the broker decides which of them takes over.
    links: Vec<Link>,
    /// CONNACK was received and the connection is the only one.
    pub(crate) is_up: bool,
    has_session: bool,
    disorder: Disorder,
    stalled_until: Option<Instant>,
    pub(crate) random: Random,
    packets: u64,
}

impl Client {
    pub(crate) fn new(port: u16, client_id: String, is_v5: bool, seed: u64) -> Self {
        let mut client = Self {
            is_v5,
            port,
            receive_buffer: None,
            links: Vec::new(),
            is_up: false,
            has_session: false,
            disorder: Disorder::NONE,
            stalled_until: None,
            random: Random::new(seed),
            client_id,
            packets: 0,
        };
        client.open(1);
        client
    }

    /// Later connections let the kernel hold only so many bytes unread.
    pub(crate) fn limit_receive_buffer(&mut self, bytes: usize) {
        self.receive_buffer = Some(bytes);
    }

    pub(crate) fn set_disorder(&mut self, disorder: Disorder) {
        self.disorder = disorder;
        if disorder.stall_one_in == 0 {
            self.stalled_until = None;
        }
    }

    /// Connections open, as far as the client knows.
    pub(crate) fn connections(&self) -> usize {
        self.links.len()
    }

    /// Packets received so far.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.links[0].unsent.extend_from_slice(frame);
    }

    /// The next packet. CONNACK is looked at here and returned, too.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        if self.links.len() > 1 {
            return None;
        }
        let frame = self.links[0].take()?;
        self.packets += 1;
        if self.is_up {
            return Some(frame);
        }
        assert_eq!(
            (frame.0, frame.1[1]),
            (0x20, 0),
            "{}: {frame:02x?}",
            self.client_id
        );
        let is_present = frame.1[0] == 1;
        assert_eq!(
            is_present, self.has_session,
            "{}: session present",
            self.client_id
        );
        (self.is_up, self.has_session) = (true, true);
        Some(frame)
    }

    /// Moves bytes both ways as far as they go now.
    pub(crate) fn move_bytes(&mut self) {
        self.write();
        if self.is_stalled() {
            return;
        }
        let mut open = Vec::with_capacity(self.links.len());
        for mut link in self.links.drain(..) {
            if link.read() {
                open.push(link);
            }
        }
        // All but one are taken over. None left: the only one was closed, and nothing had asked for it.
        assert!(!open.is_empty(), "{} was closed", self.client_id);
        self.links = open;
    }

    pub(crate) fn write(&mut self) {
        self.links.iter_mut().for_each(Link::write);
    }

    /// Disturbs itself now and then; true when what was received is gone.
    pub(crate) fn may_disturb(&mut self) -> bool {
        if !self.is_up {
            return false;
        }
        if self.random.one_in(self.disorder.stall_one_in) {
            let ms = 1 + self.random.below(self.disorder.stall_ms_max);
            self.stalled_until = Some(Instant::now() + Duration::from_millis(ms));
        }
        if self.disorder.cuts_left == 0 || !self.random.one_in(self.disorder.cut_one_in) {
            return false;
        }
        self.disorder.cuts_left -= 1;
        self.cut();
        true
    }

    fn cut(&mut self) {
        let cut = [Cut::Closed, Cut::HalfWritten, Cut::Reset, Cut::TakenOver]
            [self.random.below(4) as usize];
        let mut rivals = 1;
        if matches!(cut, Cut::HalfWritten | Cut::Reset) {
            let unsent = &mut self.links[0].unsent;
            let written = self.random.below(unsent.len() as u64 + 1);
            unsent.truncate(written as usize);
        }
        self.write();
        match cut {
            Cut::TakenOver => rivals = 1 + self.random.below(self.disorder.rivals_max),
            Cut::Reset => self.links.drain(..).for_each(Link::reset),
            Cut::Closed | Cut::HalfWritten => self.links.clear(),
        }
        self.is_up = false;
        self.stalled_until = None;
        for link in &mut self.links {
            link.unsent.clear();
        }
        self.open(rivals as usize);
    }

    fn open(&mut self, count: usize) {
        for _ in 0..count {
            let connect = Connect {
                is_v5: self.is_v5,
                client_id: &self.client_id,
                is_kept: true,
                will: None,
            };
            let first = frames::connect(&connect);
            self.links
                .push(Link::open(self.port, self.receive_buffer, first));
        }
    }

    /// True while the client does not read. It reads on then, or is cut with all that is unread.
    fn is_stalled(&mut self) -> bool {
        let Some(end) = self.stalled_until else {
            return false;
        };
        if end > Instant::now() {
            return true;
        }
        self.stalled_until = None;
        if self.is_up && self.disorder.cuts_left > 0 && self.random.one_in(2) {
            self.disorder.cuts_left -= 1;
            self.cut();
        }
        false
    }

    /// When to look at the client though its sockets are quiet.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.stalled_until
    }

    /// What to wait for.
    pub(crate) fn wait_for<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let reads = self.stalled_until.is_none();
        fds.extend(self.links.iter().map(|link| link.wait_for(reads)));
    }
}
