//! Operations on files with a ring of their own and real files.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustix::event::{eventfd, EventfdFlags};
use rustix::fs::OFlags;

use super::PATIENCE;
use crate::io::aligned_buffer::{AlignedBuffer, ALIGNMENT};
use crate::io::operations::{Carrier, Completion};
use crate::io::poller::Poller;
use crate::time::Span;

pub(super) struct Ring {
    pub(super) poller: Poller,
    _wake: OwnedFd,
}

impl Ring {
    pub(super) fn new() -> Self {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Self {
            poller: Poller::new(wake.as_fd()).unwrap(),
            _wake: wake,
        }
    }

    /// Sleeps as a shard does, with nothing but operations to wake it.
    pub(super) fn completion(&mut self) -> Completion {
        loop {
            if let Some(completion) = self.poller.take_completion() {
                return completion;
            }
            self.poller.submit();
            self.poller.wait(Some(Span(PATIENCE.as_nanos() as u64)));
            assert!(self.poller.reap(|_| ()) > 0, "nothing within {PATIENCE:?}");
        }
    }
}

/// A file with `O_DIRECT`, removed in the end.
struct Scratch {
    path: PathBuf,
    file: Arc<OwnedFd>,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("ringmq-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let direct = options
            .clone()
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&path);
        // Some file systems in memory do not have it.
        let file = direct.or_else(|_| options.open(&path)).unwrap();
        let file = Arc::new(OwnedFd::from(file));
        Self { path, file }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn filled(byte: u8, length: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(length);
    buffer.extend_from_slice(&vec![byte; length]);
    buffer
}

#[test]
fn what_is_written_is_read_back() {
    let scratch = Scratch::new("back");
    let mut ring = Ring::new();
    for (carrier, byte) in [(Carrier::Submitter, 1), (Carrier::Worker, 2)] {
        let mut buffer = filled(byte, (1 << 20) - 5);
        buffer.pad();
        ring.poller.write(&scratch.file, buffer, 8_192, carrier, 77);
        let Completion::Written {
            tag: 77,
            buffer,
            result: Ok(()),
        } = ring.completion()
        else {
            panic!("not written");
        };
        let expected = buffer.to_vec();
        ring.poller.read(&scratch.file, buffer, 8_192, 78);
        let Completion::Read {
            tag: 78,
            buffer,
            result: Ok(()),
        } = ring.completion()
        else {
            panic!("not read");
        };
        assert!(buffer[..] == expected[..]);
        ring.poller.flush(&scratch.file, 79);
        assert!(matches!(
            ring.completion(),
            Completion::Flushed {
                tag: 79,
                result: Ok(())
            }
        ));
    }
    let at_the_end = AlignedBuffer::new(3 * ALIGNMENT);
    ring.poller
        .read(&scratch.file, at_the_end, 8_192 + (1 << 20) - 4_096, 0);
    let Completion::Read {
        buffer,
        result: Ok(()),
        ..
    } = ring.completion()
    else {
        panic!("not read");
    };
    assert_eq!(buffer.len(), ALIGNMENT, "there is no more");
}

/// More than there are entries in the ring; each buffer comes back with its own tag and bytes.
#[test]
fn many_operations_are_on_their_way_at_once() {
    const BLOCKS: u64 = 2_500;
    let scratch = Scratch::new("many");
    let mut ring = Ring::new();
    let offset = |block: u64| block * ALIGNMENT as u64;
    for block in 0..BLOCKS {
        let buffer = filled(block as u8, ALIGNMENT);
        ring.poller.write(
            &scratch.file,
            buffer,
            offset(block),
            Carrier::Submitter,
            block,
        );
    }
    let mut seen = vec![false; BLOCKS as usize];
    let mut buffers = Vec::new();
    for _ in 0..BLOCKS {
        let Completion::Written {
            tag,
            buffer,
            result: Ok(()),
        } = ring.completion()
        else {
            panic!("not written");
        };
        assert!(!std::mem::replace(&mut seen[tag as usize], true));
        assert_eq!(&buffer[..], [tag as u8; ALIGNMENT]);
        buffers.push(buffer);
    }
    for (block, buffer) in (0..BLOCKS).zip(buffers) {
        ring.poller
            .read(&scratch.file, buffer, offset(block), block);
    }
    for _ in 0..BLOCKS {
        let Completion::Read {
            tag,
            buffer,
            result: Ok(()),
        } = ring.completion()
        else {
            panic!("not read");
        };
        assert!(std::mem::replace(&mut seen[tag as usize], false));
        assert_eq!(&buffer[..], [tag as u8; ALIGNMENT]);
    }
    assert_eq!(Arc::strong_count(&scratch.file), 1, "given back");
}

#[test]
fn a_file_stays_open_while_it_is_written() {
    let scratch = Scratch::new("open");
    let mut ring = Ring::new();
    let file = Arc::new(scratch.file.try_clone().unwrap());
    ring.poller
        .write(&file, filled(3, ALIGNMENT), 0, Carrier::Submitter, 0);
    drop(file); // not yet submitted: another file may get its number now
    let _other = File::open("/dev/zero").unwrap();
    assert!(matches!(
        ring.completion(),
        Completion::Written { result: Ok(()), .. }
    ));
    assert_eq!(fs::read(&scratch.path).unwrap(), [3; ALIGNMENT]);
}

fn write_fails(file: &Arc<OwnedFd>, length: usize) -> std::io::Error {
    let mut ring = Ring::new();
    ring.poller
        .write(file, filled(0, length), 0, Carrier::Submitter, 9);
    let Completion::Written {
        tag: 9,
        buffer,
        result: Err(error),
    } = ring.completion()
    else {
        panic!("written");
    };
    assert_eq!(buffer.len(), length, "the caller has its bytes again");
    error
}

#[test]
fn a_full_disk_and_a_file_that_may_not_be_written_are_errors() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write_fails(&Arc::new(full.into()), ALIGNMENT);
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let scratch = Scratch::new("readonly");
    let file = File::open(&scratch.path).unwrap();
    let error = write_fails(&Arc::new(file.into()), ALIGNMENT);
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::BADF.raw_os_error())
    );
}

