//! What goes wrong: drawn for each request, as often as the seed says.

use crate::random::Random;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is refused: nothing is done.
    Refused,
    /// It is done, and its answer lost.
    AnswerLost,
    /// It fails, and is done later all the same.
    Late,
    /// A conditional create is answered with 409, try again, which the library reports as if there were an object.
    Conflict,
    /// A conditional create is done, its answer lost, and the library's own second try answered with 412.
    OwnObject,
    /// Of several keys some are removed.
    Partly,
    /// A stream ends before its end.
    ShortRead,
    /// Its process is killed before it is sent.
    KilledBefore,
    /// Its process is killed when it is done.
    KilledAfter,
    /// Its process is killed, and it is done later.
    KilledLate,
    /// The process can't be seen for some time, and then goes on.
    Stalled,
    /// The process is asked to stop, and killed some time later if it hasn't.
    Terminated,
}

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::Refused,
        Self::AnswerLost,
        Self::Late,
        Self::Conflict,
        Self::OwnObject,
        Self::Partly,
        Self::ShortRead,
        Self::KilledBefore,
        Self::KilledAfter,
        Self::KilledLate,
        Self::Stalled,
        Self::Terminated,
    ];

    pub fn is_possible(self, request: Request) -> bool {
        match self {
            Self::AnswerLost | Self::KilledAfter => request != Request::Read,
            // There is no protection against a removal that comes late: no store has a conditional one.
            Self::Late | Self::KilledLate => matches!(request, Request::Create | Request::Write),
            Self::Conflict | Self::OwnObject => request == Request::Create,
            Self::Partly => request == Request::Delete,
            Self::ShortRead => request == Request::Read,
            Self::Refused | Self::KilledBefore | Self::Stalled | Self::Terminated => true,
        }
    }

    pub fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter | Self::KilledLate)
    }
}

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Read,
    Create,
    Delete,
    Write,
}

/// What goes wrong with one seed, and how often.
#[derive(Clone, Debug)]
pub struct Faults {
    kinds: Vec<Fault>,
    /// One request in so many.
    one_in: usize,
    /// So many in all.
    left: usize,
    /// How often each has happened.
    pub happened: [u32; Fault::ALL.len()],
}

impl Faults {
    pub fn draw(random: &mut Random) -> Self {
        let mut kinds: Vec<Fault> = Fault::ALL.into_iter().filter(|_| random.chance(1, 3)).collect();
        if kinds.is_empty() {
            kinds.push(random.pick(&Fault::ALL));
        }
        let one_in = random.pick(&[8, 20, 50, 100]);
        let left = if random.chance(1, 6) { 0 } else { 1 + random.below(6) };
        Self { kinds, one_in, left, happened: [0; Fault::ALL.len()] }
    }

    /// What happens to a request.
    pub fn next(&mut self, request: Request, random: &mut Random) -> Option<Fault> {
        if self.left == 0 || !random.chance(1, self.one_in) {
            return None;
        }
        let fault = random.pick(&self.kinds);
        if !fault.is_possible(request) {
            return None;
        }
        self.left -= 1;
        self.happened[fault as usize] += 1;
        Some(fault)
    }

    /// From now on all goes well.
    pub fn end(&mut self) {
        self.left = 0;
    }

    pub fn any(&self) -> bool {
        self.happened.iter().any(|&n| n > 0)
    }
}
