use std::time::Duration;

use super::quota::Outage;

/// How a [`RateLimiter`](super::RateLimiter) works. Plain data with complete defaults.
///
/// ```
/// let mut options = mainstay_core::rate_limit::Options::default();
/// options.instances = 4;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Most keys kept in this process, each with a state of its own: about 300 bytes, the key and
    /// 4·(k+1) bytes. Further keys share states, which can refuse too early and never too late.
    /// Default 100,000.
    pub max_keys: usize,
    /// Longest wait for the store's answer; then the outage policy decides. Default 500 ms.
    pub op_timeout: Duration,
    /// Number of processes that share the limits: during an outage each takes its part. 0 counts as 1.
    /// Default 1.
    pub instances: u32,
    /// The outage policy of quotas that name none. Default [`Outage::Local`] with one part of
    /// `instances`. A share that is none (not above 0, or above 1) counts as `None`.
    pub on_outage: Outage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_keys: 100_000,
            op_timeout: Duration::from_millis(500),
            instances: 1,
            on_outage: Outage::Local { share: None },
        }
    }
}
