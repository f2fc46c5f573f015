//! Who leads, decided from the lease as it was read, one's own identity and one's own clock. Pure.
//!
//! ```text
//!  holder   write sent ├──────── renew_deadline ────────┤ stops by itself
//!  lease           │ written
//!  others          └─> read ├──────────── lease_duration ─────────────┤ may take it
//! ```
//!
//! The holder counts from before it sent its write, the others from after they have read it, and what the holder counts
//! is shorter: it has stopped before another may begin, however long a request or a process is held up. Nobody looks at
//! the times in the lease, which are of another's clock; clocks only have to run at about the same pace.

use std::time::Duration;

/// A moment of the process's own monotonic clock: what has passed since a start of its own.
pub type Moment = Duration;

/// What the lease holds, of what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it; nobody when empty.
    pub holder: String,
    /// How long others wait for its holder's next write.
    pub lease_duration: Duration,
    /// Another one after each write.
    pub version: String,
}

/// The lease as this candidate knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The last one that was read or written. One that was deleted since had a holder who may not know of it yet.
    pub record: LeaseRecord,
    /// When it was first known to be so.
    pub since: Moment,
    /// Whether it was there at the last look.
    pub exists: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Another one leads: look again later.
    Wait,
    /// Nobody leads, and there is no lease: create it.
    Create,
    /// Nobody leads: write one's own name into the lease.
    Take,
    /// Lead on: write the lease anew.
    Renew,
    /// It can't be known any more that nobody else leads: stop at once.
    StepDown,
}

/// Decides for the candidate `me`, who leads until `leads_until` if it leads.
pub fn decide(known: Option<&Known>, me: &str, leads_until: Option<Moment>, now: Moment) -> Action {
    let exists = known.is_some_and(|known| known.exists);
    if let Some(until) = leads_until {
        let is_taken = known.is_some_and(|known| known.exists && known.record.holder != me);
        return match exists {
            _ if is_taken || now >= until => Action::StepDown,
            true => Action::Renew,
            false => Action::Create,
        };
    }
    let is_free = known.is_none_or(|Known { record, since, .. }| {
        // Its own name without leading: a write of its own that came through after it was given up. Of a lease that is
        // gone the holder may have been another one in the end.
        let is_unheld = record.holder.is_empty() || record.holder == me;
        (exists && is_unheld) || now >= since.saturating_add(record.lease_duration)
    });
    match (is_free, exists) {
        (false, _) => Action::Wait,
        (true, true) => Action::Take,
        (true, false) => Action::Create,
    }
}

/// What a candidate remembers from one decision to the next.
#[derive(Clone, Debug)]
pub struct Candidate {
    identity: String,
    renew_deadline: Duration,
    known: Option<Known>,
    leads_until: Option<Moment>,
}

impl Candidate {
    /// One that knows nothing yet. No other may ever have the same identity.
    pub fn new(identity: String, renew_deadline: Duration) -> Self {
        Self { identity, renew_deadline, known: None, leads_until: None }
    }

    /// What it knows of the lease.
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// Its name in the lease.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The lease was read; `now` is after the answer has come.
    pub fn read(&mut self, lease: Option<LeaseRecord>, now: Moment) {
        match (lease, &mut self.known) {
            // Its holder may have renewed it since the last look, and does not know that it is gone.
            (None, Some(known)) if known.exists => (known.exists, known.since) = (false, now),
            (None, _) => {}
            (Some(record), Some(known)) if known.record == record => known.exists = true,
            (Some(record), known) => *known = Some(Known { record, since: now, exists: true }),
        }
    }

    /// What is to be done now.
    pub fn decide(&self, now: Moment) -> Action {
        decide(self.known.as_ref(), &self.identity, self.leads_until, now)
    }

    /// The lease was written with its own name, in a request that was sent at `sent`.
    pub fn wrote(&mut self, record: LeaseRecord, sent: Moment, now: Moment) {
        self.known = Some(Known { record, since: now, exists: true });
        self.leads_until = Some(sent.saturating_add(self.renew_deadline));
    }

