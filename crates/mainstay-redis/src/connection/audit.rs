//! Whether a server can keep the promises of what lies on it, by its `INFO`.

use std::borrow::Cow;

use crate::status::{Finding, Primitive, Severity};

/// What a server says of itself in `INFO`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Info(String);

impl Info {
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
    }

    pub(crate) fn number(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }
}

/// What whoever runs this server should know. `skew` is how many microseconds its calendar is ahead of ours.
pub(crate) fn audit(info: &Info, skew: Option<i64>) -> Vec<Finding> {
    [eviction(info), persistence(info), replication(info), clock(skew)].into_iter().flatten().collect()
}

/// `INFO` could not be had.
pub(crate) fn unknown(why: &str) -> Vec<Finding> {
    let message = format!("whether the server is safe is not known: {why}");
    vec![finding(Severity::Unknown, "info", message, &[])]
}

fn eviction(info: &Info) -> Option<Finding> {
    const LEASES: &[Primitive] = &[Primitive::Locks, Primitive::RateLimits];
    let policy = info.text("maxmemory_policy")?;
    if policy.starts_with("allkeys-") {
        let message = format!(
            "maxmemory-policy is {policy}: a full server forgets locks, fences and counters; set it to noeviction, or \
             keep the cache on a server of its own"
        );
        return Some(finding(Severity::Unsafe, "eviction", message, LEASES));
    }
    let limited = info.number("maxmemory").unwrap_or_default() > 0;
    (policy.starts_with("volatile-") && limited).then(|| {
        let message = format!(
            "maxmemory-policy is {policy}: a full server forgets leases and counters before their time, though no \
             fence; noeviction is safe"
        );
        finding(Severity::Warning, "eviction", message, &[])
    })
}

fn persistence(info: &Info) -> Option<Finding> {
    let off = info.number("aof_enabled")? == 0;
    off.then(|| {
        let message = "appendonly is off: a restart forgets locks and counters since the last snapshot; fences go on \
                       by the server's clock";
        finding(Severity::Notice, "persistence", message, &[])
    })
}

fn replication(info: &Info) -> Option<Finding> {
    let replicas = info.number("connected_slaves")?;
    (replicas > 0 && info.text("min_slaves_good_slaves").is_none()).then(|| {
        let message = format!(
            "{replicas} replicas and no min-replicas-to-write: what a primary acknowledges while it is cut off is \
             lost with the failover"
        );
        finding(Severity::Notice, "replication", message, &[])
    })
}

fn clock(skew: Option<i64>) -> Option<Finding> {
    let skew = skew.filter(|skew| skew.unsigned_abs() > 1_000_000)?;
    let message = format!("the server's clock differs from this machine's by {:.1} s", skew as f64 / 1e6);
    Some(finding(Severity::Notice, "clock", message, &[]))
}

fn finding(
    severity: Severity,
    code: &'static str,
    message: impl Into<Cow<'static, str>>,
    unsafe_for: &'static [Primitive],
) -> Finding {
    Finding { severity, code, message: message.into(), unsafe_for }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(info: &str, skew: Option<i64>) -> Vec<(Severity, &'static str)> {
        let findings = audit(&Info::new(info.into()), skew);
        findings.iter().map(|finding| (finding.severity, finding.code)).collect()
    }

    #[test]
    fn a_server_that_forgets_keys_when_it_is_full_is_unsafe_for_locks_and_limits() {
        let evicts = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(codes(evicts, None), [(Severity::Unsafe, "eviction")]);
        let found = audit(&Info::new(evicts.into()), None);
        assert_eq!(found[0].unsafe_for, [Primitive::Locks, Primitive::RateLimits]);
        assert_eq!(
            codes("maxmemory:1000\r\nmaxmemory_policy:volatile-ttl\r\n", None),
            [(Severity::Warning, "eviction")]
        );
        assert_eq!(codes("maxmemory:0\r\nmaxmemory_policy:volatile-ttl\r\n", None), []);
        assert_eq!(codes("maxmemory:1000\r\nmaxmemory_policy:noeviction\r\n", None), []);
    }

    #[test]
    fn what_could_be_lost_and_a_clock_that_differs_are_noticed() {
        assert_eq!(codes("aof_enabled:0\r\n", None), [(Severity::Notice, "persistence")]);
        assert_eq!(codes("aof_enabled:1\r\nconnected_slaves:0\r\n", None), []);
        assert_eq!(codes("connected_slaves:2\r\n", None), [(Severity::Notice, "replication")]);
        assert_eq!(codes("connected_slaves:2\r\nmin_slaves_good_slaves:2\r\n", None), []);
        assert_eq!(codes("", Some(-1_000_001)), [(Severity::Notice, "clock")]);
        assert_eq!(codes("", Some(1_000_000)), []);
        assert_eq!(codes("", Some(i64::MIN)), [(Severity::Notice, "clock")]);
    }
}
