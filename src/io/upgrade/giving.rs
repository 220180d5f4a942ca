//! The old process: it starts the new one, comes to rest, gives everything, and leaves or continues.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::orders::{Given, Look, UpgradeOrder};
use super::pipe::{not_taken, Pipe, DESCRIPTORS_MAX, HAS_ENDED};
use super::{tickets, FROM};
use crate::io::clock::machine_ns;
use crate::io::controls::Controls;
use crate::io::inbox::ShardCommand;
use crate::io::listener_set::ListenerSet;
use crate::io::memory_watch::give_back;
use crate::io::recovery::Journal;
use crate::io::service_manager;
use crate::io::shared::SharedState;
use crate::upgrade::{
    Counts, Giver, Message, Next, Pauses, Rest, Seen, SocketName, SocketUse, Verdict, REST_PATIENCE,
};

/// So long a new process may take to read its configuration and files.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// So long a new process may take to read what it is given, and the journal.
const TAKE_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the old process gives.
pub(in crate::io) struct Old<'a> {
    pub(in crate::io) shared: &'a Arc<SharedState>,
    pub(in crate::io) listeners: &'a ListenerSet,
    pub(in crate::io) journal: Option<&'a Journal>,
    pub(in crate::io) controls: &'a Controls,
}

/// A new process is this late at most with how long its clients have waited.
const TELL_PATIENCE: Duration = Duration::from_secs(3);

/// The process that serves now.
#[derive(Clone, Copy, Debug)]
pub struct Successor {
    pub process: u32,
    /// Of its clients, if they have come from it in time.
    pub pauses: Option<Pauses>,
}

/// Gives everything to a new process. `Ok`: it serves, and this one is to end; all of its shards do.
pub(in crate::io) fn hand_over(old: &Old<'_>) -> Result<Successor, String> {
    let mut upgrade = Attempt::begin(old)?;
    match upgrade.run(old) {
        Ok(()) => Ok(upgrade.successor()),
        Err(why) if upgrade.giver.may_go_on() => {
            let why = upgrade.take_back(old, why);
            Err(why)
        }
        // The commit is in the pipe: the new process serves, or dies as any other.
        Err(why) => {
            tracing::error!("upgrade: after the commit: {why}");
            Ok(upgrade.successor())
        }
    }
}

struct Attempt {
    giver: Giver,
    child: Child,
    pipe: Arc<Mutex<Pipe>>,
    is_resting: bool,
}

