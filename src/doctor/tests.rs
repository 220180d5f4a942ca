//! Machines that were made up.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Files below a folder of their own.
struct Made(PathBuf);

impl Made {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root =
            std::env::temp_dir().join(format!("ringmq-machine-{}-{name}", std::process::id()));
        let made = Self(root);
        for (path, text) in files {
            let file = made.0.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        made
    }

    fn findings(&self, checked: &Checked) -> Vec<Finding> {
        look(&Machine::at(self.0.clone()), checked)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";

/// A machine with nothing to say about.
fn good() -> Vec<(&'static str, &'static str)> {
    vec![
        ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
        ("proc/sys/kernel/io_uring_disabled", "0\n"),
        ("proc/self/limits", LIMITS),
        ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3\n"),
        ("proc/self/cgroup", "0::/system.slice/ringmq.service\n"),
        ("proc/self/mounts", "/dev/a / ext4 rw 0 0\n"),
        ("proc/sys/fs/nr_open", "1048576\n"),
        ("proc/sys/fs/file-max", "9223372036854775807\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/ipv4/tcp_mem", "1000000 2000000 3000000\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        (
            "proc/interrupts",
            "  CPU0 CPU1 CPU2 CPU3\n 24: 9000 8000 9000 8000 PCI-MSI eth0-rx-0\n",
        ),
        ("sys/fs/cgroup/cpu.max", "max 100000\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "performance\n",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "tsc\n",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        ),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "f\n"),
    ]
}

fn kept() -> Checked {
    let mut checked = Checked::default();
    checked.run.data_dir = Some("/var/lib/ringmq".into());
    checked
}

#[test]
fn nothing_is_said_about_a_good_machine() {
    let findings = Made::new("good", &good()).findings(&kept());
    let heavy: Vec<_> = findings
        .iter()
        .filter(|finding| finding.weight != Weight::Fine)
        .collect();
    assert!(heavy.is_empty(), "{heavy:?}");
    assert!(findings.len() >= 8, "{findings:?}");
    assert_eq!(Finding::exit_code(&findings), 0);
}

/// Each row changes one file of the good machine: the file, its text, and what is found.
const TROUBLES: &[(&str, &str, &str, Weight)] = &[
    (
        "proc/sys/kernel/osrelease",
        "5.10.0-28-amd64",
        "kernel",
        Weight::Fatal,
    ),
    (
        "proc/sys/kernel/io_uring_disabled",
        "2",
        "io_uring",
        Weight::Fatal,
    ),
    (
        "proc/sys/kernel/io_uring_disabled",
        "1",
        "io_uring",
        Weight::Advice,
    ),
    (
        "proc/self/limits",
        "Max open files            1024   4096   files",
        "open files",
        Weight::Advice,
    ),
    (
        "proc/self/limits",
        "Max locked memory         65536  65536  bytes",
        "locked memory",
        Weight::Advice,
    ),
    ("proc/sys/fs/nr_open", "65536", "open files", Weight::Advice),
    (
        "proc/sys/fs/file-max",
        "65536",
        "open files",
        Weight::Advice,
    ),
    (
        "proc/sys/net/core/somaxconn",
        "128",
        "backlog",
        Weight::Advice,
    ),
    (
        "proc/sys/net/ipv4/tcp_mem",
        "100 200 300",
        "socket memory",
        Weight::Advice,
    ),
    (
        "proc/sys/net/ipv4/ip_local_port_range",
        "1024 60999",
        "ports",
        Weight::Advice,
    ),
    (
        "proc/sys/net/netfilter/nf_conntrack_max",
        "262144",
        "connection tracking",
        Weight::Advice,
    ),
    (
        "proc/self/status",
        "Cpus_allowed_list:\t0",
        "cores",
        Weight::Advice,
    ),
    (
        "sys/fs/cgroup/system.slice/ringmq.service/cpu.max",
        "150000 100000",
        "cpu quota",
        Weight::Advice,
    ),
    (
        "sys/fs/cgroup/system.slice/memory.max",
        "60000000",
        "memory",
        Weight::Advice,
    ),
    (
        "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
        "powersave",
        "governor",
        Weight::Advice,
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "acpi_pm",
        "clock",
        Weight::Advice,
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        "huge pages",
        Weight::Advice,
    ),
    (
        "proc/interrupts",
        " CPU0 CPU1 CPU2 CPU3\n 24: 99000 10 10 10 PCI-MSI eth0-rx-0",
        "interrupts",
        Weight::Advice,
    ),
    (
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        "00000000",
        "receive queues",
        Weight::Advice,
    ),
    (
        "proc/self/mounts",
        "/dev/a / ext4 rw 0 0\nx /var/lib tmpfs rw 0 0",
        "data-dir",
        Weight::Advice,
    ),
];

#[test]
fn each_trouble_is_found_and_says_what_mends_it() {
    for (index, (path, text, subject, weight)) in TROUBLES.iter().enumerate() {
        let mut files = good();
        files.retain(|(own, _)| own != path);
        files.push((path, text));
        let findings = Made::new(&format!("bad-{index}"), &files).findings(&kept());
        let heavy: Vec<_> = findings
            .iter()
            .filter(|finding| finding.weight != Weight::Fine)
            .collect();
        assert_eq!(heavy.len(), 1, "{path} = {text}: {heavy:?}");
        assert_eq!(
            (heavy[0].subject, heavy[0].weight),
            (*subject, *weight),
            "{path}"
        );
        assert!(
            !heavy[0].why.is_empty() && !heavy[0].mend.is_empty(),
            "{path}"
        );
        assert_eq!(
            Finding::exit_code(&findings),
            if *weight == Weight::Fatal { 2 } else { 1 }
        );
    }
}

#[test]
fn a_report_is_text_or_json() {
    let findings = [
        Finding::fine("kernel", "6.1"),
        Finding::new("backlog", Weight::Advice, "128".into())
            .why("w")
            .costs("c")
            .mend("sysctl"),
    ];
    let text = report(&findings, false);
    assert!(
        text.starts_with("ok     kernel: 6.1\nadvice backlog: 128\n         why: w\n"),
        "{text}"
    );
    assert!(text.ends_with("\n0 wrong, 1 to consider\n"), "{text}");
    let value: serde_json::Value = serde_json::from_str(&report(&findings, true)).unwrap();
    assert_eq!(value["exit"], 1);
    assert_eq!(value["findings"][1]["mend"], "sysctl");
}

#[test]
fn a_wrong_configuration_is_a_finding() {
    let file = std::env::temp_dir().join(format!("ringmq-doctor-{}.toml", std::process::id()));
    fs::write(&file, "shards = 0\ncolour = 1\n").unwrap();
    let (_, findings) = configuration(Some(&file.display().to_string()));
    fs::remove_file(&file).unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(Finding::exit_code(&findings), 2);
}
