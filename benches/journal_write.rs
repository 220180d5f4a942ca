//! What a durable commit costs on this disk: `cargo bench --bench journal_write -- [folder] [milliseconds]`.
//!
//! One writer with one commit on its way, as a shard's journal has. The variants take turns, so that
//! neighbours disturb all of them alike. Figures are the disk's; compare within one run.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue, IoUring};
use ringmq::ids::ShardId;
use ringmq::io::aligned_buffer::AlignedBuffer;
use ringmq::io::operations::{Carrier, Completion};
use ringmq::io::poller::Poller;
use ringmq::io::segment_files::{Request, SegmentFiles};
use ringmq::journal::SegmentNumber;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::OFlags;

const FILE: u64 = 64 << 20;
const SIZES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 256 << 10];
/// Commits of one variant before the next has its turn.
const ROUND: usize = 20;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let folder = arguments.next().map_or(std::env::temp_dir(), PathBuf::from);
    let time = arguments.next().and_then(|word| word.parse().ok());
    let time = Duration::from_millis(time.unwrap_or(4_000));
    let folder = folder.join(format!("ringmq-journal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let result = std::panic::catch_unwind(|| {
        segments(&folder);
        commits(&folder, time);
        beside_segments(&folder, time);
    });
    let _ = std::fs::remove_dir_all(&folder);
    if result.is_err() {
        std::process::exit(1);
    }
}

/// A way to make bytes durable.
trait Writer {
    fn name(&self) -> &'static str;
    /// Returns when the commit was handed over; it is complete when the call ends.
    fn commit(&mut self, bytes: &[u8], offset: u64) -> Duration;
}

/// The shard's: one write, past the page cache, with `RWF_DSYNC`.
struct Dsync {
    poller: Poller,
    _wake: OwnedFd,
    file: Arc<OwnedFd>,
    buffer: Option<AlignedBuffer>,
    carrier: Carrier,
    name: &'static str,
}

impl Dsync {
    fn new(path: &Path, direct: bool, carrier: Carrier, name: &'static str) -> Self {
        let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        Self {
            poller: Poller::new(wake.as_fd()).unwrap(),
            _wake: wake,
            file: Arc::new(open(path, direct)),
            buffer: Some(AlignedBuffer::new(1 << 20)),
            carrier,
            name,
        }
    }
}

impl Writer for Dsync {
    fn name(&self) -> &'static str {
        self.name
    }

    fn commit(&mut self, bytes: &[u8], offset: u64) -> Duration {
        let mut buffer = self.buffer.take().unwrap();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let began = Instant::now();
        self.poller
            .write(&self.file, buffer, offset, self.carrier, 0);
        self.poller.submit();
        let submitted = began.elapsed();
        loop {
            self.poller.reap(|_| ());
            match self.poller.take_completion() {
                Some(Completion::Written { buffer, result, .. }) => {
                    result.unwrap();
                    self.buffer = Some(buffer);
                    return submitted;
                }
                _ => self.poller.wait(None),
            }
        }
    }
}

/// A write and an fdatasync that waits for it: two requests, of which a thread of the kernel carries out
/// the second.
struct Linked {
    ring: IoUring,
    file: OwnedFd,
    buffer: AlignedBuffer,
    name: &'static str,
}

impl Linked {
    fn new(path: &Path, direct: bool, name: &'static str) -> Self {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        Self {
            ring: builder.build(8).unwrap(),
            file: open(path, direct),
            buffer: AlignedBuffer::new(1 << 20),
            name,
        }
    }
}

impl Writer for Linked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn commit(&mut self, bytes: &[u8], offset: u64) -> Duration {
        self.buffer.clear();
        self.buffer.extend_from_slice(bytes);
        let file = Fd(self.file.as_raw_fd());
        let began = Instant::now();
        let write = opcode::Write::new(file, self.buffer.as_ptr(), bytes.len() as u32)
            .offset(offset)
            .build()
            .flags(squeue::Flags::IO_LINK);
        let flush = opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build();
        // SAFETY: buffer and file live as long as the ring, and both requests are complete before the
        // next call touches them.
        unsafe { self.ring.submission().push_multiple(&[write, flush]) }.unwrap();
        self.ring.submit().unwrap();
        let submitted = began.elapsed();
        let mut completed = 0;
        while completed < 2 {
            self.ring.submit_and_wait(1).unwrap();
            for completion in self.ring.completion() {
                assert!(completion.result() >= 0, "{}", completion.result());
                completed += 1;
            }
        }
        submitted
    }
}