    /// Until when it leads, if it does.
    pub fn leads_until(&self) -> Option<Moment> {
        self.leads_until
    }

    /// Whether it leads, by its own reckoning.
    pub fn leads(&self, now: Moment) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// It leads no more.
    pub fn step_down(&mut self) {
        self.leads_until = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Action::{Create, Renew, StepDown, Take, Wait};
    use super::{Candidate, Known, LeaseRecord, Moment, decide};

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, version: &str) -> LeaseRecord {
        LeaseRecord { holder: holder.into(), lease_duration: at(15), version: version.into() }
    }

    fn known(holder: &str, since: u64, exists: bool) -> Known {
        Known { record: record(holder, "1"), since: at(since), exists }
    }

    #[test]
    fn a_standby_takes_a_lease_that_is_free_and_none_other() {
        assert_eq!(decide(None, "me", None, at(0)), Create);
        for (known, now, expected) in [
            (known("", 0, true), 0, Take),
            (known("me", 0, true), 0, Take),
            (known("other", 100, true), 100, Wait),
            (known("other", 100, true), 114, Wait),
            (known("other", 100, true), 115, Take),
            // It was deleted: its holder does not know of it before its next renewal.
            (known("other", 100, false), 114, Wait),
            (known("other", 100, false), 115, Create),
            (known("me", 100, false), 114, Wait),
            (known("", 100, false), 114, Wait),
            (known("", 100, false), 115, Create),
        ] {
            assert_eq!(decide(Some(&known), "me", None, at(now)), expected, "{known:?} at {now}");
        }
    }

    #[test]
    fn a_leader_renews_until_its_deadline_or_another_s_name() {
        for (known, now, expected) in [
            (known("me", 100, true), 109, Renew),
            (known("me", 100, true), 110, StepDown),
            (known("me", 100, false), 109, Create),
            (known("me", 100, false), 110, StepDown),
            (known("other", 105, true), 106, StepDown),
            (known("", 105, true), 106, StepDown),
        ] {
            assert_eq!(decide(Some(&known), "me", Some(at(110)), at(now)), expected, "{known:?} at {now}");
        }
    }

    #[test]
    fn the_leader_counts_from_before_its_write_and_stops_before_another_may_begin() {
        let mut leader = Candidate::new("leader".into(), at(10));
        let mut other = Candidate::new("other".into(), at(10));
        // The answer takes 4 s.
        leader.wrote(record("leader", "1"), at(100), at(104));
        other.read(Some(record("leader", "1")), at(101));
        assert!(leader.leads(at(109)) && !leader.leads(at(110)));
        assert_eq!((other.decide(at(115)), other.decide(at(116))), (Wait, Take));
    }

    #[test]
    fn each_change_of_the_lease_begins_the_wait_anew_and_an_unchanged_one_does_not() {
        let mut other = Candidate::new("other".into(), at(10));
        other.read(Some(record("leader", "1")), at(0));
        other.read(Some(record("leader", "1")), at(14));
        assert_eq!(other.decide(at(15)), Take);
        other.read(Some(record("leader", "2")), at(14));
        assert_eq!((other.decide(at(28)), other.decide(at(29))), (Wait, Take));
    }

    #[test]
    fn a_lease_that_is_gone_is_waited_for_as_if_it_had_just_been_renewed() {
        let mut other = Candidate::new("other".into(), at(10));
        other.read(Some(record("leader", "1")), at(0));
        other.read(None, at(14));
        other.read(None, at(20));
        assert_eq!((other.decide(at(28)), other.decide(at(29))), (Wait, Create));
    }

    #[test]
    fn who_has_stepped_down_leads_no_more() {
        let mut leader = Candidate::new("leader".into(), at(10));
        leader.wrote(record("leader", "1"), at(0), at(0));
        leader.step_down();
        assert!(!leader.leads(at(1)));
    }
}
