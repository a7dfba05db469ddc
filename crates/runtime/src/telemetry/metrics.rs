//! Counters, gauges and histograms of the process, rendered in the text format of Prometheus (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trunkline_domain::vocabulary::Millis;

use super::names::{self, SECONDS};

/// How many series (name and labels) a process keeps; further ones count into a series nobody sees, and
/// `trunkline.metrics.series.dropped` counts them.
const SERIES_COUNT_MAX: usize = 4_096;

/// Every metric of a process. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Series>>);

#[derive(Default)]
struct Series {
    by_key: BTreeMap<Key, Metric>,
    dropped_count: u64,
}

/// Name, then labels as they are rendered.
type Key = (&'static str, String);

enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// A count that only grows. Cheap to clone.
#[derive(Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

/// A number that goes up and down. Cheap to clone.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// Durations by size. Cheap to clone.
#[derive(Clone)]
pub struct Histogram(Arc<Buckets>);

struct Buckets {
    /// One more than the bounds: the last has no upper bound.
    counts: Vec<AtomicU64>,
    sum_us: AtomicU64,
}

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `count` more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// It is `value` now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// It changes by `by`.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it is.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    fn new() -> Self {
        let counts = (0..=SECONDS.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { counts, sum_us: AtomicU64::new(0) }))
    }

    /// Takes a duration in.
    pub fn observe(&self, duration: std::time::Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// Takes a span of wall time in; a negative one counts as none.
    pub fn observe_ms(&self, span: Millis) {
        self.observe(std::time::Duration::from_millis(u64::try_from(span.0).unwrap_or(0)));
    }

    /// How many durations were taken in.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Registry {
    /// A registry without series.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of that name and labels, made when first asked for. `name` is one of [`super::names`], dotted;
    /// labels are few and bounded: never an id of a contact or an agent.
    ///
    /// # Panics
    /// When the name is that of a gauge or a histogram: a bug.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match self.series(name, labels, || Metric::Counter(Counter::default())) {
            Metric::Counter(counter) => counter,
            Metric::Gauge(_) | Metric::Histogram(_) => panic!("metric {name} is not a counter"),
        }
    }

    /// The gauge of that name and labels, made when first asked for.
    ///
    /// # Panics
    /// When the name is that of a counter or a histogram: a bug.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        match self.series(name, labels, || Metric::Gauge(Gauge::default())) {
            Metric::Gauge(gauge) => gauge,
            Metric::Counter(_) | Metric::Histogram(_) => panic!("metric {name} is not a gauge"),
        }
    }

    /// The histogram of that name and labels, made when first asked for; buckets are [`names::SECONDS`].
    ///
    /// # Panics
    /// When the name is that of a counter or a gauge: a bug.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        match self.series(name, labels, || Metric::Histogram(Histogram::new())) {
            Metric::Histogram(histogram) => histogram,
            Metric::Counter(_) | Metric::Gauge(_) => panic!("metric {name} is not a histogram"),
        }
    }

    fn series(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        make: impl FnOnce() -> Metric,
    ) -> Metric {
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name, render_labels(labels));
        if !series.by_key.contains_key(&key) && series.by_key.len() >= SERIES_COUNT_MAX {
            series.dropped_count += 1;
            return make();
        }
        series.by_key.entry(key).or_insert_with(make).share()
    }

    /// Every series in the text format of Prometheus, by name.
    pub fn render(&self) -> String {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut last = "";
        for ((name, labels), metric) in &series.by_key {
            if *name != last {
                header(&mut text, name, metric);
                last = name;
            }
            metric.render(&mut text, name, labels);
        }
        header(&mut text, names::METRICS_SERIES_DROPPED, &Metric::Counter(Counter::default()));
        line(&mut text, &flat(names::METRICS_SERIES_DROPPED, "_total"), "", series.dropped_count);
        text
    }
}

impl Metric {
    fn share(&self) -> Metric {
        match self {
            Metric::Counter(counter) => Metric::Counter(counter.clone()),
            Metric::Gauge(gauge) => Metric::Gauge(gauge.clone()),
            Metric::Histogram(histogram) => Metric::Histogram(histogram.clone()),
        }
    }

