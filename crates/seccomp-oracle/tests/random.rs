//! Random profiles over every event: few calls and values, so that rules meet.

use libcontainer::seccomp::Arch;
use libcontainer::spec::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction, SeccompArch, SeccompOperator,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestCaseError;
use seccomp_oracle::compare::compare;

/// Calls of all ABIs and of few, old and new, some with private numbers, some behind socketcall and ipc, and these two.
const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "openat",
    "close",
    "mmap",
    "mmap2",
    "ioctl",
    "clone",
    "clone3",
    "personality",
    "socket",
    "bind",
    "accept",
    "accept4",
    "send",
    "sendmsg",
    "recvmmsg",
    "socketcall",
    "ipc",
    "semop",
    "semtimedop",
    "shmat",
    "msgctl",
    "time",
    "arch_prctl",
    "set_tls",
    "cacheflush",
    "arm_fadvise64_64",
    "sync_file_range2",
    "riscv_flush_icache",
    "futex_time64",
    "s390_sthyi",
    "execveat",
    "faccessat2",
    "close_range",
    "openat2",
    "no_such_call",
];

fn action() -> impl Strategy<Value = (SeccompAction, Option<u32>)> {
    let errno = option::of(select(vec![1_u32, 22, 38]));
    (select(SeccompAction::ALL), errno).prop_map(|(action, errno)| match action {
        SeccompAction::Errno | SeccompAction::Trace => (action, errno),
        _ => (action, None),
    })
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..6,
        2 => select(vec![1 << 32, (1 << 32) | 3, 2 << 32, u64::MAX, 0xffff_ffff, 0x7e02_0000, 1 << 31]),
        1 => any::<u64>(),
    ]
}

fn condition(operators: &'static [SeccompOperator]) -> impl Strategy<Value = LinuxSeccompArg> {
    let mask = prop_oneof![
        Just(u64::MAX),
        Just(0xff),
        Just(0x7e02_0000),
        Just(0),
        Just(0xff << 32),
        any::<u64>()
    ];
    (prop_oneof![3 => 0_u32..2, 1 => 2_u32..6], value(), mask, select(operators)).prop_map(
        |(index, value, mask, op)| match op {
            SeccompOperator::MaskedEqual => {
                LinuxSeccompArg { index, value: mask, value_two: value, op }
            }
            _ => LinuxSeccompArg { index, value, value_two: 0, op },
        },
    )
}

fn rule(operators: &'static [SeccompOperator]) -> impl Strategy<Value = LinuxSyscall> {
    let names = vec(select(NAMES).prop_map(str::to_owned), 1..5);
    let args =
        prop_oneof![2 => vec(condition(operators), 0..1), 3 => vec(condition(operators), 1..4)];
    (names, action(), args).prop_map(|(names, (action, errno_ret), args)| LinuxSyscall {
        names,
        action,
        errno_ret,
        args,
    })
}

fn profile(operators: &'static [SeccompOperator]) -> impl Strategy<Value = LinuxSeccomp> {
    let architectures = vec![
        SeccompArch::X86_64,
        SeccompArch::X86,
        SeccompArch::X32,
        SeccompArch::Aarch64,
        SeccompArch::Arm,
        SeccompArch::Riscv64,
    ];
    let default = action().prop_filter("cannot be", |(action, _)| *action != SeccompAction::Notify);
    (default, subsequence(architectures, 0..=6), vec(rule(operators), 0..12)).prop_map(
        |((default_action, default_errno_ret), architectures, syscalls)| LinuxSeccomp {
            default_action,
            default_errno_ret,
            architectures,
            flags: None,
            listener_path: String::new(),
            listener_metadata: String::new(),
            syscalls,
        },
    )
}

fn native() -> impl Strategy<Value = Arch> {
    prop_oneof![3 => Just(Arch::X86_64), 2 => Just(Arch::Aarch64), 1 => Just(Arch::Riscv64)]
}

fn same(profile: &LinuxSeccomp, native: Arch) -> Result<usize, TestCaseError> {
    let seen = compare(profile, native).map_err(TestCaseError::fail)?;
    Ok(seen.ambiguous)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_profiles_give_the_verdicts_of_runc(profile in profile(SeccompOperator::ALL), native in native()) {
        same(&profile, native)?;
    }

    #[test]
    fn random_equalities_leave_nothing_to_choose(
        profile in profile(&[SeccompOperator::EqualTo]),
        native in native(),
    ) {
        prop_assert!(same(&profile, native)? == 0);
    }
}
