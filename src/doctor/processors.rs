//! Processors: which the broker may use, how much of them, how fast they are, and their clock.

use ringmq::config::Checked;

use super::finding::{Finding, Weight};
use super::machine::{count_of_list, Machine};

/// Clock sources that are read without a system call.
const QUICK: [&str; 5] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "pvclock",
];

pub(super) fn findings(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(affinity(machine, checked));
    found.extend(quota(machine));
    found.extend(memory(machine, checked));
    found.extend(governor(machine));
    found.extend(clock_source(machine));
    found
}

fn affinity(machine: &Machine, checked: &Checked) -> Option<Finding> {
    let online = count_of_list(&machine.read("/sys/devices/system/cpu/online")?);
    let status = machine.read("/proc/self/status")?;
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let allowed = count_of_list(allowed);
    let shards = checked.shards.map_or(allowed, usize::from);
    if shards > allowed {
        let what = format!("{shards} shards on {allowed} cores");
        return Some(
            Finding::new("cores", Weight::Advice, what)
                .why("shards that share a core wait for each other")
                .costs("latency: a message waits until its shard has the core again")
                .mend("shards = \"auto\""),
        );
    }
    Some(match allowed < online {
        true => Finding::new("cores", Weight::Advice, format!("{allowed} of {online} cores may be used"))
            .why("the affinity of this process, or the cpuset of its cgroup, leaves out the others")
            .costs(format!("{} shards less", online - allowed))
            .mend("AllowedCPUs= and CPUAffinity= of the unit, --cpuset-cpus of the container; or leave it, if it is meant"),
        false => Finding::fine("cores", format!("{allowed}")),
    })
}

/// `max 100000`, or microseconds within microseconds.
fn quota(machine: &Machine) -> Option<Finding> {
    let text = machine.cgroup("cpu.max")?;
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?; // none: no limit
    let period: f64 = words.next()?.parse().ok()?;
    let cores = quota / period;
    let what = format!("the cgroup has {cores:.1} cores' worth of time");
    Some(
        Finding::new("cpu quota", Weight::Advice, what)
            .why("when it is used up all shards stand still until the next period")
            .costs(format!("pauses of up to {:.0} ms in every message's time", period / 1_000.0))
            .mend("give it whole cores (cpuset) instead of a quota, or a quota that its load does not reach"),
    )
}

fn memory(machine: &Machine, checked: &Checked) -> Option<Finding> {
    let limit: u64 = machine.cgroup("memory.max")?.parse().ok()?;
    let shards = checked.shards.unwrap_or(1);
    let bound = checked.memory_bound(ringmq::config::Machine {
        shards,
        connections: None,
        memory: Some(limit),
    });
    let warning = bound.warning()?;
    Some(
        Finding::new("memory", Weight::Advice, warning)
            .why("all limits of the configuration reached at once take more than there is")
            .costs("before the kernel kills the broker it refuses clients (memory-max)")
            .mend("lower connections-max, sessions-max or queue-bytes-max, or give it more: MemoryMax="),
    )
}

fn governor(machine: &Machine) -> Option<Finding> {
    let cores = machine.names("/sys/devices/system/cpu");
    let governors = cores.iter().filter_map(|core| {
        machine.read(&format!(
            "/sys/devices/system/cpu/{core}/cpufreq/scaling_governor"
        ))
    });
    let slow = governors
        .filter(|governor| governor != "performance")
        .count();
    (slow > 0).then(|| {
        Finding::new(
            "governor",
            Weight::Advice,
            format!("{slow} cores are not on \"performance\""),
        )
        .why("a core that has rested begins slow, and the broker rests between messages")
        .costs("tens of microseconds of each message's time while there is little load")
        .mend("cpupower frequency-set --governor performance")
    })
}

fn clock_source(machine: &Machine) -> Option<Finding> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = machine.read(path)?;
    Some(match QUICK.contains(&source.as_str()) {
        true => Finding::fine("clock", source),
        false => Finding::new("clock", Weight::Advice, format!("the clock source is {source}"))
            .why("reading it is a system call or an exit of the virtual machine; a turn reads it at least once")
            .costs("about a microsecond for each turn of a shard")
            .mend(format!("echo tsc > {path}, if dmesg does not say that it is unstable")),
    })
}
