//! From the rules of a profile, by name, to verdicts, by number.
//!
//! Runs in: runtime.

use super::action::Answer;
use super::arch::{
    Abi, Arch, Call, FIRST_PRIVATE, Known, Multiplexed, Space, X32_BIT, multiplexed,
};
use super::condition::Condition;
use super::precedence::{Level, Refusal, Verdict};
use crate::spec::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SpecError};

/// What the system calls under one value of `seccomp_data.arch` answer.
#[derive(Debug)]
pub(super) struct Calls {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// Where no condition of a call holds.
    pub(super) default: Answer,
    /// For the numbers that are not in `verdicts`: first number and answer, from 0 on.
    pub(super) background: Vec<(u32, Answer)>,
    /// By number.
    pub(super) verdicts: Vec<(u32, Verdict)>,
}

/// More conditions than any program has room for, were they not shared between calls.
const MAX_CONDITIONS: usize = 1 << 16;

/// Resolves the names and lowers the rules, for the native ABI and those that the profile lists.
pub(super) fn resolve(
    profile: &LinuxSeccomp,
    native: Arch,
    warnings: &mut Vec<SpecError>,
) -> Result<Vec<Calls>, SpecError> {
    let uses = find_names(profile, warnings);
    let default = Answer::new(profile.default_action, profile.default_errno_ret);
    let is_listed = |abi| profile.architectures.iter().any(|listed| Abi::of(*listed) == Some(abi));
    let mut lowering = Lowering { profile, uses: &uses, default, conditions: 0 };
    let mut all = Vec::new();
    for (index, space) in native.spaces().iter().enumerate() {
        // The native one is always there, as in runc.
        if index == 0 || is_listed(space.abi) {
            all.push(lowering.space(space, space.x32.filter(|x32| is_listed(*x32)))?);
        }
    }
    Ok(all)
}

/// A name in a rule.
#[derive(Debug)]
struct Use {
    /// Index of the rule.
    rule: u32,
    /// Index of the name in it.
    name: u32,
    call: Call,
    /// Where else x86 has it.
    behind: Option<Multiplexed>,
}

fn find_names(profile: &LinuxSeccomp, warnings: &mut Vec<SpecError>) -> Vec<Use> {
    let mut uses = Vec::with_capacity(profile.syscalls.iter().map(|rule| rule.names.len()).sum());
    let mut near = 0;
    for (rule, syscall) in (0..).zip(&profile.syscalls) {
        for (index, name) in (0..).zip(&syscall.names) {
            match Known::find(name, &mut near) {
                Known::Here(call) => {
                    uses.push(Use { rule, name: index, call, behind: multiplexed(name) });
                }
                Known::Elsewhere => {}
                Known::Nowhere => warnings.push(SpecError::new(
                    format!("/linux/seccomp/syscalls/{rule}/names/{index}"),
                    format!("{name:?} is no system call that is known, and is ignored"),
                )),
            }
        }
    }
    uses
}

struct Lowering<'p> {
    profile: &'p LinuxSeccomp,
    uses: &'p [Use],
    default: Answer,
    /// How many there are so far.
    conditions: usize,
}

