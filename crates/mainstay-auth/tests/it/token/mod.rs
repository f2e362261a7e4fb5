use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_auth::token::{Claims, Error, IssueOptions, Reason, VerifyOptions};
use mainstay_core::time::{Clock, Moment, Source};

mod case;
mod issue;
mod keys;
mod matrix;
mod npm;
mod oracle;
mod remote;
mod witness;

/// A clock that stands still.
#[derive(Debug)]
struct Still(Timestamp);

impl Source for Still {
    fn now(&self) -> Moment {
        Moment::from_micros(3_600_000_000)
    }

    fn wall(&self) -> Timestamp {
        self.0
    }
}

fn at(time: Timestamp) -> Clock {
    Clock::of(Arc::new(Still(time)))
}

fn issuing() -> IssueOptions {
    let lifetime = Duration::from_secs(900);
    IssueOptions { issuer: "issuer".to_owned(), audience: "audience".to_owned(), lifetime }
}

fn verifying() -> VerifyOptions {
    VerifyOptions::new("issuer", "audience")
}

/// Why it was refused.
fn reason(verdict: Result<Claims, Error>) -> Option<Reason> {
    match verdict.err()? {
        Error::Invalid { reason } => Some(reason),
        _ => None,
    }
}
