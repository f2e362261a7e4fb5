//! What the operating system knows of this process, under the names Prometheus clients share.

use rustix::process::{Resource, getrlimit};

use super::{Metrics, Sink, Unit};

/// Adds the process metrics. They are read from `/proc` at each render (some tens of microseconds);
/// where there is no `/proc` they are missing.
///
/// `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`,
/// `process_open_fds`, `process_max_fds`, `process_threads`, `process_start_time_seconds`.
pub fn install(metrics: &Metrics) {
    let gauges = [
        ("process_resident_memory_bytes", Unit::Bytes, "Resident memory size."),
        ("process_virtual_memory_bytes", Unit::Bytes, "Virtual memory size."),
        ("process_open_fds", Unit::None, "Open file descriptors."),
        ("process_max_fds", Unit::None, "Limit of open file descriptors."),
        ("process_threads", Unit::None, "Threads of the operating system."),
        ("process_start_time_seconds", Unit::Seconds, "Start of the process, in seconds since 1970."),
    ];
    for (name, unit, help) in gauges {
        metrics.describe_gauge(name, unit, help);
    }
    metrics.describe_counter("process_cpu_seconds_total", Unit::Seconds, "User and system CPU time spent.");
    let boot_time = boot_time();
    metrics.collect(move |sink| {
        if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
            stat.emit(sink, boot_time);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself holds one.
            sink.gauge("process_open_fds", &[], entries.count().saturating_sub(1) as f64);
        }
        let max_fds = getrlimit(Resource::Nofile).current;
        sink.gauge("process_max_fds", &[], max_fds.map_or(f64::INFINITY, |limit| limit as f64));
    });
}

/// The fields of `/proc/self/stat` in use; times in clock ticks.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    threads: f64,
    start: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    /// The second field is the program's name in parentheses, which may hold spaces and parentheses:
    /// the others are counted from its end.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu: number(14)? + number(15)?,
            threads: number(20)?,
            start: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }

    fn emit(&self, sink: &mut Sink<'_>, boot_time: Option<f64>) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as f64;
        sink.counter("process_cpu_seconds_total", &[], self.cpu / ticks);
        sink.gauge("process_threads", &[], self.threads);
        sink.gauge("process_virtual_memory_bytes", &[], self.virtual_bytes);
        sink.gauge("process_resident_memory_bytes", &[], self.resident_pages * page);
        if let Some(boot_time) = boot_time {
            sink.gauge("process_start_time_seconds", &[], boot_time + self.start / ticks);
        }
    }
}

/// Seconds from 1970 to the start of the machine.
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=30).map(|field: u32| field.to_string()).collect();
        let stat = Stat::parse(&format!("1 (a) b (c) {}", fields.join(" ")));
        let expected =
            Stat { cpu: 29.0, threads: 20.0, start: 22.0, virtual_bytes: 23.0, resident_pages: 24.0 };
        assert_eq!(stat, Some(expected));
        assert_eq!(Stat::parse("1 (cut) R 1"), None);
    }
}
