//! The network: queues of connections, memory of sockets, ports, connection tracking, spread over cores.

use ringmq::config::Checked;
use ringmq::listener::Address;

use super::finding::{Finding, Weight};
use super::machine::{count_of_list, Machine};

/// Connections that may wait to be accepted, as the broker asks for.
const BACKLOG: u64 = 4_096;
const PAGE_BYTES: u64 = 4_096;
/// Memory of the kernel for a connection that waits for nothing.
const CONNECTION_BYTES: u64 = 4 << 10;
/// Interrupts of a device from which on their spread means something.
const INTERRUPTS: u64 = 10_000;
/// The part of them on one core that is no spread.
const ON_ONE: f64 = 0.9;

pub(super) fn findings(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(backlog(machine));
    found.extend(socket_memory(machine, checked));
    found.extend(ports(machine, checked));
    found.extend(tracking(machine, checked));
    found.extend(interrupts(machine));
    found.extend(receive_queues(machine));
    found
}

fn backlog(machine: &Machine) -> Option<Finding> {
    let most = machine.number("/proc/sys/net/core/somaxconn")?;
    Some(match most < BACKLOG {
        true => Finding::new("backlog", Weight::Advice, format!("{most} connections may wait to be accepted"))
            .why("net.core.somaxconn bounds what the broker asks for")
            .costs("in a storm of reconnects clients are left without an answer, and try again after a second or more")
            .mend(format!("sysctl -w net.core.somaxconn={BACKLOG} net.ipv4.tcp_max_syn_backlog={BACKLOG}")),
        false => Finding::fine("backlog", most.to_string()),
    })
}

fn socket_memory(machine: &Machine, checked: &Checked) -> Option<Finding> {
    let pages = machine.numbers("/proc/sys/net/ipv4/tcp_mem");
    let most = pages.get(2)?.saturating_mul(PAGE_BYTES);
    let connections = u64::from(checked.limits.connections_max);
    let wanted = connections.saturating_mul(CONNECTION_BYTES);
    Some(match most < wanted {
        true => Finding::new(
            "socket memory",
            Weight::Advice,
            format!("all sockets may take {} MiB", most >> 20),
        )
        .why(format!(
            "{connections} connections (connections-max) take {} MiB even when idle",
            wanted >> 20
        ))
        .costs("beyond it the kernel drops packets and ends connections")
        .mend(format!(
            "sysctl -w net.ipv4.tcp_mem=\"{} {} {}\"",
            wanted / PAGE_BYTES / 2,
            wanted / PAGE_BYTES,
            wanted / PAGE_BYTES * 2
        )),
        false => Finding::fine("socket memory", format!("{} MiB", most >> 20)),
    })
}

/// A port of ours that the kernel may give to a connection that goes out.
fn ports(machine: &Machine, checked: &Checked) -> Vec<Finding> {
    let range = machine.numbers("/proc/sys/net/ipv4/ip_local_port_range");
    let [first, last] = range[..] else {
        return Vec::new();
    };
    let reserved = machine
        .read("/proc/sys/net/ipv4/ip_local_reserved_ports")
        .unwrap_or_default();
    let listeners = checked.all_listeners();
    let own = listeners
        .iter()
        .filter_map(|listener| match listener.address {
            Address::Ip(address) => Some(u64::from(address.port())),
            _ => None,
        });
    let taken = own.filter(|port| (first..=last).contains(port) && !is_in(&reserved, *port));
    let found = taken.map(|port| {
        Finding::new(
            "ports",
            Weight::Advice,
            format!("port {port} lies among those of outgoing connections"),
        )
        .why(format!("net.ipv4.ip_local_port_range is {first} to {last}"))
        .costs("now and then a start fails because another program's connection has the port")
        .mend(format!("sysctl -w net.ipv4.ip_local_reserved_ports={port}"))
    });
    found.collect()
}

