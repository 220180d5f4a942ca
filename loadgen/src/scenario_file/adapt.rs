//! A file's scenario for another broker or machine: in another version of MQTT, at other rates.

use std::time::Duration;

use ringmq::mqtt::Version;

use super::ScenarioFile;
use crate::assertions::Assertions;
use crate::plan::{Load, MessageProperties, Step};

impl ScenarioFile {
    /// All clients speak this version; returns what only MQTT 5 has and is left out therefore.
    pub fn speak(&mut self, version: Version) -> Vec<&'static str> {
        self.connection.version = version;
        let mut left_out = Vec::new();
        for group in &mut self.groups {
            group.versions.clear();
            if version.is_v5() {
                continue;
            }
            if group.session.expiry_interval_s.take().is_some() {
                left_out.push("session_expiry_s");
            }
            let Some(publishing) = &mut group.publishing else {
                continue;
            };
            if std::mem::take(&mut publishing.topic_alias) {
                left_out.push("topic_alias");
            }
            let MessageProperties {
                message_expiry_interval_s,
                content_type,
                user,
            } = std::mem::take(&mut publishing.properties);
            for (name, was_there) in [
                ("message_expiry_s", message_expiry_interval_s.is_some()),
                ("content_type", content_type.is_some()),
                ("user_properties", !user.is_empty()),
            ] {
                left_out.extend(was_there.then_some(name));
            }
        }
        left_out.sort_unstable();
        left_out.dedup();
        left_out
    }

    /// Schedules at so many times their rates, pauses shorter by as much, and the rates that must be reached.
    pub fn scale(&mut self, factor: f64) {
        let pause = |time: Duration| time.div_f64(factor);
        for step in &mut self.steps {
            let Step::Load(step) = step else { continue };
            for (_, load) in &mut step.groups {
                *load = match *load {
                    Load::Open {
                        from_per_s,
                        to_per_s,
                        arrivals,
                    } => Load::Open {
                        from_per_s: from_per_s * factor,
                        to_per_s: to_per_s * factor,
                        arrivals,
                    },
                    Load::Think { least, most } => Load::Think {
                        least: pause(least),
                        most: pause(most),
                    },
                    other => other,
                };
            }
        }
        let lower = |bounds: &mut Assertions| {
            bounds.rate_min = bounds.rate_min.map(|rate| rate * factor);
        };
        lower(&mut self.assertions);
        let stages = self.stage_assertions.iter_mut();
        stages.for_each(|own| lower(&mut own.bounds));
    }
}
