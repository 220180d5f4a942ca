//! Kernel, io_uring, and limits of the process.

use ringmq::config::Checked;
use ringmq::io::io_uring_works;

use super::finding::{Finding, Weight};
use super::machine::Machine;

/// The oldest kernel that has what the sockets' ring needs.
const KERNEL: (u32, u32) = (5, 13);
/// Descriptors besides those of connections, generously.
const DESCRIPTORS_BESIDES: u64 = 1_000;
/// What io_uring may need to lock, on kernels that count it.
const LOCKED_BYTES: u64 = 64 << 20;

pub(super) fn findings(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(kernel(machine));
    found.extend(io_uring(machine));
    found.extend(files(machine, checked));
    found.extend(locked_memory(machine));
    found.extend(huge_pages(machine));
    found
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn kernel(machine: &Machine) -> Option<Finding> {
    let release = machine.read("/proc/sys/kernel/osrelease")?;
    let is_old = version(&release).is_some_and(|version| version < KERNEL);
    Some(match is_old {
        true => Finding::new(
            "kernel",
            Weight::Fatal,
            format!("Linux {release} is older than 5.13"),
        )
        .why("sockets are watched by io_uring with multishot polls, which came with 5.13")
        .mend("run a newer kernel; every distribution has one since 2021"),
        false => Finding::fine("kernel", format!("Linux {release}")),
    })
}

fn io_uring(machine: &Machine) -> Option<Finding> {
    let disabled = machine
        .number("/proc/sys/kernel/io_uring_disabled")
        .unwrap_or(0);
    let works = match machine.is_this_one() {
        true => io_uring_works(),
        false => Ok(()),
    };
    let what = match (disabled, &works) {
        (2, _) => "io_uring is switched off for all (kernel.io_uring_disabled = 2)".to_owned(),
        (_, Err(text)) => text.clone(),
        (1, _) => {
            return Some(
                Finding::new("io_uring", Weight::Advice, "io_uring is for a group only".into())
                    .why("kernel.io_uring_disabled = 1: others than root need to be in kernel.io_uring_group")
                    .costs("started by systemd as the user ringmq the broker does not come up")
                    .mend("sysctl -w kernel.io_uring_group=$(getent group ringmq | cut -d: -f3)"),
            )
        }
        _ => return Some(Finding::fine("io_uring", "may be used")),
    };
    Some(
        Finding::new("io_uring", Weight::Fatal, what)
            .why("the shards wait for their sockets and write their logs through it")
            .mend(
                "sysctl -w kernel.io_uring_disabled=0; in a container: --security-opt seccomp=deploy/seccomp.json, in \
                 Kubernetes seccompProfile: {type: Localhost, localhostProfile: ringmq.json}",
            ),
    )
}

fn files(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let connections = u64::from(checked.limits.connections_max);
    let wanted = connections + DESCRIPTORS_BESIDES;
    let mut found = Vec::new();
    let cost = |allowed: u64| {
        let room = allowed.saturating_sub(DESCRIPTORS_BESIDES);
        format!("about {room} connections instead of {connections} (connections-max)")
    };
    let per_process = machine
        .limit("Max open files")
        .filter(|limit| *limit < wanted);
    if let Some(limit) = per_process {
        let what = format!("{limit} files may be open in this process");
        found.push(
            Finding::new("open files", Weight::Advice, what)
                .why("every connection is one")
                .costs(cost(limit))
                .mend(format!("LimitNOFILE={wanted} in the unit, or ulimit -Hn {wanted}; or a lower connections-max")),
        );
    }
    if let Some(most) = machine
        .number("/proc/sys/fs/nr_open")
        .filter(|most| *most < wanted)
    {
        let what = format!("no process may have more than {most} files open");
        found.push(
            Finding::new("open files", Weight::Advice, what)
                .why("fs.nr_open bounds what LimitNOFILE can give")
                .costs(cost(most))
                .mend(format!("sysctl -w fs.nr_open={wanted}")),
        );
    }
    if let Some(most) = machine
        .number("/proc/sys/fs/file-max")
        .filter(|most| *most < wanted)
    {
        let what = format!("all processes together may have {most} files open");
        found.push(
            Finding::new("open files", Weight::Advice, what)
                .why("fs.file-max is below what connections-max may take")
                .costs(cost(most))
                .mend(format!("sysctl -w fs.file-max={}", wanted * 2)),
        );
    }
    if found.is_empty() {
        found.push(Finding::fine(
            "open files",
            format!("enough for {connections} connections"),
        ));
    }
    found
}

fn locked_memory(machine: &Machine) -> Option<Finding> {
    let limit = machine.limit("Max locked memory")?;
    let release = machine
        .read("/proc/sys/kernel/osrelease")
        .unwrap_or_default();
    let counts = version(&release).is_some_and(|version| version < (5, 12));
    let weight = if counts {
        Weight::Fatal
    } else {
        Weight::Advice
    };
    let what = format!("{limit} bytes of memory may be locked");
    (limit < LOCKED_BYTES).then(|| {
        Finding::new("locked memory", weight, what)
            .why("buffers that are registered with io_uring count, and before Linux 5.12 its rings do")
            .costs("with many shards the start fails")
            .mend("LimitMEMLOCK=infinity in the unit, or ulimit -l 65536")
    })
}

fn huge_pages(machine: &Machine) -> Option<Finding> {
    let text = machine.read("/sys/kernel/mm/transparent_hugepage/enabled")?;
    Some(match text.contains("[always]") {
        true => Finding::new("huge pages", Weight::Advice, "transparent huge pages are used always".into())
            .why("a small piece of memory that is touched becomes 2 MiB of it")
            .costs("idle connections may take several times their memory; none of the speed measured here is due to them")
            .mend("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        false => Finding::fine("huge pages", text),
    })
}
