//! Device rules as an eBPF program for the container's cgroup (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The kernel runs the program for every open and mknod of a device with the type, the numbers and the access that is
//! wanted, and takes 0 for no. Of the rules the last that matches decides, for each letter of the access by itself:
//! an open for reading and writing is allowed when reading is and writing is. Without any rule all is denied. So the
//! program goes from the last rule to the first; what an allowing rule grants is struck from what is wanted until
//! nothing is left, and a denying rule that holds any of what is left ends it. Rules in a row that grant everything are one
//! search, by type, major and minor number: the shorter the program, the sooner the kernel's verifier is through with it.
//!
//! As runc does, every container may make any node (`m`), and use the default devices, ptys and /dev/net/tun: these
//! rules come after the user's. (runc first lowers the rules to those of cgroup v1, which refuses holes in wildcards,
//! reads every rule of type `a` as "everything", and lets an open through that a deny rule holds half of; here they
//! mean what they say.)
//!
//! Runs in: any process.

use crate::spec::{DeviceRuleType, LinuxDeviceCgroup, SpecError};

const POINTER: &str = "/linux/resources/devices";

/// `BPF_DEVCG_ACC_*` of `<linux/bpf.h>`.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// `BPF_DEVCG_DEV_*`.
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// The longest program that the kernel loads (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MOST_INSTRUCTIONS: usize = 1_000_000;

/// A rule; `None` stands for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

const fn default_device(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Some(CHAR), major: Some(major), minor, access: ALL }
}

/// What runc allows to every container, after the user's rules.
const DEFAULT_RULES: [Rule; 10] = [
    Rule { allow: true, kind: None, major: None, minor: None, access: MKNOD },
    default_device(1, Some(3)),    // /dev/null
    default_device(1, Some(8)),    // /dev/random
    default_device(1, Some(7)),    // /dev/full
    default_device(5, Some(0)),    // /dev/tty
    default_device(1, Some(5)),    // /dev/zero
    default_device(1, Some(9)),    // /dev/urandom
    default_device(136, None),     // /dev/pts/*
    default_device(5, Some(2)),    // /dev/ptmx
    default_device(10, Some(200)), // /dev/net/tun
];

/// The program for `rules` and the default ones; `None` when it would allow everything.
pub(crate) fn program(rules: &[LinuxDeviceCgroup]) -> Result<Option<Vec<u64>>, SpecError> {
    let mut all = Vec::with_capacity(rules.len() + DEFAULT_RULES.len());
    for (index, rule) in rules.iter().enumerate() {
        all.push(Rule::of(index, rule)?);
    }
    all.extend(DEFAULT_RULES);
    let program = compile(&all);
    match program {
        Some(program) if program.len() > MOST_INSTRUCTIONS => {
            Err(SpecError::new(POINTER, "has more rules than the kernel can take"))
        }
        program => Ok(program),
    }
}

impl Rule {
    fn of(index: usize, rule: &LinuxDeviceCgroup) -> Result<Self, SpecError> {
        let problem =
            |field: &str, text: &str| SpecError::new(format!("{POINTER}/{index}/{field}"), text);
        let number = |field: &str, number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| problem(field, "is not a device number")),
        };
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                // Of no meaning; runc drops it, and its own tests write it.
                'a' => 0,
                _ => return Err(problem("access", "has a letter that is none of r, w and m")),
            };
        }
        Ok(Self {
            allow: rule.allow,
            kind: match rule.device_type {
                None | Some(DeviceRuleType::All) => None,
                Some(DeviceRuleType::Block) => Some(BLOCK),
                Some(DeviceRuleType::Char) => Some(CHAR),
            },
            major: number("major", rule.major)?,
            minor: number("minor", rule.minor)?,
            access: if access == 0 { ALL } else { access },
        })
    }

    /// Whether nothing is left to be asked where it matches.
    fn grants_all(&self) -> bool {
        self.allow && self.access == ALL
    }

    /// Whether it decides everything that is asked.
    fn is_final(&self) -> bool {
        let has_condition = self.kind.is_some() || self.major.is_some() || self.minor.is_some();
        !has_condition && self.access == ALL
    }
}

