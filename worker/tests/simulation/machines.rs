//! The machine that actors run on: its time is the simulation's, its random numbers are the seed's.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mapreduce_worker::machine::Machine;

use crate::scheduler::{Simulation, Status};

/// One actor's.
pub struct Made {
    pub simulation: Arc<Simulation>,
    pub actor: usize,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made({})", self.actor)
    }
}

impl Machine for Made {
    fn now(&self) -> Duration {
        Duration::from_millis(self.simulation.lock().now)
    }

    fn sleep(&self, time: Duration) {
        let mut state = self.simulation.lock();
        if state.actors[self.actor].killed {
            return;
        }
        let until = state.now + 1 + time.as_millis() as u64;
        state.actors[self.actor].status = Status::Asleep(until);
        drop(state);
        drop(self.simulation.pause(self.actor));
    }

    fn number(&self) -> u128 {
        let names = &mut self.simulation.lock().names;
        u128::from(names.next()) << 64 | u128::from(names.next())
    }

    fn process(&self) -> u32 {
        self.actor as u32
    }

    fn is_alive(&self, process: u32) -> bool {
        let state = self.simulation.lock();
        let actor = state.actors.get(process as usize);
        actor.is_some_and(|actor| !actor.killed && actor.status != Status::Ended)
    }

    fn variable(&self, _name: &str) -> Option<OsString> {
        None
    }
}
