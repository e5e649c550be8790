//! Our table of system calls against libseccomp's.

use libcontainer::seccomp::{self, Arch};
use libseccomp::{ScmpArch, ScmpSyscall};
use seccomp_oracle::peer::{abis, number};

#[test]
fn every_number_that_libseccomp_names_has_that_name_in_our_table() {
    let mut seen = 0;
    for (arch, theirs, _) in
        [Arch::X86_64, Arch::Aarch64, Arch::Riscv64].iter().flat_map(|native| abis(*native))
    {
        let base = if *theirs == ScmpArch::X32 { 0x4000_0000 } else { 0 };
        for number in (0..600).chain(0xf_0000..0xf_0010).map(|number: i32| base + number) {
            let Ok(name) = ScmpSyscall::from(number).get_name_by_arch(*theirs) else { continue };
            assert_eq!(seccomp::number(&name, *arch), u32::try_from(number).ok(), "{arch} {name}");
            seen += 1;
        }
    }
    assert!(seen > 1900, "{seen}");
}

#[test]
fn calls_behind_socketcall_and_ipc_have_their_direct_numbers_too() {
    let x86 = libcontainer::spec::SeccompArch::X86;
    for name in ["socket", "sendmmsg", "shmdt", "msgctl"] {
        assert_eq!(seccomp::number(name, x86), number(name, ScmpArch::X86), "{name}");
        assert!(seccomp::number(name, x86).unwrap() > 300);
    }
    assert_eq!(seccomp::number("accept", x86), None);
}