impl Lowering<'_> {
    fn space(&mut self, space: &Space, x32: Option<Abi>) -> Result<Calls, SpecError> {
        let mut verdicts = Vec::with_capacity(self.uses.len() * (1 + usize::from(x32.is_some())));
        self.abi(space.abi, &mut verdicts)?;
        if let Some(x32) = x32 {
            self.abi(x32, &mut verdicts)?;
        }
        let background = self.background(space, x32);
        Ok(Calls { audit: space.audit, default: self.default, background, verdicts })
    }

    /// Appends the verdicts of one ABI, by number.
    fn abi(&mut self, abi: Abi, verdicts: &mut Vec<(u32, Verdict)>) -> Result<(), SpecError> {
        let profile = self.profile;
        let rules = profile.syscalls.iter().enumerate();
        let rules = rules.map(|(index, rule)| Rule::new(index, rule, abi, self.default));
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        for (number, index) in by_number(&self.numbers(abi, &rules)) {
            let Some(used) = self.uses.get(index as usize) else { continue };
            let Some(rule) = rules.get(used.rule as usize) else { continue };
            let through = used.behind.filter(|behind| abi == Abi::X86 && behind.number() == number);
            let grown = match verdicts.last_mut().filter(|(last, _)| *last == number) {
                Some((_, verdict)) => rule.add_to(verdict, through),
                None => {
                    let (verdict, grown) =
                        rule.verdict(through).map_err(|why| self.refusal(why, used))?;
                    verdicts.push((number, verdict));
                    Ok(grown)
                }
            };
            self.conditions += grown.map_err(|why| self.refusal(why, used))?;
            if self.conditions > MAX_CONDITIONS {
                return Err(self.refusal(Refusal::TooMany, used));
            }
        }
        Ok(())
    }

    /// The index of each use with its number. Rules that answer the default are left out, as runc does; so they do not stand in the
    /// way of other rules for the same call.
    fn numbers(&self, abi: Abi, rules: &[Rule]) -> Vec<(u32, u32)> {
        let mut all = Vec::with_capacity(self.uses.len());
        for (index, used) in (0..).zip(self.uses) {
            if rules.get(used.rule as usize).is_none_or(|rule| rule.answer == self.default) {
                continue;
            }
            all.extend(abi.number(used.call).map(|number| (number, index)));
            if let (Abi::X86, Some(behind)) = (abi, used.behind) {
                all.push((behind.number(), index));
            }
        }
        all
    }

    /// What numbers answer that no rule names: the default; ENOSYS above the newest call that the profile names, so that libc
    /// falls back to older calls where the profile's author could not know the newer (runc's patchbpf); and where x86_64 shares
    /// its value with an x32 that is not listed, as in libseccomp, the thread is killed.
    fn background(&self, space: &Space, x32: Option<Abi>) -> Vec<(u32, Answer)> {
        let newest = self.newest(space.abi);
        let mut all = vec![(0, self.default)];
        all.extend(newest.map(|newest| (newest + 1, Answer::ENOSYS)));
        if let (Some(_), Some(private)) = (newest, self.newest_private(space.abi)) {
            all.extend([(FIRST_PRIVATE, self.default), (private + 1, Answer::ENOSYS)]);
        }
        if space.x32.is_none() {
            return all;
        }
        let newest_x32 = x32.and_then(|x32| self.newest(x32));
        let plain_x32 = if x32.is_some() { self.default } else { Answer::KILL_THREAD };
        let above = |newest: Option<u32>| newest.map_or(plain_x32, |_| Answer::ENOSYS);
        all.push((X32_BIT, plain_x32));
        all.extend(newest_x32.map(|newest| (newest + 1, Answer::ENOSYS)));
        // runc looks at the bit alone, libseccomp compares with it.
        all.push((X32_BIT << 1, above(newest)));
        all.push((X32_BIT << 1 | X32_BIT, above(newest_x32)));
        if x32.is_none() {
            // A tracer's number for "skip the call", which must not kill (seccomp(2)).
            all.push((u32::MAX, self.default));
        }
        all
    }

    /// The highest number that the profile names, in whatever rule; `None` where newer calls get the default action. runc does not
    /// count 0 either. The private calls of arm, far above all others, are not counted: with runc, naming `set_tls` ends
    /// the ENOSYS treatment on arm.
    fn newest(&self, abi: Abi) -> Option<u32> {
        // A tracer is expected to answer for calls that it does not know.
        let lets_pass = matches!(
            self.profile.default_action,
            SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace
        );
        let numbers = self.uses.iter().flat_map(|used| {
            // Naming a call names the one that x86 has it behind.
            let behind = used.behind.filter(|_| abi == Abi::X86);
            abi.number(used.call).into_iter().chain(behind.map(|through| through.number()))
        });
        let numbers = numbers.filter(|number| *number < FIRST_PRIVATE || abi == Abi::X32);
        numbers.max().filter(|newest| *newest > 0 && !lets_pass)
    }

    /// The highest of the private calls that the profile names; the numbers below it are treated as those below the newest.
    fn newest_private(&self, abi: Abi) -> Option<u32> {
        if abi != Abi::Arm {
            return None;
        }
        let numbers = self.uses.iter().filter_map(|used| abi.number(used.call));
        numbers.filter(|number| *number >= FIRST_PRIVATE).max()
    }

    fn refusal(&self, why: Refusal, used: &Use) -> SpecError {
        match why {
            Refusal::Contradiction => {
                let rule = self.profile.syscalls.get(used.rule as usize);
                let name = rule.and_then(|rule| rule.names.get(used.name as usize));
                SpecError::new(
                    format!("/linux/seccomp/syscalls/{}", used.rule),
                    format!(
                        "has another action than an earlier rule for the same arguments of {:?}",
                        name.map_or("", String::as_str)
                    ),
                )
            }
            Refusal::TooMany => too_long(),
        }
    }
}

