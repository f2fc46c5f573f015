//! Jobs of one script, in any language.

use mapreduce_worker::error::Error;
use serde_json::{Value, json};

use crate::common::Place;

/// A language, by its name in a manifest.
pub(crate) struct Language(pub(crate) &'static str);

impl Language {
    pub(crate) fn script(&self, source: &str) -> Value {
        json!({"function": {"script": {"language": self.0, "source": source}}})
    }

    /// A map-only job.
    pub(crate) fn map_job(&self, source: &str) -> Value {
        json!({"map": self.script(source), "retries": 0, "taskTimeoutSeconds": 60})
    }

    /// What a map-only job with this script writes.
    pub(crate) fn mapped(&self, text: impl AsRef<[u8]>, source: &str) -> String {
        let place = place(text);
        place.run(self.map_job(source)).unwrap();
        place.output_text()
    }

    /// How a map-only job with this script fails.
    pub(crate) fn failure(&self, text: impl AsRef<[u8]>, source: &str) -> Error {
        let place = place(text);
        let error = place.run(self.map_job(source)).unwrap_err();
        assert!(place.names("out").is_empty() && place.names("scratch").is_empty(), "something is left");
        error
    }

    /// What a reduce script makes of `key value` lines.
    pub(crate) fn reduced(&self, text: &str, source: &str) -> String {
        let place = place(text);
        let mut fields = json!({
            "input": {"format": {"type": "KeyValue", "keyValue": {"separator": " "}}},
            "reduce": self.script(source),
            "retries": 0,
        });
        fields["reduce"]["tasks"] = json!(1);
        place.run(fields).unwrap();
        place.output_text()
    }
}

/// Input of one object.
pub(crate) fn place(text: impl AsRef<[u8]>) -> Place {
    let place = Place::new();
    place.write("in/a", text);
    place
}
