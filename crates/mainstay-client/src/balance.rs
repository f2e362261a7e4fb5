//! Which of several endpoints a request goes to.
//!
//! Two are drawn and the one with fewer requests under way is taken: nearly as good as knowing the least loaded of all,
//! and no herd runs to it (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). An endpoint
//! whose breaker is open is left out until it lets probes pass.

use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_core::breaker::{Breaker, Open, Permit};
use rand::seq::IteratorRandom;
use url::Url;

/// A place that answers requests.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) breaker: Breaker,
    under_way: AtomicUsize,
}

impl Endpoint {
    pub(crate) const fn new(url: Url, breaker: Breaker) -> Self {
        Self { url, breaker, under_way: AtomicUsize::new(0) }
    }
}

/// A request on its way to an endpoint, counted until it is dropped.
pub(crate) struct Chosen<'a>(pub(crate) &'a Endpoint);

impl<'a> Chosen<'a> {
    fn new(endpoint: &'a Endpoint) -> Self {
        endpoint.under_way.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An endpoint whose breaker lets the request pass: another than the last, if there is one. With none, the refusal
/// that ends first.
pub(crate) fn choose<'a>(
    endpoints: &'a [Endpoint],
    last: &AtomicUsize,
) -> Result<(Chosen<'a>, Permit<'a>), Open> {
    let mut refused: Option<Open> = None;
    for at in order(endpoints, last.load(Ordering::Relaxed)) {
        match endpoints[at].breaker.try_acquire() {
            Ok(permit) => {
                last.store(at, Ordering::Relaxed);
                return Ok((Chosen::new(&endpoints[at]), permit));
            }
            Err(open) => {
                if refused.as_ref().is_none_or(|first| open.retry_after < first.retry_after) {
                    refused = Some(open);
                }
            }
        }
    }
    Err(refused.expect("there is at least one endpoint"))
}

/// All of them once: each time the better of two that are drawn from those left, and the last one last.
fn order(endpoints: &[Endpoint], last: usize) -> impl Iterator<Item = usize> {
    let mut left: Vec<usize> = (0..endpoints.len()).filter(|at| *at != last).collect();
    let drawn = std::iter::from_fn(move || {
        let under_way = |at: &usize| endpoints[*at].under_way.load(Ordering::Relaxed);
        let draw = || (0..left.len()).choose(&mut rand::rng());
        let (one, other) = (draw()?, draw()?);
        let better = if under_way(&left[other]) < under_way(&left[one]) { other } else { one };
        Some(left.swap_remove(better))
    });
    drawn.chain((last < endpoints.len()).then_some(last))
}

/// No endpoint yet.
pub(crate) const NONE: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use mainstay_core::breaker::{Mode, Policy};
    use mainstay_core::metrics::Metrics;
    use mainstay_core::time::Clock;

    use super::*;

    fn endpoints(count: usize) -> Vec<Endpoint> {
        let endpoint = |at: usize| {
            let breaker =
                Breaker::new(&format!("e.{at}"), Policy::default(), &Metrics::new(), Clock::system());
            Endpoint::new(format!("http://e{at}").parse().unwrap(), breaker.unwrap())
        };
        (0..count).map(endpoint).collect()
    }

    fn host<'a>(chosen: &Chosen<'a>) -> &'a str {
        chosen.0.url.host_str().unwrap()
    }

    #[test]
    fn requests_spread_by_what_is_under_way() {
        let endpoints = endpoints(4);
        let held: Vec<_> = (0..400).map(|_| choose(&endpoints, &AtomicUsize::new(NONE)).unwrap()).collect();
        for endpoint in &endpoints {
            let under_way = endpoint.under_way.load(Ordering::Relaxed);
            assert!((90..=110).contains(&under_way), "{under_way}");
        }
        drop(held);
        assert!(endpoints.iter().all(|endpoint| endpoint.under_way.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn what_an_open_endpoint_would_have_got_is_spread_over_all_the_others() {
        let endpoints = endpoints(4);
        endpoints[1].breaker.force(Mode::ForcedOpen);
        let held: Vec<_> = (0..300).map(|_| choose(&endpoints, &AtomicUsize::new(NONE)).unwrap()).collect();
        for at in [0, 2, 3] {
            let under_way = endpoints[at].under_way.load(Ordering::Relaxed);
            assert!((90..=110).contains(&under_way), "{at}: {under_way}");
        }
        drop(held);
    }

    #[test]
    fn an_open_endpoint_is_left_out_and_the_next_attempt_goes_elsewhere() {
        let endpoints = endpoints(3);
        endpoints[1].breaker.force(Mode::ForcedOpen);
        for _ in 0..100 {
            let last = AtomicUsize::new(NONE);
            let (first, _permit) = choose(&endpoints, &last).unwrap();
            let (second, _permit) = choose(&endpoints, &last).unwrap();
            assert!(host(&first) != "e1" && host(&second) != "e1");
            assert_ne!(host(&first), host(&second));
        }
    }

    #[test]
    fn the_only_one_left_is_asked_again_and_with_none_left_the_refusal_says_when() {
        let endpoints = endpoints(2);
        endpoints[1].breaker.force(Mode::ForcedOpen);
        let last = AtomicUsize::new(0);
        assert_eq!(host(&choose(&endpoints, &last).unwrap().0), "e0");
        endpoints[0].breaker.try_acquire().unwrap().open_for(std::time::Duration::from_secs(30));
        let open = choose(&endpoints, &last).err().unwrap();
        assert!(open.retry_after.as_secs() <= 60, "{open}");
    }
}