    const fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Metric::Counter(_) => ("counter", "_total"),
            Metric::Gauge(_) => ("gauge", ""),
            Metric::Histogram(_) => ("histogram", "_seconds"),
        }
    }

    fn render(&self, text: &mut String, name: &str, labels: &str) {
        let flat = flat(name, self.kind().1);
        match self {
            Metric::Counter(counter) => line(text, &flat, labels, counter.value()),
            Metric::Gauge(gauge) => line(text, &flat, labels, gauge.value()),
            Metric::Histogram(histogram) => {
                let mut below = 0;
                for (place, count) in histogram.0.counts.iter().enumerate() {
                    below += count.load(Ordering::Relaxed);
                    let bound = SECONDS.get(place).map_or("+Inf".to_owned(), ToString::to_string);
                    let comma = if labels.is_empty() { "" } else { "," };
                    line(text, &format!("{flat}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), below);
                }
                let micros = histogram.0.sum_us.load(Ordering::Relaxed);
                let sum = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
                line(text, &format!("{flat}_sum"), labels, sum);
                line(text, &format!("{flat}_count"), labels, below);
            }
        }
    }
}

fn header(text: &mut String, name: &str, metric: &Metric) {
    let (kind, suffix) = metric.kind();
    let flat = flat(name, suffix);
    if let Some(meaning) = names::meaning(name) {
        let _ = writeln!(text, "# HELP {flat} {meaning}");
    }
    let _ = writeln!(text, "# TYPE {flat} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = match labels {
        "" => writeln!(text, "{name} {value}"),
        labels => writeln!(text, "{name}{{{labels}}} {value}"),
    };
}

fn flat(name: &str, suffix: &str) -> String {
    format!("{}{suffix}", name.replace('.', "_"))
}

fn render_labels(labels: &[(&'static str, &str)]) -> String {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let render = |(key, value): &(&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{}=\"{value}\"", key.replace('.', "_"))
    };
    labels.iter().map(render).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn metrics_are_rendered_as_prometheus_reads_them() {
        let registry = Registry::new();
        registry.counter(names::CONTACTS_ENDED, &[("cause", "completed")]).add(2);
        registry.counter(names::CONTACTS_ENDED, &[("cause", "a\"b\\c")]).inc();
        registry.gauge(names::QUEUE_WAITING, &[]).set(-3);
        let text = registry.render();
        expect![[r##"
            # HELP trunkline_media_contacts_ended_total Contacts that ended, by cause.
            # TYPE trunkline_media_contacts_ended_total counter
            trunkline_media_contacts_ended_total{cause="a\"b\\c"} 1
            trunkline_media_contacts_ended_total{cause="completed"} 2
            # HELP trunkline_routing_contacts_waiting Contacts waiting now.
            # TYPE trunkline_routing_contacts_waiting gauge
            trunkline_routing_contacts_waiting -3
            # HELP trunkline_metrics_series_dropped_total Series not kept because there are too many.
            # TYPE trunkline_metrics_series_dropped_total counter
            trunkline_metrics_series_dropped_total 0
        "##]]
        .assert_eq(&text);
    }

    #[test]
    fn a_histogram_counts_each_duration_in_every_bucket_it_fits() {
        let registry = Registry::new();
        let waits = registry.histogram(names::ROUTING_WAIT, &[("queue", "que_a")]);
        waits.observe_ms(Millis(5));
        waits.observe_ms(Millis(1_000));
        waits.observe_ms(Millis(10_000_000));
        let text = registry.render();
        for wanted in [
            r#"trunkline_routing_wait_duration_seconds_bucket{queue="que_a",le="0.005"} 1"#,
            r#"trunkline_routing_wait_duration_seconds_bucket{queue="que_a",le="1"} 2"#,
            r#"trunkline_routing_wait_duration_seconds_bucket{queue="que_a",le="+Inf"} 3"#,
            r#"trunkline_routing_wait_duration_seconds_sum{queue="que_a"} 10001.005000"#,
            r#"trunkline_routing_wait_duration_seconds_count{queue="que_a"} 3"#,
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted} in\n{text}");
        }
    }

    #[test]
    fn too_many_series_are_dropped_and_counted() {
        let registry = Registry::new();
        for place in 0..SERIES_COUNT_MAX + 5 {
            registry.counter(names::CONTACTS_ENDED, &[("cause", &place.to_string())]).inc();
        }
        assert!(registry.render().ends_with("trunkline_metrics_series_dropped_total 5\n"));
    }
}