impl Attempt {
    fn begin(old: &Old<'_>) -> Result<Self, String> {
        if old.shared.options().cluster.is_on() {
            // Nor could both processes have its name.
            return Err("a node of a cluster is not handed over yet: restart it".into());
        }
        let program = program()?;
        let (pipe, end) = Pipe::pair().map_err(|error| error.to_string())?;
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        tracing::info!("upgrade: starting {}", program.display());
        let child = Command::new(&program)
            .args(arguments)
            .env(FROM, std::process::id().to_string())
            // It is for the process whose number is in it, which the new one will be.
            .env_remove("WATCHDOG_PID")
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(OwnedFd::from(end)))
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        Ok(Self {
            giver: Giver::new(data_dir(old)),
            child,
            pipe: Arc::new(Mutex::new(pipe)),
            is_resting: false,
        })
    }

    fn run(&mut self, old: &Old<'_>) -> Result<(), String> {
        self.set_patience(START_PATIENCE)?;
        self.hear(Next::Prepare)?;
        // The new process fills what this one has free: otherwise it counts twice.
        old.shared.broadcast(|| ShardCommand::GiveBack);
        give_back();
        self.send_sockets(old)?;
        self.hear(Next::Give)?;
        self.set_patience(TAKE_PATIENCE)?;
        let (since, resting_since) = (Instant::now(), machine_ns());
        self.is_resting = true;
        old.controls.pause_services(true);
        come_to_rest(old.shared)?;
        let at_rest = since.elapsed();
        self.say(&Message::Tickets(tickets::of(old.listeners)))?;
        self.say(&Message::Still)?;
        let given = self.give(old)?;
        self.say(&Message::All(given.counts))?;
        let is_given = since.elapsed();
        self.hear(Next::Commit)?;
        // A service manager listens to the main process, which is this one so far.
        service_manager::main_process(self.child.id());
        self.say(&Message::Commit { resting_since })?;
        old.shared.leave(given.relayed + given.left > 0);
        let Counts {
            clients,
            sessions,
            retained,
        } = given.counts;
        let kept = match old.journal {
            Some(_) => "what is durable in the journal",
            None => "all in memory",
        };
        tracing::info!(
            "upgrade: process {} serves {clients} clients, {sessions} other sessions and {retained} retained messages \
             were given ({kept}), {} connections were not; at rest after {} ms, given after {}, ready after {}",
            self.child.id(),
            given.left,
            at_rest.as_millis(),
            is_given.as_millis(),
            since.elapsed().as_millis(),
        );
        Ok(())
    }

    /// After the commit.
    fn successor(&mut self) -> Successor {
        let told = self.set_patience(TELL_PATIENCE).and_then(|()| self.next());
        let pauses = match told {
            Ok(Next::Tell(pauses)) => Some(pauses),
            _ => None, // one of an earlier version, or it has died
        };
        Successor {
            process: self.child.id(),
            pauses,
        }
    }

    /// The new process ends first, so that two never serve.
    fn take_back(&mut self, old: &Old<'_>, why: String) -> String {
        let _ = self.child.kill(); // fails when it has ended
        let ended = self.child.wait().ok();
        let code = ended.and_then(|ended| ended.code());
        let why = match code {
            Some(code) => format!("{why} (its exit code: {code})"),
            None => why,
        };
        if self.is_resting {
            service_manager::main_process(std::process::id());
            old.shared
                .broadcast(|| ShardCommand::Upgrade(UpgradeOrder::GoOn));
            old.shared.hand_services_again();
            old.controls.pause_services(false);
        }
        tracing::error!("upgrade: {why}; this process goes on");
        why
    }

    fn set_patience(&self, patience: Duration) -> Result<(), String> {
        let set = self.locked(|pipe| pipe.set_patience(patience));
        set.map_err(|error| error.to_string())
    }

    fn locked<T>(&self, act: impl FnOnce(&Pipe) -> T) -> T {
        act(&self.pipe.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn say(&self, message: &Message) -> Result<(), String> {
        self.say_with(message, &[])
    }

    fn say_with(&self, message: &Message, beside: &[BorrowedFd<'_>]) -> Result<(), String> {
        let sent = self.locked(|pipe| pipe.send(message, beside));
        sent.map_err(|error| not_taken(&error))
    }

    /// The new process says what leads to this, or everything ends.
    fn hear(&mut self, expected: Next) -> Result<(), String> {
        match self.next()? {
            next if next == expected => Ok(()),
            _ => Err("the new process says something else than it should".into()),
        }
    }

    fn next(&mut self) -> Result<Next, String> {
        let received = self.locked(Pipe::receive);
        match received {
            Ok(Some((message, _))) => self.giver.heard(message),
            Ok(None) => Err(HAS_ENDED.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err("the new process does not answer in time".into())
            }
            Err(error) => Err(format!("the new process is not understood: {error}")),
        }
    }

    fn send_sockets(&self, old: &Old<'_>) -> Result<(), String> {
        let mut all = old.listeners.sockets();
        let admin = old.shared.service_sockets();
        all.extend(admin.iter().map(|(address, socket)| {
            let name = SocketName {
                used_for: SocketUse::Admin,
                address: address.clone(),
            };
            (name, socket.as_fd())
        }));
        if let Some(journal) = old.journal {
            let name = SocketName {
                used_for: SocketUse::Lock,
                address: data_dir(old).unwrap_or_default(),
            };
            all.push((name, journal.lock()));
        }
        if all.len() > DESCRIPTORS_MAX {
            return Err(format!("{} listeners are too many", all.len()));
        }
        let (names, sockets): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        self.say_with(&Message::Sockets(names), &sockets)
    }

    /// Has all shards give what they have.
    fn give(&self, old: &Old<'_>) -> Result<Given, String> {
        let (sender, gifts) = channel();
        old.shared.broadcast(|| {
            let order = UpgradeOrder::Give(Arc::clone(&self.pipe), sender.clone());
            ShardCommand::Upgrade(order)
        });
        drop(sender);
        let mut given = Given::default();
        for gift in gifts {
            let gift = gift?;
            given.counts = given.counts.and(gift.counts);
            given.left += gift.left;
            given.relayed += gift.relayed;
        }
        Ok(given)
    }
}

fn data_dir(old: &Old<'_>) -> Option<String> {
    old.shared.options().data_dir.clone()
}

/// The program of this process, or what has been put in its place since it was started.
fn program() -> Result<PathBuf, String> {
    let link = std::fs::read_link("/proc/self/exe")
        .map_err(|error| format!("/proc/self/exe cannot be read: {error}"))?;
    let text = link.to_string_lossy();
    let path = text.strip_suffix(" (deleted)").map(PathBuf::from);
    let path = path.unwrap_or(link.clone());
    match std::fs::metadata(&path) {
        Ok(found) if found.mode() & 0o111 != 0 => Ok(path),
        Ok(_) => Err(format!("{} is no program", path.display())),
        Err(error) => Err(format!("{} cannot be started: {error}", path.display())),
    }
}

/// Has all shards end what is on its way, and be still.
fn come_to_rest(shared: &SharedState) -> Result<(), String> {
    shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::SlowDown));
    let (begun, mut rest) = (Instant::now(), Rest::default());
    loop {
        let looks = look(shared)?;
        let seen = Seen {
            is_at_rest: looks.iter().all(|look| look.is_at_rest),
            busy: looks.iter().map(|look| look.busy).sum(),
            sent: looks.iter().map(|look| look.sent).sum(),
            taken: looks.iter().map(|look| look.taken).sum(),
        };
        match rest.saw(seen, begun.elapsed()) {
            Verdict::AtRest => break,
            Verdict::LookAgain => thread::sleep(LOOK_EVERY),
            Verdict::TooLate => {
                return Err(format!(
                    "the shards do not come to rest within {REST_PATIENCE:?}"
                ));
            }
        }
    }
    let (sender, done) = channel();
    shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::BeStill(sender.clone())));
    drop(sender);
    answers(&done, shared).map(drop)
}

fn look(shared: &SharedState) -> Result<Vec<Look>, String> {
    let (sender, looks) = channel();
    shared.broadcast(|| ShardCommand::Upgrade(UpgradeOrder::Look(sender.clone())));
    drop(sender);
    answers(&looks, shared)
}

/// One of each shard.
fn answers<T>(received: &Receiver<T>, shared: &SharedState) -> Result<Vec<T>, String> {
    let each = (0..shared.shards()).map(|_| received.recv_timeout(REST_PATIENCE));
    let all: Result<Vec<T>, _> = each.collect();
    all.map_err(|_| "a shard does not answer".into())
}
