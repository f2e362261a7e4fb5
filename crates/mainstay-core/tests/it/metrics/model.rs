//! Naive models that the metrics must agree with.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_core::metrics::{Metrics, Options, Unit};
use proptest::prelude::*;

use super::{sample, samples};

proptest! {
    #[test]
    fn histogram_buckets_equal_a_naive_count(
        bounds in prop::collection::vec(-100.0..100.0f64, 1..12),
        picks in prop::collection::vec((any::<prop::sample::Index>(), -120.0..120.0f64, any::<bool>()), 0..200),
    ) {
        let metrics = Metrics::new();
        metrics.describe_histogram("h", Unit::None, "Help.", &bounds);
        let histogram = metrics.histogram("h").with(&[]);
        // Some values lie exactly on a bound: `le` includes it.
        let values: Vec<f64> =
            picks.iter().map(|(at, other, on)| if *on { bounds[at.index(bounds.len())] } else { *other }).collect();
        values.iter().for_each(|value| histogram.record(*value));
        let json = metrics.to_json();
        let read = &json[0]["samples"][0];
        for bucket in read["buckets"].as_array().unwrap() {
            let bound: f64 = bucket["le"].as_str().unwrap().parse().unwrap();
            let naive = values.iter().filter(|value| **value <= bound).count();
            prop_assert_eq!(bucket["count"].as_u64(), Some(naive as u64), "le {}", bound);
        }
        prop_assert_eq!(read["buckets"].as_array().unwrap().len(), {
            let mut sorted = bounds.clone();
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            sorted.len() + 1
        });
        let sum: f64 = values.iter().sum();
        prop_assert!((read["sum"].as_f64().unwrap() - sum).abs() < 1e-6);
        prop_assert_eq!(read["count"].as_u64(), Some(values.len() as u64));
    }

    #[test]
    fn the_order_of_labels_does_not_matter_and_of_duplicates_the_last_counts(
        steps in prop::collection::vec(prop::collection::vec(("[a-c]", "[xy]?"), 0..5).prop_shuffle(), 1..40)
    ) {
        let metrics = Metrics::new();
        let mut model: BTreeMap<BTreeMap<String, String>, u64> = BTreeMap::new();
        for labels in &steps {
            let given: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            metrics.counter("c_total").with(&given).increment(1);
            let mut set: BTreeMap<_, _> = labels.iter().cloned().collect();
            set.retain(|_, value| !value.is_empty());
            *model.entry(set).or_default() += 1;
        }
        prop_assert_eq!(samples(&metrics).len(), model.len());
        for (set, count) in model {
            let labels: Vec<_> = set.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            let series =
                if labels.is_empty() { "c_total".into() } else { format!("c_total{{{}}}", labels.join(",")) };
            prop_assert_eq!(sample(&metrics, &series), Some(count.to_string()));
        }
    }

    #[test]
    fn summary_quantiles_are_within_the_stated_error_of_the_window(
        steps in prop::collection::vec((0..15_000u64, prop_oneof![1e-3..60.0f64, Just(0.0)]), 1..120)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async { check_summary(&steps).await })?;
    }
}

/// Milliseconds to wait, then the value to record.
async fn check_summary(steps: &[(u64, f64)]) -> Result<(), TestCaseError> {
    const SLICE_MS: u64 = 10_000;
    let window = Duration::from_millis(6 * SLICE_MS);
    let metrics = Metrics::with_options(Options { summary_window: window, ..Options::default() });
    let summary = metrics.summary("s").with(&[]); // slices begin here
    let mut now = 0;
    let mut seen: Vec<(u64, f64)> = Vec::new();
    for (wait, value) in steps {
        tokio::time::advance(Duration::from_millis(*wait)).await;
        now += wait;
        summary.record(*value);
        seen.push((now, *value));

        let mut covered: Vec<f64> = seen
            .iter()
            .filter(|(at, _)| at / SLICE_MS + 6 > now / SLICE_MS)
            .map(|(_, value)| *value)
            .collect();
        covered.sort_by(f64::total_cmp);
        for (quantile, share) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rank = (share * covered.len() as f64).ceil() as usize;
            let truth = covered[rank.max(1) - 1];
            let read: f64 =
                sample(&metrics, &format!("s{{quantile=\"{quantile}\"}}")).unwrap().parse().unwrap();
            prop_assert!((read - truth).abs() <= truth / 128.0, "q {quantile}: {read}, truly {truth}");
        }
    }
    prop_assert_eq!(sample(&metrics, "s_count"), Some(steps.len().to_string()));
    // Nothing is left of the window once it has passed; count and sum stay.
    tokio::time::advance(window).await;
    prop_assert_eq!(sample(&metrics, "s{quantile=\"0.5\"}"), Some("NaN".to_owned()));
    prop_assert_eq!(sample(&metrics, "s_count"), Some(steps.len().to_string()));
    Ok(())
}
