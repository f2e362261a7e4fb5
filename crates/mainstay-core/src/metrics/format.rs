//! The two text formats and how a client chooses.

/// A text format of [`Metrics::render`](super::Metrics::render).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus text format 0.0.4, which every scraper reads.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0: units, and a mark at the end that tells a cut answer from a whole one.
    OpenMetrics,
}

impl Format {
    /// The HTTP `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format for an HTTP `Accept` header (RFC 9110, section 12.5.1): OpenMetrics if the client
    /// names it and weighs it no less than plain text, else Prometheus.
    ///
    /// ```
    /// # use mainstay_core::metrics::Format;
    /// let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    /// assert_eq!(Format::from_accept(scraper), Format::OpenMetrics);
    /// assert_eq!(Format::from_accept("*/*"), Format::Prometheus);
    /// ```
    #[must_use]
    pub fn from_accept(accept: &str) -> Self {
        let mut open_metrics = 0.0_f32;
        // How closely the best match names text/plain, then its weight: the closest match decides.
        let mut plain = (0, 0.0_f32);
        for range in accept.split(',').map(MediaRange::parse) {
            match range.name.as_str() {
                "application/openmetrics-text" if range.version_is(&["1.0.0", "0.0.1"]) => {
                    open_metrics = open_metrics.max(range.weight);
                }
                "text/plain" if range.version_is(&["0.0.4"]) => plain = closest(plain, (3, range.weight)),
                "text/*" => plain = closest(plain, (2, range.weight)),
                "*/*" => plain = closest(plain, (1, range.weight)),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= plain.1 { Self::OpenMetrics } else { Self::Prometheus }
    }
}

fn closest(a: (u8, f32), b: (u8, f32)) -> (u8, f32) {
    if b.0 > a.0 || (b.0 == a.0 && b.1 > a.1) { b } else { a }
}

struct MediaRange<'a> {
    name: String,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { name, version: None, weight: 1.0 };
        for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value),
                // A weight nobody can read asks for nothing.
                "q" => range.weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }

    fn version_is(&self, known: &[&str]) -> bool {
        self.version.is_none_or(|version| known.contains(&version))
    }
}