/// Sorts by number, and leaves those with the same number in the order in which they are, which is the profile's: by counting, for
/// that is a tenth of the work of comparing.
fn by_number(uses: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let slot = |number: u32| {
        /// Private calls come behind all others; the bit of x32 all numbers of an ABI have, or none.
        const PRIVATE: u32 = 0x800;
        let low = number & (PRIVATE - 1);
        (if number & FIRST_PRIVATE == FIRST_PRIVATE { PRIVATE | low } else { low }) as usize
    };
    let last = uses.iter().map(|(number, _)| slot(*number)).max().unwrap_or_default();
    let mut places = vec![0_u32; last + 2];
    for (number, _) in uses {
        if let Some(count) = places.get_mut(slot(*number) + 1) {
            *count += 1;
        }
    }
    let mut before = 0;
    for place in &mut places {
        before += *place;
        *place = before;
    }
    let mut sorted = vec![(0, 0); uses.len()];
    for used in uses {
        let Some(place) = places.get_mut(slot(used.0)) else { continue };
        if let Some(to) = sorted.get_mut(*place as usize) {
            *to = *used;
        }
        *place += 1;
    }
    sorted
}

pub(super) fn too_long() -> SpecError {
    let limit = super::MAX_INSTRUCTIONS;
    SpecError::new(
        "/linux/seccomp",
        format!(
            "needs a program of more than {limit} instructions, which is all that the kernel takes"
        ),
    )
}

/// A rule in the width of an ABI.
struct Rule {
    answer: Answer,
    /// Each with its conditions, which must all hold, sorted by argument; the rule holds where one of them does.
    alternatives: Vec<Vec<Condition>>,
}

impl Rule {
    fn new(
        index: usize,
        rule: &LinuxSyscall,
        abi: Abi,
        default: Answer,
    ) -> Result<Self, SpecError> {
        let answer = Answer::new(rule.action, rule.errno_ret);
        if answer == default {
            return Ok(Self { answer, alternatives: Vec::new() });
        }
        let mut conditions = Vec::with_capacity(rule.args.len());
        for (place, argument) in rule.args.iter().enumerate() {
            conditions.push((index_of(argument, index, place)?, argument));
        }
        conditions.sort_by_key(|(argument, _)| *argument);
        let lower =
            |(argument, from): &(u8, &LinuxSeccompArg)| Condition::new(*argument, from, abi);
        let repeats = conditions.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
        let alternatives = if repeats {
            // runc: two conditions on one argument make every condition of the rule a rule of its own.
            conditions.iter().map(|condition| lower(condition).into_iter().collect()).collect()
        } else {
            vec![conditions.iter().filter_map(lower).collect()]
        };
        Ok(Self { answer, alternatives })
    }

    /// Of a call that has no other rule yet, and by how much it grew.
    fn verdict(&self, through: Option<Multiplexed>) -> Result<(Verdict, usize), Refusal> {
        if through.is_none()
            && matches!(self.alternatives.as_slice(), [always] if always.is_empty())
        {
            return Ok((Verdict::Answer(self.answer), 0));
        }
        let mut verdict = Verdict::Check(Level::default());
        let grown = self.add_to(&mut verdict, through)?;
        Ok((verdict, grown))
    }

    /// Returns by how much the verdict grew.
    fn add_to(
        &self,
        verdict: &mut Verdict,
        through: Option<Multiplexed>,
    ) -> Result<usize, Refusal> {
        let mut grown = 0;
        for conditions in &self.alternatives {
            let larger = match through {
                None => verdict.add(conditions, self.answer)?,
                // Behind the other call, argument 0 is which call it is, and the rest a pointer or shifted. libseccomp puts its own
                // condition in the place of the one on argument 0 and keeps the others.
                Some(through) => {
                    let mut all = vec![Condition::first_argument_is(through.call)];
                    all.extend(conditions.iter().filter(|condition| condition.argument != 0));
                    verdict.add(&all, self.answer)?
                }
            };
            grown += usize::from(larger);
        }
        Ok(grown)
    }
}

fn index_of(argument: &LinuxSeccompArg, rule: usize, place: usize) -> Result<u8, SpecError> {
    const LAST_ARGUMENT: u8 = 5;
    u8::try_from(argument.index).ok().filter(|index| *index <= LAST_ARGUMENT).ok_or_else(|| {
        SpecError::new(
            format!("/linux/seccomp/syscalls/{rule}/args/{place}/index"),
            format!("is {}, not from 0 to {LAST_ARGUMENT}", argument.index),
        )
    })
}