/// Whether a list such as `1883,8000-8010` has a port.
fn is_in(list: &str, port: u64) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.trim().parse().ok().zip(last.trim().parse().ok());
        bounds.is_some_and(|(first, last): (u64, u64)| (first..=last).contains(&port))
    })
}

fn tracking(machine: &Machine, checked: &Checked) -> Option<Finding> {
    let most = machine.number("/proc/sys/net/netfilter/nf_conntrack_max")?; // none: it is not loaded
    let connections = u64::from(checked.limits.connections_max);
    Some(match most < connections {
        true => Finding::new(
            "connection tracking",
            Weight::Advice,
            format!("the firewall tracks {most} connections"),
        )
        .why(format!(
            "connections-max is {connections}, and each one is tracked"
        ))
        .costs(
            "when the table is full new connections are dropped without a word (dmesg: table full)",
        )
        .mend(format!(
            "sysctl -w net.netfilter.nf_conntrack_max={}",
            connections * 2
        )),
        false => Finding::fine("connection tracking", most.to_string()),
    })
}

/// Devices whose interrupts are those of the network, by their names in /proc/interrupts.
fn is_network(name: &str, devices: &[String]) -> bool {
    let is_of = |device: &String| name == device || name.starts_with(&format!("{device}-"));
    devices.iter().any(is_of)
        || name.starts_with("virtio") && (name.contains("input") || name.contains("output"))
}

fn interrupts(machine: &Machine) -> Option<Finding> {
    let text = machine.read("/proc/interrupts")?;
    let mut lines = text.lines();
    let cores = lines.next()?.split_whitespace().count();
    let devices = machine.names("/sys/class/net");
    let mut each = vec![0_u64; cores];
    for line in lines {
        let mut words = line.split_whitespace().skip(1);
        let counts: Vec<u64> = words
            .by_ref()
            .take(cores)
            .filter_map(|word| word.parse().ok())
            .collect();
        let is_own = words.last().is_some_and(|name| is_network(name, &devices));
        if is_own && counts.len() == cores {
            each.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
    }
    let (sum, most) = (each.iter().sum::<u64>(), each.iter().copied().max()?);
    if cores < 2 || sum < INTERRUPTS || (most as f64) < ON_ONE * sum as f64 {
        return None;
    }
    let core = each.iter().position(|count| *count == most)?;
    Some(
        Finding::new(
            "interrupts",
            Weight::Advice,
            format!("core {core} takes nearly all interrupts of the network"),
        )
        .why("they are not spread over the cores")
        .costs("the shard of that core has less of it than the others, and bounds them all")
        .mend(
            "systemctl enable --now irqbalance, or set /proc/irq/N/smp_affinity_list of each queue",
        ),
    )
}

/// One receive queue and no software spread: one core does the work of all.
fn receive_queues(machine: &Machine) -> Vec<Finding> {
    let online = machine
        .read("/sys/devices/system/cpu/online")
        .unwrap_or_default();
    if count_of_list(&online) < 2 {
        return Vec::new();
    }
    let devices = machine
        .names("/sys/class/net")
        .into_iter()
        .filter(|name| name != "lo");
    let found = devices.filter_map(|device| {
        let state = machine.read(&format!("/sys/class/net/{device}/operstate"))?;
        let queues = machine.names(&format!("/sys/class/net/{device}/queues"));
        let queues: Vec<&String> = queues.iter().filter(|name| name.starts_with("rx-")).collect();
        let [only] = queues[..] else {
            return None;
        };
        let path = format!("/sys/class/net/{device}/queues/{only}/rps_cpus");
        let mask = machine.read(&path)?;
        let is_spread = mask.chars().any(|c| c.is_ascii_hexdigit() && c != '0');
        (state == "up" && !is_spread).then(|| {
            Finding::new("receive queues", Weight::Advice, format!("{device} has one receive queue"))
                .why("without RPS the core of its interrupt carries the protocol work of all connections")
                .costs("a bound of about one core's worth of packets, whatever the number of shards")
                .mend(format!("echo ffffffff > {path}"))
        })
    });
    found.collect()
}
