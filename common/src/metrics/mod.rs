//! Metrics the way the packet path can afford them: each worker counts in plain words of its own, and a collector adds
//! them up when Prometheus asks. No atomic is shared between workers.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntGauge, Opts, Registry};

/// One value of a family, with its labels in the family's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<String>,
    pub value: f64,
}

/// Whether a family only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

type Read = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// A family whose values are read when they are asked for.
pub struct Family {
    desc: Desc,
    name: String,
    help: String,
    kind: Kind,
    labels: Vec<String>,
    read: Read,
}

impl Family {
    /// `labels` are closed sets: never a Call-ID, a user, an address from outside.
    pub fn new(
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[&str],
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Result<Family, prometheus::Error> {
        let labels: Vec<String> = labels.iter().map(|l| l.to_string()).collect();
        let constant = Default::default();
        let desc = Desc::new(name.to_string(), help.to_string(), labels.clone(), constant)?;
        Ok(Family { desc, name: name.to_string(), help: help.to_string(), kind, labels, read: Box::new(read) })
    }
}

impl Collector for Family {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics: Vec<Metric> = (self.read)().into_iter().map(|sample| self.metric(sample)).collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.clone());
        family.set_help(self.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric(metrics);
        vec![family]
    }
}

impl Family {
    fn metric(&self, sample: Sample) -> Metric {
        let pairs = self.labels.iter().zip(sample.labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value);
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

/// Registers a family that is read when asked for.
pub fn family(
    registry: &Registry,
    kind: Kind,
    name: &str,
    help: &str,
    labels: &[&str],
    read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(Family::new(kind, name, help, labels, read)?))
}

/// A registry with `siprack_build_info` in it.
pub fn registry(service: &str) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let info = Opts::new("siprack_build_info", "The version that runs; always 1")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("service", service);
    let gauge = IntGauge::with_opts(info)?;
    gauge.set(1);
    registry.register(Box::new(gauge))?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;

    #[test]
    fn families_are_read_when_asked_for() {
        let registry = registry("test").expect("a registry");
        let read = || vec![Sample { labels: vec!["not_sip".to_string()], value: 3.0 }];
        family(&registry, Kind::Counter, "siprack_dropped_total", "Dropped", &["reason"], read).expect("a family");
        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        assert!(text.contains("siprack_dropped_total{reason=\"not_sip\"} 3"), "{text}");
        assert!(text.contains("siprack_build_info{service=\"test\""), "{text}");
    }
}