/// A socket without waiting takes what it has room for, as a disk does that is nearly full.
#[test]
fn a_short_write_is_an_error() {
    let (_reader, writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let error = write_fails(&Arc::new(writer.into()), 4 << 20);
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    assert!(error
        .to_string()
        .ends_with(" of 4194304 bytes were written"));
}

/// Reads of a silent socket never end by themselves: the ring ends them, and their memory is given back.
#[test]
fn a_ring_that_is_dropped_ends_what_is_on_its_way() {
    let (reader, _writer) = UnixStream::pair().unwrap();
    let (reader, scratch) = (Arc::new(OwnedFd::from(reader)), Scratch::new("dropped"));
    let mut ring = Ring::new();
    for number in 0..100 {
        ring.poller.read(&reader, AlignedBuffer::new(1), 0, number);
        let offset = number * ALIGNMENT as u64;
        let buffer = filled(7, ALIGNMENT);
        ring.poller
            .write(&scratch.file, buffer, offset, Carrier::Worker, number);
    }
    ring.poller.submit();
    drop(ring);
    assert_eq!(Arc::strong_count(&reader), 1);
    assert_eq!(Arc::strong_count(&scratch.file), 1);
}

/// Only its own thread may ask the ring; another one cannot find out what the kernel still does, so
/// nothing is freed.
#[test]
fn memory_that_the_kernel_may_use_is_never_freed() {
    let (reader, _writer) = UnixStream::pair().unwrap();
    let reader = Arc::new(OwnedFd::from(reader));
    let mut ring = Ring::new();
    ring.poller.read(&reader, AlignedBuffer::new(1), 0, 0);
    ring.poller.submit();
    thread::spawn(move || drop(ring)).join().unwrap();
    assert_eq!(Arc::strong_count(&reader), 2);
}