fn open(path: &Path, direct: bool) -> OwnedFd {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if direct {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    options.open(path).unwrap().into()
}

#[derive(Default)]
struct Figures {
    whole: Vec<Duration>,
    submission: Vec<Duration>,
    ticks: u64,
}

fn commits(folder: &Path, time: Duration) {
    let direct = |name, carrier| Box::new(Dsync::new(&zeroed(folder, name), true, carrier, name));
    let buffered =
        |name, carrier| Box::new(Dsync::new(&zeroed(folder, name), false, carrier, name));
    let mut writers: Vec<Box<dyn Writer>> = vec![
        direct("direct, DSYNC", Carrier::Submitter),
        direct("direct, DSYNC, by a worker", Carrier::Worker),
        Box::new(Linked::new(
            &zeroed(folder, "dl"),
            true,
            "direct, linked fdatasync",
        )),
        buffered("buffered, DSYNC", Carrier::Submitter),
        Box::new(Linked::new(
            &zeroed(folder, "bl"),
            false,
            "buffered, linked fdatasync",
        )),
    ];
    println!("commits, one on its way (p50 and p99 in us, CPU of all threads in us per commit)");
    for size in SIZES {
        let bytes = vec![5; size];
        let mut figures: Vec<_> = writers.iter().map(|_| Figures::default()).collect();
        let end = Instant::now() + time;
        let mut offset = 0;
        while Instant::now() < end {
            for (writer, figures) in writers.iter_mut().zip(&mut figures) {
                let before = cpu_ticks();
                for round in 0..ROUND {
                    let at = (offset + round as u64 * size as u64) % FILE;
                    let began = Instant::now();
                    figures.submission.push(writer.commit(&bytes, at));
                    figures.whole.push(began.elapsed());
                }
                figures.ticks += cpu_ticks() - before;
            }
            offset += (ROUND * size) as u64;
        }
        println!("{} KiB", size >> 10);
        for (writer, figures) in writers.iter().zip(figures) {
            report(writer.name(), figures);
        }
    }
}

fn report(name: &str, figures: Figures) {
    let count = figures.whole.len();
    let total: Duration = figures.whole.iter().sum();
    let cpu = figures.ticks * 10_000 / count as u64; // a tick is 10 ms
    let [whole, submission] = [figures.whole, figures.submission].map(|mut list| {
        list.sort_unstable();
        [count / 2, count * 99 / 100].map(|at| list[at].as_micros())
    });
    println!(
        "  {name:28} {:6.0}/s  p50 {:6} p99 {:6}  submission p50 {:4} p99 {:5}  CPU {cpu}",
        count as f64 / total.as_secs_f64(),
        whole[0],
        whole[1],
        submission[0],
        submission[1],
    );
}

/// Time of all threads of this process, also of the kernel's workers, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().unwrap())
        .sum()
}

fn zeroed(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    plain_zeros(&path).unwrap();
    path
}

/// The other way to make a segment: a plain thread with blocking calls.
fn plain_zeros(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(OFlags::DIRECT.bits() as i32);
    let file = options.open(&unfinished)?;
    let mut zeros = AlignedBuffer::new(1 << 20);
    zeros.extend_from_slice(&vec![0; 1 << 20]);
    for offset in (0..FILE).step_by(1 << 20) {
        let count = rustix::io::pwrite(&file, &zeros, offset)?;
        assert_eq!(count, zeros.len());
    }
    file.sync_data()?;
    std::fs::rename(&unfinished, path)?;
    std::fs::File::open(path.parent().unwrap())?.sync_all()
}

/// Makes a segment and returns when it is ready.
type Make = Box<dyn FnMut(&Path) + Send>;

fn ways() -> [(&'static str, Make); 2] {
    let (sender, ready) = channel();
    let files = SegmentFiles::start(None, move |_, made| sender.send(made).unwrap()).unwrap();
    let by_executor = move |path: &Path| {
        let path = path.to_path_buf();
        assert!(files.prepare(Request {
            shard: ShardId(0),
            number: SegmentNumber(1),
            path,
            bytes: FILE,
            free_min: 0,
            oldest: SegmentNumber(0),
            recycled: None
        }));
        ready.recv().unwrap().unwrap();
    };
    let by_thread = |path: &Path| plain_zeros(path).unwrap();
    [
        ("glommio executor", Box::new(by_executor)),
        ("plain thread", Box::new(by_thread)),
    ]
}

fn segments(folder: &Path) {
    println!("segments of 64 MiB, each way in turn (ms, CPU in ms)");
    let mut ways = ways();
    let mut times = [Vec::new(), Vec::new()];
    let mut ticks = [0; 2];
    for _ in 0..10 {
        for (way, (_, make)) in ways.iter_mut().enumerate() {
            let path = folder.join("segment");
            let before = cpu_ticks();
            let began = Instant::now();
            make(&path);
            times[way].push(began.elapsed().as_millis());
            ticks[way] += cpu_ticks() - before;
            std::fs::remove_file(path).unwrap();
        }
    }
    for (way, (name, _)) in ways.iter().enumerate() {
        times[way].sort_unstable();
        let (times, ticks) = (&times[way], ticks[way]);
        println!(
            "  {name:28} p50 {} max {}  CPU {}",
            times[5], times[9], ticks
        );
    }
}

/// Commits of 16 KiB while segments are made without a pause.
fn beside_segments(folder: &Path, time: Duration) {
    println!("commits of 16 KiB while segments are made");
    for (name, mut make) in ways() {
        let path = folder.join("beside");
        let made = thread::scope(|scope| {
            let end = Instant::now() + time;
            let maker = scope.spawn(move || {
                let mut count = 0;
                while Instant::now() < end {
                    make(&path);
                    count += 1;
                }
                count
            });
            let file = zeroed(folder, "commits");
            let mut writer = Dsync::new(&file, true, Carrier::Submitter, name);
            let mut figures = Figures::default();
            let before = cpu_ticks();
            while Instant::now() < end {
                let at = (figures.whole.len() as u64 * (16 << 10)) % FILE;
                let began = Instant::now();
                figures.submission.push(writer.commit(&[5; 16 << 10], at));
                figures.whole.push(began.elapsed());
            }
            figures.ticks = cpu_ticks() - before;
            report(name, figures);
            maker.join().unwrap()
        });
        println!("    {made} segments");
    }
}
