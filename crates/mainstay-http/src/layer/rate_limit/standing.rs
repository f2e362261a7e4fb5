use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mainstay_core::rate_limit::{Charge, Decision, Decisions, RateLimiter, Refusal};
use rand::RngExt;

use super::fields::{self, RateLimitFields};
use super::rule::RateLimitRule;
use crate::Problem;

/// The most by which a wait is stretched at random.
const JITTER: f64 = 0.1;

/// Where a client stands after its request was counted.
#[derive(Debug)]
pub(crate) struct Standing {
    decisions: Decisions,
    fields: RateLimitFields,
}

/// Counts one request of `key` against every quota of `rule`.
///
/// # Errors
/// The answer to a request that may not pass: `429`, or `503` where that is no fault of the client.
pub(crate) async fn ask(limiter: &RateLimiter, rule: &RateLimitRule, key: &str) -> Result<Standing, Problem> {
    let charges: Vec<_> = rule.quotas.iter().map(|quota| Charge::new(key, *quota)).collect();
    let decisions = limiter.check_all(&charges).await.map_err(|error| Problem::internal(&error))?;
    let standing = Standing { decisions, fields: rule.fields };
    if standing.decisions.allowed() { Ok(standing) } else { Err(standing.refusal()) }
}

impl Standing {
    /// What is left of the quota that has least left.
    pub(crate) fn remaining(&self) -> u32 {
        self.decisions.tightest().map_or(0, |tightest| tightest.remaining)
    }

    /// Writes the fields of an answer to a request that passed.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        if let Some(tightest) = self.decisions.tightest() {
            let seconds = fields::whole_seconds(tightest.reset_after);
            for (name, value) in self.fields(tightest, seconds) {
                // A list can grow by what a layer around this one adds; a number cannot.
                match self.fields {
                    RateLimitFields::Draft11 => _ = headers.append(name, value),
                    RateLimitFields::Draft06 => _ = headers.entry(name).or_insert(value),
                }
            }
        }
    }

    fn refusal(&self) -> Problem {
        let tightest = self.decisions.tightest().expect("a rule has a quota, and one of them refused");
        let jitter = rand::rng().random_range(0.0..=JITTER);
        let seconds = fields::retry_seconds(tightest.retry_after.unwrap_or(tightest.reset_after), jitter);
        let problem = match tightest.refusal() {
            Some(Refusal::Outage) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service cannot answer right now",
            ),
            _ => Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
        };
        let problem = problem
            .detail(format!("Try again in {seconds} seconds."))
            .header(header::RETRY_AFTER, HeaderValue::from(seconds));
        self.fields(tightest, seconds).fold(problem, |problem, (name, value)| problem.header(name, value))
    }

    /// All policies, and how much is left of the tightest for the next `seconds`.
    fn fields(
        &self,
        tightest: &Decision,
        seconds: u64,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let fields = match self.fields {
            RateLimitFields::Draft11 => {
                let (mut policies, mut standing) = (String::new(), String::new());
                for decision in &*self.decisions {
                    fields::policy(&mut policies, &decision.policy(), decision.limit, decision.window);
                }
                fields::standing(&mut standing, &tightest.policy(), tightest.remaining, seconds);
                let text =
                    |text: String| HeaderValue::try_from(text).expect("names of quotas are plain ASCII");
                vec![(fields::POLICY, text(policies)), (fields::RATE_LIMIT, text(standing))]
            }
            RateLimitFields::Draft06 => vec![
                (fields::LIMIT, HeaderValue::from(tightest.limit)),
                (fields::REMAINING, HeaderValue::from(tightest.remaining)),
                (fields::RESET, HeaderValue::from(seconds)),
            ],
        };
        fields.into_iter()
    }
}