/// The program, or `None` when nothing is ever denied.
fn compile(rules: &[Rule]) -> Option<Vec<u64>> {
    // What comes before a rule that decides everything has no say.
    let deciding = rules.iter().rposition(Rule::is_final);
    let allows_rest = deciding.and_then(|at| rules.get(at)).is_some_and(|rule| rule.allow);
    let rules = rules.get(deciding.map_or(0, |at| at + 1)..).unwrap_or_default();
    if allows_rest && rules.iter().all(|rule| rule.allow) {
        return None;
    }
    let mut program = Vec::with_capacity(8 + rules.len() * 8);
    program.extend(PROLOGUE);
    let runs = rules.chunk_by(|one, other| one.grants_all() && other.grants_all());
    for run in runs.rev() {
        match run {
            [rule] => append(&mut program, rule),
            _ => run.chunks(LONGEST_SEARCH).for_each(|part| append_search(&mut program, part)),
        }
    }
    program.extend([set(R0, u32::from(allows_rest)), EXIT]);
    Some(program)
}

const R0: u8 = 0;
/// `struct bpf_cgroup_dev_ctx`: access and type, major, minor.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// What is asked for and not granted yet.
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// Operations of `<linux/bpf.h>`, on the lower 32 bits of the registers.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
const JUMP: u8 = 0x05;
const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

const PROLOGUE: [u64; 6] = [
    instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
    instruction(MOVE_REGISTER, WANTED, KIND, 0, 0),
    instruction(AND, KIND, 0, 0, 0xffff),
    instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
    instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
    instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
];

/// `struct bpf_insn` of a little-endian machine: code:8, destination:4, source:4, offset:16, immediate:32.
const fn instruction(code: u8, destination: u8, source: u8, offset: u16, immediate: u32) -> u64 {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset as u64) << 16
        | (immediate as u64) << 32
}

const fn set(register: u8, value: u32) -> u64 {
    instruction(MOVE, register, 0, 0, value)
}

/// So many rules of a search make jumps that fit their 16 bits.
const LONGEST_SEARCH: usize = 4096;

/// The instructions of rules of which each grants everything, so that their order does not matter.
fn append_search(program: &mut Vec<u64>, rules: &[Rule]) {
    let mut rules = rules.to_vec();
    rules.sort_unstable_by_key(|rule| (rule.kind, rule.major, rule.minor));
    let mut search = Vec::with_capacity(rules.len() * 3 + 3);
    for of_kind in rules.chunk_by(|one, other| one.kind == other.kind) {
        let mut numbers = Vec::new();
        for of_major in of_kind.chunk_by(|one, other| one.major == other.major) {
            let minors = of_major.iter().map(|rule| found_if(MINOR, rule.minor)).collect();
            append_if(&mut numbers, MAJOR, of_major.first().and_then(|rule| rule.major), minors);
        }
        append_if(&mut search, KIND, of_kind.first().and_then(|rule| rule.kind), numbers);
    }
    // Behind the search, what is not found jumps over the answer.
    search.push(instruction(JUMP, 0, 0, 2, 0));
    let end = search.len();
    for (at, one) in search.iter_mut().enumerate() {
        if *one & FOUND_MASK == FOUND_OFFSET {
            let offset = u64::try_from(end - at - 1).unwrap_or_default();
            *one = *one & !FOUND_MASK | offset << 16;
        }
    }
    program.extend(search);
    program.extend([set(R0, 1), EXIT]);
}

/// Stands for the distance to the answer until that is known: no jump of a search is as long.
const FOUND_OFFSET: u64 = 0x7fff << 16;
const FOUND_MASK: u64 = 0xffff << 16;

/// A jump to the answer, where the register has the value.
fn found_if(register: u8, value: Option<u32>) -> u64 {
    match value {
        Some(value) => instruction(JUMP_IF_EQUAL, register, 0, 0x7fff, value),
        None => instruction(JUMP, 0, 0, 0x7fff, 0),
    }
}

/// `then`, where the register has the value; as one jump where that is all there is.
fn append_if(program: &mut Vec<u64>, register: u8, value: Option<u32>, then: Vec<u64>) {
    let always = found_if(register, None);
    match value {
        Some(_) if then.first() == Some(&always) => program.push(found_if(register, value)),
        Some(value) => {
            let behind = u16::try_from(then.len()).unwrap_or_default();
            program.push(instruction(JUMP_IF_NOT_EQUAL, register, 0, behind, value));
            program.extend(then);
        }
        None => program.extend(then),
    }
}

