//! The series as JSON.

use serde_json::{Map, Value, json};

use super::collect::{Reading, Visitor, visit};
use super::family::{About, Family};
use super::key::Key;
use super::registry::Registry;
use super::{number, summary};

pub(super) fn render(registry: &Registry) -> Value {
    let mut metrics = Json::default();
    visit(registry, &mut metrics);
    metrics.end_family();
    Value::Array(metrics.done)
}

#[derive(Default)]
struct Json {
    done: Vec<Value>,
    /// The current metric without its samples, and these.
    open: Option<Map<String, Value>>,
    samples: Vec<Value>,
}

impl Visitor for Json {
    fn family(&mut self, family: &Family, about: &About) {
        self.end_family();
        self.open = Some(Map::from_iter([
            ("name".to_owned(), json!(family.name)),
            ("type".to_owned(), json!(family.kind.as_str())),
            ("help".to_owned(), json!(&*about.help)),
            ("unit".to_owned(), json!(about.unit.as_str())),
        ]));
    }

    fn sample(&mut self, key: &Key, _labels: &str, value: Reading<'_>) {
        let labels: Map<_, _> = key.labels().map(|(k, v)| (k.to_owned(), json!(v))).collect();
        self.samples.push(match value {
            Reading::Count(count) => json!({"labels": labels, "value": count}),
            Reading::Number(value) => json!({"labels": labels, "value": float(value)}),
            Reading::Histogram(counts) => {
                let mut buckets = Vec::new();
                let (count, sum) = counts.read(|le, count| buckets.push(json!({"le": le, "count": count})));
                json!({"labels": labels, "count": count, "sum": float(sum), "buckets": buckets})
            }
            Reading::Summary(window) => {
                let read = window.read();
                let quantiles: Vec<_> = summary::QUANTILES
                    .into_iter()
                    .zip(read.quantiles)
                    .map(|(quantile, value)| json!({"quantile": number::label(quantile), "value": float(value)}))
                    .collect();
                json!({"labels": labels, "count": read.count, "sum": float(read.sum), "quantiles": quantiles})
            }
        });
    }
}

impl Json {
    fn end_family(&mut self) {
        if let Some(mut metric) = self.open.take() {
            metric.insert("samples".to_owned(), Value::Array(std::mem::take(&mut self.samples)));
            self.done.push(Value::Object(metric));
        }
    }
}

fn float(value: f64) -> Value {
    number::not_finite(value).map_or_else(|| json!(value), |name| json!(name))
}
