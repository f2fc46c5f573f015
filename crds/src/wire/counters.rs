//! Counters: sums over the committed attempts of a job's tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What a task, a phase or a job has done. Only committed attempts count.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
            /// The user's own, by group and name.
            pub user: BTreeMap<String, BTreeMap<String, i64>>,
        }

        impl Counters {
            /// Adds another task's counters to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
                for (group, names) in &other.user {
                    for (name, n) in names {
                        self.count(group, name, *n);
                    }
                }
            }
        }
    };
}

counters! {
    /// Objects that the plan found.
    input_objects,
    /// Their bytes, as stored.
    input_bytes,
    /// Records given to the map function.
    map_input_records,
    /// Pairs it emitted.
    map_output_records,
    /// Pairs that went into the combiner.
    combine_input_records,
    /// Pairs that came out of it.
    combine_output_records,
    /// Bytes of intermediate data, as stored.
    shuffle_bytes,
    /// GET and HEAD requests to the object store for it, up to each task's commit, and the last task's.
    shuffle_reads,
    /// PUT, POST and LIST requests to the object store for it, with each task's commit.
    shuffle_writes,
    /// Keys given to the reduce function.
    reduce_input_groups,
    /// Pairs given to it.
    reduce_input_records,
    /// Pairs it emitted.
    reduce_output_records,
    /// Bytes of the output's parts, as stored.
    output_bytes,
    /// Bad records that were left out.
    skipped_records,
    /// Attempts that failed.
    failed_tasks,
}

impl Counters {
    /// Adds to a counter of the user's.
    pub fn count(&mut self, group: &str, name: &str, n: i64) {
        if !self.user.contains_key(group) {
            self.user.insert(group.to_owned(), BTreeMap::new());
        }
        if let Some(names) = self.user.get_mut(group) {
            match names.get_mut(name) {
                Some(sum) => *sum = sum.saturating_add(n),
                None => drop(names.insert(name.to_owned(), n)),
            }
        }
    }
}

/// What a step of a job has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct StepCounters {
    /// The step's name.
    pub name: String,
    /// Sums over the committed attempts of its tasks.
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub counters: Counters,
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn the_counters_of_two_tasks_add_up() {
        let mut sum = Counters { map_input_records: 1, ..Counters::default() };
        sum.count("g", "n", 2);
        let mut other = Counters { map_input_records: 40, ..Counters::default() };
        other.count("g", "n", -5);
        other.count("g", "m", 1);
        sum.add(&other);
        let json = serde_json::to_value(&sum).unwrap();
        assert_eq!(json["mapInputRecords"], 41);
        assert_eq!(json["user"], serde_json::json!({"g": {"m": 1, "n": -3}}));
    }
}