/// The instructions of one rule: conditions that jump behind it, then what it says.
fn append(program: &mut Vec<u64>, rule: &Rule) {
    let says: &[u64] = &if rule.allow {
        // What it grants is wanted no more; with nothing left the answer is yes.
        [
            instruction(AND, WANTED, 0, 0, ALL & !rule.access),
            instruction(JUMP_IF_NOT_EQUAL, WANTED, 0, 2, 0),
            set(R0, 1),
            EXIT,
        ]
    } else {
        // It holds something of what is wanted: no.
        [
            instruction(MOVE_REGISTER, SCRATCH, WANTED, 0, 0),
            instruction(AND, SCRATCH, 0, 0, rule.access),
            instruction(JUMP_IF_EQUAL, SCRATCH, 0, 2, 0),
            set(R0, 0),
        ]
    };
    let is_denying = !rule.allow;
    let length = says.len() + usize::from(is_denying);
    let conditions = [(KIND, rule.kind), (MAJOR, rule.major), (MINOR, rule.minor)];
    let conditions =
        conditions.into_iter().filter_map(|(register, value)| Some((register, value?)));
    let count = conditions.clone().count();
    for (index, (register, value)) in conditions.enumerate() {
        // At most two more conditions and five instructions are jumped over.
        let behind = u16::try_from(count - index - 1 + length).unwrap_or_default();
        program.push(instruction(JUMP_IF_NOT_EQUAL, register, 0, behind, value));
    }
    program.extend_from_slice(says);
    if is_denying {
        program.push(EXIT);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ALL, BLOCK, CHAR, MKNOD, READ, Rule, WRITE, compile, program};
    use crate::spec::{DeviceRuleType, LinuxDeviceCgroup};

    /// What the program answers, by the rules of the kernel's instruction set.
    fn run(program: &[u64], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0;
        loop {
            let [code, registers_of, low, high, immediate @ ..] = program[at].to_le_bytes();
            let (to, from) = (usize::from(registers_of & 0xf), usize::from(registers_of >> 4));
            let (offset, immediate) =
                (u16::from_le_bytes([low, high]), u32::from_le_bytes(immediate));
            at += 1;
            let value = registers[to];
            match code {
                0x61 => registers[to] = context[usize::from(offset) / 4],
                0xb4 => registers[to] = immediate,
                0xbc => registers[to] = registers[from],
                0x54 => registers[to] = value & immediate,
                0x74 => registers[to] = value >> immediate,
                0x16 if value == immediate => at += usize::from(offset),
                0x56 if value != immediate => at += usize::from(offset),
                0x16 | 0x56 => {}
                0x05 => at += usize::from(offset),
                0x95 => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    /// The meaning, said another way: each letter by itself, the last rule that matches and holds it.
    fn expected(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        [MKNOD, READ, WRITE].iter().filter(|letter| access & **letter != 0).all(|letter| {
            let matches = |rule: &&Rule| {
                rule.kind.is_none_or(|wanted| wanted == kind)
                    && rule.major.is_none_or(|wanted| wanted == major)
                    && rule.minor.is_none_or(|wanted| wanted == minor)
                    && rule.access & letter != 0
            };
            rules.iter().rev().find(matches).is_some_and(|rule| rule.allow)
        })
    }

    fn answer(rules: &[Rule], kind: u32, major: u32, minor: u32, access: u32) -> bool {
        compile(rules).is_none_or(|program| run(&program, kind, major, minor, access))
    }

    /// The verifier refuses a program with an instruction that nothing leads to (`check_cfg`).
    fn is_all_reached(program: &[u64]) -> bool {
        let mut reached = vec![false; program.len()];
        let mut todo = vec![0];
        while let Some(at) = todo.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let [code, _, low, high, ..] = program[at].to_le_bytes();
            let jumped = at + 1 + usize::from(u16::from_le_bytes([low, high]));
            match code {
                0x05 => todo.push(jumped),
                0x16 | 0x56 => todo.extend([at + 1, jumped]),
                0x95 => {}
                _ => todo.push(at + 1),
            }
        }
        reached.iter().all(|is_reached| *is_reached)
    }

    fn rule(allow: bool, device_type: Option<DeviceRuleType>, access: &str) -> LinuxDeviceCgroup {
        LinuxDeviceCgroup { allow, device_type, access: access.into(), ..Default::default() }
    }

    #[test]
    fn program_without_rules_allows_the_default_devices_only() {
        let program = program(&[]).unwrap().unwrap();
        assert!(run(&program, CHAR, 1, 3, READ | WRITE));
        assert!(run(&program, CHAR, 136, 7, READ | WRITE));
        assert!(run(&program, BLOCK, 8, 0, MKNOD));
        assert!(!run(&program, BLOCK, 8, 0, READ));
        assert!(!run(&program, CHAR, 1, 1, READ), "/dev/mem");
        assert!(!run(&program, BLOCK, 1, 3, READ), "a block device is not /dev/null");
        assert!(!run(&program, CHAR, 10, 229, READ | MKNOD), "one letter of two is denied");
    }

    #[test]
    fn program_of_the_default_devices_is_short() {
        let program = program(&[rule(false, None, "rwm")]).unwrap().unwrap();
        assert!(program.len() <= 30, "{} instructions", program.len());
        let many = |minor: u32| Rule {
            allow: true,
            kind: Some(CHAR),
            major: Some(7),
            minor: Some(2 * minor),
            access: ALL,
        };
        let program = compile(&(0..10_000).map(many).collect::<Vec<_>>()).unwrap();
        for (minor, expected) in [(0, true), (1, false), (8190, true), (8192, true), (19_998, true)]
        {
            assert_eq!(run(&program, CHAR, 7, minor, READ), expected, "{minor}");
        }
        assert!(is_all_reached(&program));
    }

    #[test]
    fn program_of_a_privileged_container_is_none() {
        assert_eq!(program(&[rule(true, None, "rwm")]).unwrap(), None);
    }

    #[test]
    fn program_hole_in_a_wildcard_is_denied() {
        let hole = LinuxDeviceCgroup {
            major: Some(8),
            minor: Some(0),
            ..rule(false, Some(DeviceRuleType::Block), "w")
        };
        let program = program(&[rule(true, None, "rwm"), hole]).unwrap().unwrap();
        assert!(run(&program, BLOCK, 8, 0, READ));
        assert!(!run(&program, BLOCK, 8, 0, WRITE));
        assert!(!run(&program, BLOCK, 8, 0, READ | WRITE));
        assert!(run(&program, BLOCK, 8, 1, READ | WRITE));
        assert!(run(&program, CHAR, 8, 0, WRITE));
    }

    #[test]
    fn program_letters_of_two_rules_add_up() {
        let one = |access| LinuxDeviceCgroup {
            major: Some(10),
            minor: Some(229),
            ..rule(true, Some(DeviceRuleType::Char), access)
        };
        let program = program(&[rule(false, None, "rwm"), one("r"), one("w")]).unwrap().unwrap();
        assert!(run(&program, CHAR, 10, 229, READ | WRITE));
    }

    #[test]
    fn program_wildcard_numbers_and_the_highest_match() {
        let highest = LinuxDeviceCgroup {
            major: Some(i64::from(u32::MAX)),
            minor: Some(-1),
            ..rule(true, Some(DeviceRuleType::Char), "r")
        };
        let program = program(&[highest]).unwrap().unwrap();
        assert!(run(&program, CHAR, u32::MAX, 5, READ));
        assert!(!run(&program, CHAR, u32::MAX - 1, 5, READ));
    }

    #[test]
    fn program_of_wrong_rules_is_an_error_with_a_pointer() {
        let letters = program(&[rule(true, None, "rx")]).unwrap_err();
        assert_eq!(letters.pointer, "/linux/resources/devices/0/access");
        let number = LinuxDeviceCgroup { minor: Some(1 << 32), ..rule(true, None, "r") };
        let number = program(&[rule(false, None, "r"), number]).unwrap_err();
        assert_eq!(number.pointer, "/linux/resources/devices/1/minor");
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let number = || prop_oneof![Just(None), (0u32..3).prop_map(Some), Just(Some(u32::MAX))];
        let kind = prop_oneof![Just(None), Just(Some(BLOCK)), Just(Some(CHAR))];
        let access = prop_oneof![Just(ALL), 1..=ALL];
        let rule = (prop::bool::weighted(0.7), kind, number(), number(), access);
        let rule = rule.prop_map(|(allow, kind, major, minor, access)| Rule {
            allow,
            kind,
            major,
            minor,
            access,
        });
        prop::collection::vec(rule, 0..12)
    }

    proptest! {
        #[test]
        fn compile_any_rules_means_the_last_match_for_each_letter(rules in rules()) {
            prop_assert!(compile(&rules).is_none_or(|program| is_all_reached(&program)));
            let numbers = [0, 1, 2, 3, u32::MAX];
            for kind in [BLOCK, CHAR] {
                for (major, minor) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
                    for access in 1..=ALL {
                        let query = (kind, major, minor, access);
                        prop_assert_eq!(
                            answer(&rules, kind, major, minor, access),
                            expected(&rules, kind, major, minor, access),
                            "{:?}", query
                        );
                    }
                }
            }
        }
    }
}
