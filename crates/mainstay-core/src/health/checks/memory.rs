use std::fs;
use std::path::{Path, PathBuf};

use super::fullness;
use crate::health::Check;

/// Limits of [`memory`], as shares from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Fuller than this is a warning. Default 0.85.
    pub warn: f64,
    /// Fuller than this is a failure. Default 0.95.
    pub fail: f64,
    /// Where `proc` and `sys` are. Default `/`.
    pub root: PathBuf,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { warn: 0.85, fail: 0.95, root: "/".into() }
    }
}

/// The check `memory`: how close the process is to being killed for memory.
///
/// That is the limit of its control group (version 2, then 1) or of a parent group, whichever is
/// fullest; without a limit it is the memory of the machine. Page cache that the kernel can drop at
/// once (`inactive_file`, `MemAvailable`) does not count as used.
pub fn memory(options: MemoryOptions) -> Check {
    Check::blocking("memory", move || {
        let Usage { used, limit, of } = measure(&options.root)?;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
        let share = used as f64 / limit as f64;
        let detail = format!("{} of {} MiB of the {of}", used >> 20, limit >> 20);
        Ok::<_, String>(fullness(share, options.warn, options.fail, &detail))
    })
    .kind("system")
}

struct Usage {
    used: u64,
    limit: u64,
    of: &'static str,
}

/// The files of one version of control groups.
struct Version {
    name: &'static str,
    mount: &'static str,
    limit: &'static str,
    current: &'static str,
    inactive: &'static str,
}

const V2: Version = Version {
    name: "control group (v2)",
    mount: "sys/fs/cgroup",
    limit: "memory.max",
    current: "memory.current",
    inactive: "inactive_file",
};

const V1: Version = Version {
    name: "control group (v1)",
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};

fn measure(root: &Path) -> Result<Usage, String> {
    let file = root.join("proc/meminfo");
    let meminfo = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let kibibytes = |key| field(&meminfo, key).map(|value| value.saturating_mul(1024));
    let total = kibibytes("MemTotal:").filter(|total| *total > 0).ok_or("meminfo without MemTotal")?;
    let available = kibibytes("MemAvailable:").ok_or("meminfo without MemAvailable")?;

    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let tightest = [V2, V1].into_iter().find_map(|version| version.tightest(root, &groups, total));
    Ok(tightest.unwrap_or(Usage { used: total.saturating_sub(available), limit: total, of: "machine" }))
}

impl Version {
    /// The fullest group with a limit, from the own group up to the mount. A limit that is not
    /// below the memory of the machine limits nothing; "max" and the huge number of v1 included.
    fn tightest(&self, root: &Path, groups: &str, total: u64) -> Option<Usage> {
        let mount = root.join(self.mount);
        let own = groups.lines().find_map(|line| self.path(line)).unwrap_or_default();
        // Inside a container the path may be the host's: then only the mount itself is found.
        Path::new(own.trim_start_matches('/'))
            .ancestors()
            .filter_map(|group| self.usage(&mount.join(group), total))
            .max_by(|a, b| {
                let product = |x: &Usage, y: &Usage| u128::from(x.used) * u128::from(y.limit);
                product(a, b).cmp(&product(b, a))
            })
    }

    /// The path in a line of `/proc/self/cgroup`: `hierarchy:controllers:path`.
    fn path<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut parts = line.splitn(3, ':');
        let (_hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let wanted = if self.limit == V2.limit {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "memory")
        };
        wanted.then_some(path)
    }

    fn usage(&self, group: &Path, total: u64) -> Option<Usage> {
        let number = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        let limit = number(self.limit).filter(|limit| (1..total).contains(limit))?;
        let current = number(self.current)?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let inactive = field(&stat, self.inactive).unwrap_or(0);
        Some(Usage { used: current.saturating_sub(inactive), limit, of: self.name })
    }
}

/// The number behind a key at the start of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == key).then(|| words.next()?.parse().ok())?
    })
}
