//! How many cores this process may use: affinity mask and cgroup quota.

use std::fs;

/// Cores of the affinity mask, at most as many as the cgroup's quota gives time for.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<usize> = ids.into_iter().map(|core| core.id).collect();
    if cores.is_empty() {
        cores.push(0);
    }
    if let Some(quota) = cgroup_quota() {
        cores.truncate(quota.max(1));
    }
    cores
}

/// Whole cores of the tightest quota on the way to this process's cgroup.
fn cgroup_quota() -> Option<usize> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut tightest = None;
    let mut path = cgroup_v2_path(&own)?.to_string();
    loop {
        let file = format!("/sys/fs/cgroup{path}/cpu.max");
        let quota = fs::read_to_string(file)
            .ok()
            .and_then(|text| parse_cpu_max(&text));
        tightest = match (tightest, quota) {
            (Some(a), Some(b)) => Some(usize::min(a, b)),
            (a, b) => a.or(b),
        };
        match path.rfind('/') {
            Some(at) => path.truncate(at),
            None => return tightest,
        }
    }
}

/// Path of the unified hierarchy in `/proc/self/cgroup`, without a trailing slash.
fn cgroup_v2_path(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(|path| path.trim_end_matches('/'))
}

/// `cpu.max` is `QUOTA PERIOD` in microseconds, or `max PERIOD` for no limit. Part of a core counts
/// as a whole one.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
    usize::try_from(quota.div_ceil(period)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_is_rounded_up_and_max_is_none() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("200000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("50000 100000\n"), Some(1));
        assert_eq!(parse_cpu_max("50000 0\n"), None);
    }

    #[test]
    fn path_of_the_unified_hierarchy() {
        assert_eq!(cgroup_v2_path("0::/a/b\n"), Some("/a/b"));
        assert_eq!(cgroup_v2_path("3:cpu:/x\n0::/\n"), Some(""));
        assert_eq!(cgroup_v2_path("3:cpu:/x\n"), None);
    }
}
