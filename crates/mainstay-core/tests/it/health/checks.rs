use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_core::health::checks::{
    DiskOptions, EventLoopOptions, MemoryOptions, disk, event_loop_lag, memory,
};
use mainstay_core::health::{Check, CheckReport, Status};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{check_of, each_second, forever, health, until};

/// Runs a check once.
async fn probe(check: Check) -> CheckReport {
    let health = health(each_second());
    health.register(check.named("probed")).unwrap();
    let _tasks = health.start(&forever());
    until("a result", || check_of(&health, "probed").age.is_some()).await;
    check_of(&health, "probed")
}

const MIB: u64 = 1024 * 1024;

/// A machine of 1000 MiB of which 400 are available, with these files on top.
fn machine(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let meminfo = "MemTotal:        1024000 kB\nMemFree:  1 kB\nMemAvailable:     409600 kB\n";
    for (path, text) in [("proc/meminfo", meminfo)].iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

async fn memory_of(root: &Path) -> CheckReport {
    let mut options = MemoryOptions::default();
    options.root = root.into();
    probe(memory(options)).await
}

fn bytes(mib: u64) -> String {
    format!("{}\n", mib * MIB)
}

#[tokio::test]
async fn without_a_limit_memory_is_that_of_the_machine() {
    for files in [
        &[][..],
        &[("proc/self/cgroup", "0::/\n")][..],
        &[("sys/fs/cgroup/memory.max", "max\n"), ("sys/fs/cgroup/memory.current", "5\n")][..],
        &[
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
        ][..],
    ] {
        let check = memory_of(machine(files).path()).await;
        assert_eq!((check.status, check.observed_value), (Status::Healthy, Some(60.0)), "{files:?}");
        assert_eq!(check.message.as_deref(), Some("60 % used: 600 of 1000 MiB of the machine"));
    }
}

#[tokio::test]
async fn page_cache_that_can_be_dropped_is_not_used_memory() {
    let root = machine(&[
        ("proc/self/cgroup", "0::/app\n"),
        ("sys/fs/cgroup/app/memory.max", &bytes(100)),
        ("sys/fs/cgroup/app/memory.current", &bytes(95)),
        ("sys/fs/cgroup/app/memory.stat", &format!("anon 1\ninactive_file {}\n", 5 * MIB)),
    ]);
    let check = memory_of(root.path()).await;
    assert_eq!((check.status, check.observed_value), (Status::Degraded, Some(90.0)));
    assert_eq!(check.message.as_deref(), Some("90 % used: 90 of 100 MiB of the control group (v2)"));
}

#[tokio::test]
async fn the_fullest_group_above_counts() {
    let root = machine(&[
        ("proc/self/cgroup", "0::/pod/app\n"),
        ("sys/fs/cgroup/pod/app/memory.max", &bytes(500)),
        ("sys/fs/cgroup/pod/app/memory.current", &bytes(100)),
        ("sys/fs/cgroup/pod/memory.max", &bytes(200)),
        ("sys/fs/cgroup/pod/memory.current", &bytes(196)),
    ]);
    let check = memory_of(root.path()).await;
    assert_eq!((check.status, check.observed_value), (Status::Unhealthy, Some(98.0)));
}

#[tokio::test]
async fn version_one_groups_are_found_inside_and_outside_of_a_container() {
    for group in ["", "docker/42/"] {
        let file = |name: &str| format!("sys/fs/cgroup/memory/{group}{name}");
        let root = machine(&[
            ("proc/self/cgroup", "9:cpu,cpuacct:/docker/42\n4:memory:/docker/42\n0::/\n"),
            (&file("memory.limit_in_bytes"), &bytes(100)),
            (&file("memory.usage_in_bytes"), &bytes(60)),
            (&file("memory.stat"), &format!("inactive_file 7\ntotal_inactive_file {}\n", 10 * MIB)),
        ]);
        assert_eq!(memory_of(root.path()).await.observed_value, Some(50.0), "group {group:?}");
    }
}

#[tokio::test]
async fn a_machine_that_does_not_tell_its_memory_is_a_failure() {
    let empty = tempfile::tempdir().unwrap();
    let check = memory_of(empty.path()).await;
    assert_eq!(check.status, Status::Unhealthy);
    assert!(check.message.unwrap().contains("proc/meminfo"));
}

#[tokio::test]
async fn this_machine_tells_its_memory() {
    let used = probe(memory(MemoryOptions::default())).await.observed_value.unwrap();
    assert!((0.1..=100.0).contains(&used), "{used} %");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn no_content_of_the_kernel_files_makes_the_probe_panic(text in "(\\PC|[\n0-9:/]){0,80}", limit in any::<u64>()) {
        let limit = limit.to_string();
        let root = machine(&[
            ("proc/self/cgroup", &text),
            ("sys/fs/cgroup/memory.max", &limit),
            ("sys/fs/cgroup/memory.current", &text),
            ("sys/fs/cgroup/memory.stat", &text),
        ]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let check = runtime.block_on(memory_of(root.path()));
        prop_assert!(check.message.as_deref() != Some("probe panicked"));
    }
}

#[tokio::test]
async fn a_disk_is_judged_by_its_limits() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = DiskOptions::default();
    options.warn = 2.0;
    options.fail = 3.0;
    let check = probe(disk(directory.path(), options)).await;
    assert_eq!((check.status, check.observed_unit.as_deref()), (Status::Healthy, Some("percent")));
    options.warn = 0.0;
    assert_eq!(probe(disk(directory.path(), options)).await.status, Status::Degraded);
    options.fail = 0.0;
    assert_eq!(probe(disk(directory.path(), options)).await.status, Status::Unhealthy);
}

#[tokio::test]
async fn a_disk_that_is_gone_is_a_failure() {
    let check = probe(disk("/does/not/exist", DiskOptions::default())).await;
    assert_eq!(check.status, Status::Unhealthy);
    assert!(check.message.unwrap().starts_with("/does/not/exist: No such file"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_wakes_tasks_too_late_is_told() {
    for (late, status) in [(0, Status::Healthy), (200, Status::Degraded), (2000, Status::Unhealthy)] {
        let health = health(each_second());
        health.register(event_loop_lag(EventLoopOptions::default())).unwrap();
        let _tasks = health.start(&forever());
        tokio::time::sleep(Duration::from_millis(1)).await;
        // The clock jumps while the probe sleeps, as it does when something blocks the thread.
        tokio::time::advance(Duration::from_millis(9 + late)).await;
        until("a result", || check_of(&health, "event-loop").age.is_some()).await;
        let check = check_of(&health, "event-loop");
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.response_time >= late);
    }
}
