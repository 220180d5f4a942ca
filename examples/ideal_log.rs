//! What an ideal group commit of the same bytes costs on a disk: records of one size, so many in each commit, one commit
//! on its way, and nothing else. `scripts/durable-figures.sh` holds a broker against it in the same run.
//!
//!     ideal_log FOLDER RECORD_BYTES RECORDS_PER_COMMIT MILLISECONDS
//!
//! prints a line: commits and records per second, p50 and p99 of a commit in us, CPU of all threads in ns per record.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmq::io::aligned_buffer::AlignedBuffer;
use ringmq::io::operations::{Carrier, Completion};
use ringmq::io::poller::Poller;
use ringmq::journal::{DataId, Log, Record, Recovered, SegmentNumber};
use ringmq::time::WallTime;
use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::OFlags;

const SEGMENT_BYTES: u32 = 256 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<usize>> = arguments[1..]
        .iter()
        .map(|word| word.parse().ok())
        .collect();
    let (Some(folder), Some([record_bytes, records, milliseconds])) =
        (arguments.first(), numbers.as_deref())
    else {
        eprintln!("ideal_log FOLDER RECORD_BYTES RECORDS_PER_COMMIT MILLISECONDS");
        std::process::exit(2);
    };
    let path = PathBuf::from(folder).join(format!("ideal-{}", std::process::id()));
    zeroed(&path);
    let figures = run(
        &path,
        (*record_bytes, (*records).max(1)),
        Duration::from_millis(*milliseconds as u64),
    );
    let _ = std::fs::remove_file(&path);
    println!("{figures}");
}

fn run(path: &Path, (record_bytes, records): (usize, usize), time: Duration) -> String {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(OFlags::DIRECT.bits() as i32);
    let file: Arc<std::os::fd::OwnedFd> = Arc::new(options.open(path).unwrap().into());
    let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let mut poller = Poller::new(wake.as_fd()).unwrap();
    let body = vec![7; record_bytes];
    let record = Record {
        kind: 1,
        flags: 0,
        lane: 0,
        body: &body,
    };
    let mut log = new_log();
    let mut buffer = Some(AlignedBuffer::new(1 << 20));
    let mut times = Vec::new();
    let (begun, before) = (Instant::now(), cpu_ticks());
    while begun.elapsed() < time {
        for _ in 0..records {
            log.append(&record);
        }
        while let Some(frame) = log.next_write(WallTime(1)) {
            if frame.segment() > SegmentNumber(1) {
                log = new_log(); // the file is used again from its beginning
                break;
            }
            let mut bytes = buffer.take().expect("one is on its way");
            if bytes.capacity() < frame.bytes() {
                bytes = AlignedBuffer::new(frame.bytes());
            }
            let mut copied = vec![0; frame.bytes()];
            frame.copy_to(&mut copied);
            bytes.clear();
            bytes.extend_from_slice(&copied);
            let sent = Instant::now();
            poller.write(&file, bytes, frame.offset().into(), Carrier::Worker, 0);
            poller.submit();
            buffer = Some(complete(&mut poller));
            times.push(sent.elapsed());
            log.handle_written();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_ns = (cpu_ticks() - before) * 10_000_000;
    let commits = times.len();
    times.sort_unstable();
    let at = |share: usize| times[(commits * share / 100).min(commits - 1)].as_micros();
    format!(
        "commits_per_s {:.0} records_per_s {:.0} p50_us {} p99_us {} cpu_ns_per_record {}",
        commits as f64 / seconds,
        (commits * records) as f64 / seconds,
        at(50),
        at(99),
        cpu_ns / (commits * records) as u64
    )
}

fn new_log() -> Log {
    let mut log = Log::new(DataId([1; 16]), 0, SEGMENT_BYTES, &Recovered::default());
    log.handle_prepared(SegmentNumber(2));
    log
}

fn complete(poller: &mut Poller) -> AlignedBuffer {
    loop {
        poller.reap(|_| ());
        match poller.take_completion() {
            Some(Completion::Written { buffer, result, .. }) => {
                result.unwrap();
                return buffer;
            }
            _ => poller.wait(None),
        }
    }
}

fn zeroed(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..SEGMENT_BYTES >> 20 {
        file.write_all(&zeros).unwrap();
    }
    file.sync_all().unwrap();
}

/// Time of all threads of this process, also of the kernel's workers, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = text.rsplit(')').next().unwrap().split_whitespace();
    let times = fields.skip(11).take(2);
    times.map(|n| n.parse::<u64>().unwrap()).sum()
}
