//! The data directory: its file system, and how long a write takes until it is durable.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringmq::config::Checked;

use super::finding::{Finding, Weight};
use super::machine::Machine;

/// Writes that are measured, of one block each.
const WRITES: usize = 32;
const BLOCK: usize = 4_096;
/// A commit that takes longer holds every acknowledgement for so long.
const SLOW: Duration = Duration::from_millis(5);

pub(super) fn findings(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let Some(path) = checked.run.data_dir.as_deref() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    found.extend(file_system(machine, path));
    if machine.is_this_one() {
        found.push(write_time(Path::new(path)));
    }
    found
}

/// Kind of the file system that a path is on.
fn kind_of(mounts: &str, path: &str) -> Option<String> {
    let points = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = points.filter(|(point, _)| Path::new(path).starts_with(point));
    // Of those mounted at one place the last one counts.
    let nearest = above.max_by_key(|(point, _)| point.len());
    nearest.map(|(_, kind)| kind.to_owned())
}

fn file_system(machine: &Machine, path: &str) -> Option<Finding> {
    let kind = kind_of(&machine.read("/proc/self/mounts")?, path)?;
    let advice = |why: &str, cost: &str| {
        let what = format!("{path} is on {kind}");
        Finding::new("data-dir", Weight::Advice, what)
            .why(why)
            .costs(cost)
            .mend("put data-dir on a local disk with ext4 or xfs")
    };
    Some(match kind.as_str() {
        "tmpfs" | "ramfs" => advice("it is memory", "all is gone when the machine starts again"),
        "overlay" => advice(
            "it is a layer of a container",
            "all is gone with the container: mount a volume there",
        ),
        kind if kind.starts_with("nfs") || kind.starts_with("cifs") || kind.starts_with("fuse") => {
            advice(
                "it is not a local disk",
                "each commit is a round trip, and an outage stops the broker",
            )
        }
        "btrfs" | "zfs" => advice(
            "it writes each block to another place",
            "commits take several times as long",
        ),
        kind => Finding::fine("data-dir", format!("{path} is on {kind}")),
    })
}

fn write_time(path: &Path) -> Finding {
    let within = path
        .ancestors()
        .find(|folder| folder.is_dir())
        .unwrap_or(path);
    let shown = path.display();
    match median(within) {
        Err(error) => Finding::new("data-dir", Weight::Fatal, format!("{shown} cannot be written to: {error}"))
            .why("the journal lies there")
            .mend(format!("install -d -o ringmq -g ringmq -m 0750 {shown}; run this command as that user: runuser -u ringmq")),
        Ok(median) => {
            let what = format!("a durable write takes {:.2} ms (median of {WRITES})", median.as_secs_f64() * 1e3);
            match median > SLOW {
                true => Finding::new("data-dir", Weight::Advice, what)
                    .why("with durability = \"commit\" acknowledgements of QoS 1 and 2 wait for one")
                    .costs(format!("so much more time for each; {:.0} commits a second and shard", 1.0 / median.as_secs_f64()))
                    .mend("a disk with protection against loss of power (it may acknowledge at once), or durability = \"interval:1s\""),
                false => Finding::fine("data-dir", what),
            }
        }
    }
}

/// As the journal writes: one block at a time, each durable before the next.
fn median(folder: &Path) -> std::io::Result<Duration> {
    let file: PathBuf = folder.join(format!(".ringmq-doctor-{}", std::process::id()));
    let times = times(&file);
    let removed = fs::remove_file(&file);
    let mut times = times?;
    removed?;
    times.sort();
    Ok(times[times.len() / 2])
}

fn times(file: &Path) -> std::io::Result<Vec<Duration>> {
    let flags = rustix::fs::OFlags::DSYNC.bits() as i32;
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create_new(true)
        .custom_flags(flags)
        .open(file)?;
    let block = [0_u8; BLOCK];
    let time = |_| {
        let begun = Instant::now();
        open.write_all(&block)?;
        Ok(begun.elapsed())
    };
    (0..WRITES).map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /var/lib tmpfs rw 0 0\n/dev/b /var/lib/ringmq xfs rw 0 0\n";
        let kind = |path| kind_of(mounts, path).unwrap();
        assert_eq!(kind("/var/lib/ringmq/x"), "xfs");
        assert_eq!(kind("/var/lib/ringmqx"), "tmpfs");
        assert_eq!(kind("/srv"), "ext4");
    }

    #[test]
    fn a_write_is_measured_and_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("ringmq-doctor-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        assert!(median(&folder).unwrap() > Duration::ZERO);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
        assert!(median(&folder).is_err());
    }
}
