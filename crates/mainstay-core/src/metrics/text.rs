//! Prometheus text format 0.0.4 and OpenMetrics 1.0.0.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>. The labels of a series are rendered when
//! it is created, so a render copies text and prints numbers.

use std::sync::atomic::Ordering::Relaxed;

use super::collect::{Reading, Visitor, visit};
use super::family::{About, Family, Kind};
use super::key::{self, Key};
use super::registry::Registry;
use super::{Format, number, summary};

pub(super) fn render(registry: &Registry, format: Format) -> String {
    let last_length = registry.last_length.load(Relaxed);
    // Some room for numbers that grew since.
    let out = String::with_capacity(last_length + last_length / 16 + 256);
    let mut text = Text { out, format, sample_name: String::new() };
    visit(registry, &mut text);
    if format == Format::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    registry.last_length.store(text.out.len(), Relaxed);
    text.out
}

struct Text {
    out: String,
    format: Format,
    /// Of the current family: the name its samples begin with.
    sample_name: String,
}

impl Visitor for Text {
    fn family(&mut self, family: &Family, about: &About) {
        let open_metrics = self.format == Format::OpenMetrics;
        let mut name = &*family.name;
        self.sample_name.clear();
        self.sample_name.push_str(name);
        if open_metrics && family.kind == Kind::Counter {
            // In OpenMetrics the suffix belongs to the sample, not to the family.
            name = name.strip_suffix("_total").unwrap_or(name);
            self.sample_name.truncate(name.len());
            self.sample_name.push_str("_total");
        }
        self.comment("HELP", name);
        key::escape(&mut self.out, &about.help, open_metrics);
        self.out.push('\n');
        self.comment("TYPE", name);
        self.out.push_str(family.kind.as_str());
        self.out.push('\n');
        if open_metrics
            && let Some(unit) = about.unit.as_str()
            && name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
        {
            self.comment("UNIT", name);
            self.out.push_str(unit);
            self.out.push('\n');
        }
    }

    fn sample(&mut self, _key: &Key, labels: &str, value: Reading<'_>) {
        match value {
            Reading::Count(count) => self.count("", labels, count),
            Reading::Number(value) => self.number("", labels, value),
            Reading::Histogram(counts) => {
                let (count, sum) = counts.read(|le, count| {
                    self.start("_bucket", labels, Some(("le", le)));
                    number::push_u64(&mut self.out, count);
                    self.out.push('\n');
                });
                self.number("_sum", labels, sum);
                self.count("_count", labels, count);
            }
            Reading::Summary(window) => {
                let read = window.read();
                for (quantile, value) in summary::QUANTILES.into_iter().zip(read.quantiles) {
                    self.start("", labels, Some(("quantile", &number::label(quantile))));
                    number::push_f64(&mut self.out, value);
                    self.out.push('\n');
                }
                self.number("_sum", labels, read.sum);
                self.count("_count", labels, read.count);
            }
        }
    }
}

impl Text {
    fn comment(&mut self, what: &str, name: &str) {
        self.out.extend(["# ", what, " ", name, " "]);
    }

    fn count(&mut self, suffix: &str, labels: &str, count: u64) {
        self.start(suffix, labels, None);
        number::push_u64(&mut self.out, count);
        self.out.push('\n');
    }

    fn number(&mut self, suffix: &str, labels: &str, value: f64) {
        self.start(suffix, labels, None);
        number::push_f64(&mut self.out, value);
        self.out.push('\n');
    }

    /// A line up to its number.
    fn start(&mut self, suffix: &str, labels: &str, own: Option<(&str, &str)>) {
        let out = &mut self.out;
        out.push_str(&self.sample_name);
        out.push_str(suffix);
        if labels.is_empty() && own.is_none() {
            return out.push(' ');
        }
        out.push('{');
        out.push_str(labels);
        if let Some((name, value)) = own {
            if !labels.is_empty() {
                out.push(',');
            }
            out.extend([name, "=\"", value, "\""]);
        }
        out.push_str("} ");
    }
}
