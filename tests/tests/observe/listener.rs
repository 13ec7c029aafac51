//! A subscriber and a recorder that write down all they are told.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

/// Something that was told through `tracing`.
#[derive(Clone, Debug)]
pub struct Told {
    pub level: Level,
    pub is_span: bool,
    pub what: String,
    pub fields: BTreeMap<String, String>,
}

impl Told {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// All that was told.
#[derive(Clone, Default)]
pub struct Heard {
    told: Arc<Mutex<Vec<Told>>>,
    figures: Arc<Mutex<BTreeMap<String, f64>>>,
    described: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

/// Runs something, listening.
pub fn listening<T>(run: impl FnOnce(&Heard) -> T) -> T {
    let heard = Heard::default();
    metrics::with_local_recorder(&heard, || tracing::subscriber::with_default(heard.clone(), || run(&heard)))
}

impl Heard {
    /// What was told since somebody asked last.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// A counter or a gauge, or how often a histogram was told something.
    pub fn figure(&self, key: &str) -> f64 {
        self.figures.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    /// The names of all metrics told of, and of those described.
    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        let figures = self.figures.lock().unwrap();
        let mut told: Vec<_> = figures.keys().map(|key| key.split('{').next().unwrap_or_default().to_owned()).collect();
        told.dedup();
        let mut described = self.described.lock().unwrap().clone();
        described.sort();
        described.dedup();
        (told, described)
    }

    /// The keys of all metrics.
    pub fn keys(&self) -> Vec<String> {
        self.figures.lock().unwrap().keys().cloned().collect()
    }

    fn note(&self, level: Level, is_span: bool, what: &str, fields: Fields) {
        let mut fields = fields.0;
        let what = fields.remove("message").unwrap_or_else(|| what.to_owned());
        self.told.lock().unwrap().push(Told { level, is_span, what, fields });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = self.0.entry(field.name().to_owned()).or_default();
        write!(text, "{value:?}").unwrap();
    }
}

impl Subscriber for Heard {
    fn enabled(&self, about: &tracing::Metadata<'_>) -> bool {
        about.target() == "coatroom"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.note(*span.metadata().level(), true, span.metadata().name(), fields);
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.note(Level::TRACE, true, "recorded", fields);
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.note(*event.metadata().level(), false, "", fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// One metric.
struct Figure {
    key: String,
    figures: Arc<Mutex<BTreeMap<String, f64>>>,
}

impl Figure {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut figures = self.figures.lock().unwrap();
        let figure = figures.entry(self.key.clone()).or_default();
        *figure = change(*figure);
    }
}

impl CounterFn for Figure {
    fn increment(&self, by: u64) {
        self.change(|present| present + by as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, by: f64) {
        self.change(|present| present + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|present| present - by);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Figure {
    fn record(&self, _: f64) {
        self.change(|present| present + 1.0);
    }
}

impl Heard {
    fn figure_of(&self, key: &Key) -> Arc<Figure> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let key =
            if labels.is_empty() { key.name().to_owned() } else { format!("{}{{{}}}", key.name(), labels.join(",")) };
        Arc::new(Figure { key, figures: Arc::clone(&self.figures) })
    }

    fn describe(&self, key: &KeyName) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }
}

impl Recorder for Heard {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&key);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&key);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&key);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure_of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure_of(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.figure_of(key))
    }
}
