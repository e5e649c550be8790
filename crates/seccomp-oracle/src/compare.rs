//! One profile through both compilers, and both programs over every event.
//!
//! Runs in: any process.

use libcontainer::seccomp::{Arch, Filter, MAX_INSTRUCTIONS, compile};
use libcontainer::spec::LinuxSeccomp;

use crate::classes::{architectures, combinations, numbers, values};
use crate::machine::{Event, run};
use crate::peer::{Failure, Peer};
use crate::rules::{Holding, answer};

/// What a comparison did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Events that were run.
    pub events: usize,
    /// Those among them where rules with conditions disagree, and ours gives the answer of another of them than libseccomp.
    pub ambiguous: usize,
    /// Those where libseccomp's program does not do what its rules say, and ours does.
    pub faults: usize,
    /// Those for calls whose rules libseccomp was not given, since it might not come back.
    pub without_libseccomp: usize,
    /// Neither takes the profile.
    pub refused: bool,
    /// How long our program is, and libseccomp's.
    pub lengths: (usize, usize),
}

/// How many combinations of arguments are run for a number.
const COMBINATIONS: u128 = 3000;

/// Compares; an error says where the verdicts differ.
///
/// # Errors
/// In words: the event and both answers, or which compiler refused the profile and why.
pub fn compare(profile: &LinuxSeccomp, native: Arch) -> Result<Seen, String> {
    let ours = compile(profile, native);
    let theirs = Peer::new(profile, native);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (_, Err(Failure::Other(error))) => return Err(error.to_string()),
        (_, Err(Failure::Refused(_))) => return Ok(Seen { refused: true, ..Seen::default() }),
        (Err(_), Ok(theirs)) if theirs.set_aside() > 0 => {
            return Ok(Seen { refused: true, ..Seen::default() });
        }
        (Err(error), Ok(_)) => return Err(format!("only ours refuses the profile: {error}")),
    };
    if ours.instructions.len() > MAX_INSTRUCTIONS {
        return Err(format!("{} instructions", ours.instructions.len()));
    }
    let mut seen = Seen { lengths: (ours.instructions.len(), theirs.len()), ..Seen::default() };
    let values = [0, 1, 2, 3, 4, 5].map(|argument| values(profile, argument));
    for arch in architectures(native) {
        for number in numbers() {
            let pair = Pair { profile, native, ours: &ours, theirs: &theirs };
            pair.compare_number(arch, number, &values, &mut seen)?;
        }
    }
    Ok(seen)
}

struct Pair<'p> {
    profile: &'p LinuxSeccomp,
    native: Arch,
    ours: &'p Filter,
    theirs: &'p Peer,
}

impl Pair<'_> {
    /// One combination is enough where neither program looks at arguments.
    fn compare_number(
        &self,
        arch: u32,
        number: u32,
        values: &[Vec<u64>; 6],
        seen: &mut Seen,
    ) -> Result<(), String> {
        let event = Event { arch, number, arguments: [0; 6] };
        if !self.compare_event(&event, seen)? {
            return Ok(());
        }
        for arguments in combinations(values, COMBINATIONS) {
            self.compare_event(&Event { arguments, ..event }, seen)?;
        }
        Ok(())
    }

    /// Whether one of the programs looked at arguments.
    fn compare_event(&self, event: &Event, seen: &mut Seen) -> Result<bool, String> {
        let ours = run(&self.ours.instructions, event)?;
        seen.events += 1;
        if self.theirs.is_set_aside(event.arch, event.number) {
            seen.without_libseccomp += 1;
            self.judge(event, ours.answer)?;
            return Ok(ours.read_arguments);
        }
        let theirs = self.theirs.run(event)?;
        if ours.answer != theirs.answer {
            self.explain(event, ours.answer, theirs.answer, seen)?;
        }
        Ok(ours.read_arguments || theirs.read_arguments)
    }

    /// By the rules alone.
    fn judge(&self, event: &Event, ours: u32) -> Result<(), String> {
        let holding = Holding::of(self.profile, self.native, event);
        let default = answer(self.profile.default_action, self.profile.default_errno_ret);
        if holding.allows(ours, default) {
            Ok(())
        } else {
            Err(format!("{event:x?}: ours {ours:#x}; {holding:x?}"))
        }
    }

    /// Counts a difference for which libseccomp is the reason.
    fn explain(
        &self,
        event: &Event,
        ours: u32,
        theirs: u32,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let holding = Holding::of(self.profile, self.native, event);
        let default = answer(self.profile.default_action, self.profile.default_errno_ret);
        let is_right = |answer| holding.allows(answer, default);
        if holding.disagrees() && is_right(ours) && is_right(theirs) {
            seen.ambiguous += 1;
        } else if is_right(ours) && !is_right(theirs) && holding.may_confuse_libseccomp() {
            seen.faults += 1;
        } else {
            return Err(format!(
                "{event:x?}: ours {ours:#x}, libseccomp and runc {theirs:#x}; {holding:x?}"
            ));
        }
        Ok(())
    }
}
