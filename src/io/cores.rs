//! Cores this process may use: affinity mask and cgroup quota.

use std::fs;

/// The cores at our disposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// How many cores' worth of time there is, at least 1.
    pub count: usize,
    /// Cores a shard may be pinned to. Empty under a cgroup quota that is smaller than the affinity
    /// mask: the cores are then shared with others, and every such process would pin to the same
    /// first ones.
    pub pinnable: Vec<usize>,
}

/// Cores of the affinity mask, at most as many as the cgroup's quota gives time for.
#[must_use]
pub fn available_cores() -> Cores {
    let mask = core_affinity::get_core_ids().unwrap_or_default();
    let mask = mask.into_iter().map(|core| core.id).collect();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    combine(
        mask,
        tightest_quota(&own, |path| fs::read_to_string(path).ok()),
    )
}

fn combine(mask: Vec<usize>, quota: Option<usize>) -> Cores {
    match quota {
        Some(quota) if quota < mask.len() => Cores {
            count: quota.max(1),
            pinnable: Vec::new(),
        },
        _ => Cores {
            count: mask.len().max(1),
            pinnable: mask,
        },
    }
}

/// Whole cores of the tightest quota on the way from the root to our cgroup, of either version.
/// `own` is `/proc/self/cgroup`. Inside a container its paths may be the host's, of which only the
/// root is there.
fn tightest_quota(own: &str, read: impl Fn(&str) -> Option<String>) -> Option<usize> {
    let unified = cgroup_path(own, |id, _| id == "0").map(|path| {
        ancestors(path)
            .filter_map(|at| parse_cpu_max(&read(&format!("/sys/fs/cgroup{at}/cpu.max"))?))
            .min()
    });
    let is_cpu = |_: &str, names: &str| names.split(',').any(|name| name == "cpu");
    let version_1 = cgroup_path(own, is_cpu).map(|path| {
        ancestors(path)
            .filter_map(|at| {
                let quota = read(&format!("/sys/fs/cgroup/cpu{at}/cpu.cfs_quota_us"))?;
                let period = read(&format!("/sys/fs/cgroup/cpu{at}/cpu.cfs_period_us"))?;
                parse_cpu_max(&format!("{} {}", quota.trim(), period.trim()))
            })
            .min()
    });
    [unified, version_1].into_iter().flatten().flatten().min()
}

/// The path of the hierarchy that `wanted` accepts by its number and controllers, without a trailing
/// slash. A line of `/proc/self/cgroup` is `number:controllers:path`.
fn cgroup_path(own: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        wanted(id, controllers).then(|| path.trim_end_matches('/'))
    })
}

/// `/a/b`, `/a` and the empty string, which is the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |at| at.rfind('/').map(|end| &at[..end]))
}

/// `cpu.max` is `QUOTA PERIOD` in microseconds; a quota of `max` (version 1: -1) is no limit. Part of
/// a core counts as a whole one.
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
        assert_eq!(parse_cpu_max("-1 100000"), None);
        assert_eq!(parse_cpu_max("200000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("50000 100000\n"), Some(1));
        assert_eq!(parse_cpu_max("50000 0\n"), None);
        assert_eq!(parse_cpu_max(""), None);
    }

    /// A file system of one file per row.
    fn quota_of(own: &str, files: &[(&str, &str)]) -> Option<usize> {
        tightest_quota(own, |path| {
            let file = files.iter().find(|(name, _)| *name == path)?;
            Some(file.1.to_string())
        })
    }

    #[test]
    fn the_tightest_quota_on_the_way_counts() {
        let own = "0::/a/b\n";
        let files = [
            ("/sys/fs/cgroup/a/b/cpu.max", "800000 100000\n"),
            ("/sys/fs/cgroup/a/cpu.max", "300000 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "max 100000\n"),
        ];
        assert_eq!(quota_of(own, &files), Some(3));
        assert_eq!(quota_of(own, &files[2..]), None);
        assert_eq!(
            quota_of("0::/\n", &[("/sys/fs/cgroup/cpu.max", "1 1")]),
            Some(1)
        );
        assert_eq!(quota_of("", &files), None);
    }

    #[test]
    fn version_1_has_two_files() {
        let own = "7:cpuset:/x\n4:cpu,cpuacct:/docker/f00\n0::/\n";
        let files = [
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_of(own, &files), Some(3));
    }

    #[test]
    fn a_quota_below_the_mask_rules_out_pinning() {
        let four = vec![0, 1, 2, 3];
        let all = Cores {
            count: 4,
            pinnable: four.clone(),
        };
        assert_eq!(combine(four.clone(), None), all);
        assert_eq!(combine(four.clone(), Some(4)), all);
        let part = Cores {
            count: 2,
            pinnable: Vec::new(),
        };
        assert_eq!(combine(four, Some(2)), part);
        assert_eq!(combine(Vec::new(), None).count, 1);
    }
}
