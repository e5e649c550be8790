//! The default profiles of Docker, Podman and containerd, as their clients wrote them, over every event.

use libcontainer::seccomp::{Arch, compile};
use libcontainer::spec::SeccompArch;
use seccomp_oracle::captured_profiles;
use seccomp_oracle::compare::compare;
use seccomp_oracle::peer::remove_newer_names;

#[test]
fn captured_profiles_give_the_verdicts_of_runc() {
    let profiles = captured_profiles().unwrap();
    assert!(profiles.len() >= 5, "{}", profiles.len());
    for (file, mut profile) in profiles {
        let newer = remove_newer_names(&mut profile, Arch::X86_64);
        let seen = compare(&profile, Arch::X86_64).unwrap_or_else(|why| panic!("{file}: {why}"));
        println!("{file}: {seen:?}; newer than libseccomp: {newer:?}");
        assert!(!seen.refused && seen.events > 4000, "{file}: {seen:?}");
        assert_eq!((seen.ambiguous, seen.faults, seen.without_libseccomp), (0, 0, 0), "{file}");
    }
}

#[test]
fn captured_profiles_on_other_architectures_give_the_verdicts_of_runc() {
    for (file, captured) in captured_profiles().unwrap() {
        for (native, architectures) in [
            (Arch::X86_64, vec![]),
            (Arch::X86_64, vec![SeccompArch::X32]),
            (Arch::X86_64, vec![SeccompArch::X86]),
            (Arch::Aarch64, vec![SeccompArch::Aarch64, SeccompArch::Arm]),
            (Arch::Aarch64, vec![]),
            (Arch::Riscv64, vec![SeccompArch::Riscv64]),
        ] {
            let mut profile = captured.clone();
            remove_newer_names(&mut profile, native);
            profile.architectures = architectures;
            let seen = compare(&profile, native).unwrap_or_else(|why| panic!("{file}: {why}"));
            assert!(
                !seen.refused && seen.ambiguous + seen.faults + seen.without_libseccomp == 0,
                "{file}: {seen:?}"
            );
        }
    }
}

#[test]
fn names_that_libseccomp_does_not_know_are_filtered_by_ours() {
    let (_, mut profile) = captured_profiles().unwrap().swap_remove(0);
    profile.syscalls[0].names.push("rseq_slice_yield".to_owned());
    let filter = compile(&profile, Arch::X86_64).unwrap();
    assert_eq!(filter.warnings, []);
    let event =
        |number| seccomp_oracle::machine::Event { arch: 0xc000_003e, number, arguments: [0; 6] };
    let answer =
        |number| seccomp_oracle::machine::run(&filter.instructions, &event(number)).unwrap().answer;
    assert_eq!((answer(471), answer(472)), (0x7fff_0000, 0x0005_0026));
}
