//! Ids, groups, capabilities.

use corten_plan::wire::Ids;
use corten_plan::{Op, Stage};

use crate::bundle::{begin, execute};
use crate::container::{Container, Outcome, Seen};

const NET_RAW: u64 = 1 << 13;

struct Sets {
    bounding: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

fn run(uid: u32, gid: u32, groups: Option<&[u32]>, sets: &Sets, script: &str) -> Outcome {
    let mut container = Container::new();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Home { uid });
    let groups: Option<Vec<u8>> =
        groups.map(|groups| groups.iter().flat_map(|group| group.to_le_bytes()).collect());
    container.push(&Op::Credentials {
        uid,
        gid,
        groups: groups.as_deref().map(|groups| Ids::new(groups).unwrap()),
        bounding: sets.bounding,
        effective: sets.permitted,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        ambient: sets.ambient,
        reads_back: true,
    });
    execute(&mut container, &["sh", "-c", script]);
    container.run()
}

const NONE: Sets = Sets { bounding: 0, permitted: 0, inheritable: 0, ambient: 0 };

fn status(outcome: &Outcome, name: &str) -> String {
    let line = outcome.output.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name}: {outcome:?}")).trim_start_matches(":\t").trim().into()
}

const STATUS: &str = "cat /proc/self/status; echo HOME:$HOME";

#[test]
fn user_has_the_ids_and_groups_that_were_asked_for() {
    let outcome = run(1000, 1001, Some(&[30, 10, 20, 10]), &NONE, STATUS);
    assert_eq!(status(&outcome, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&outcome, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(status(&outcome, "Groups"), "10 10 20 30");
    assert_eq!(status(&outcome, "HOME"), ":/home");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(&outcome, set), "0000000000000000", "{set}");
    }
}

#[test]
fn user_without_a_home_has_the_root_directory() {
    let outcome = run(4242, 0, Some(&[]), &NONE, STATUS);
    assert_eq!(
        (status(&outcome, "HOME"), status(&outcome, "Groups")),
        (":/".into(), String::new())
    );
}

#[test]
fn many_groups_are_set_and_read_back() {
    let groups: Vec<u32> = (0..1000).rev().collect();
    let outcome = run(0, 0, Some(&groups), &NONE, STATUS);
    assert_eq!(status(&outcome, "Groups").split(' ').count(), 1000);
}

#[test]
fn ambient_capabilities_reach_the_program_of_a_user() {
    let sets =
        Sets { bounding: NET_RAW | 1, permitted: NET_RAW, inheritable: NET_RAW, ambient: NET_RAW };
    let outcome = run(1000, 1000, Some(&[]), &sets, STATUS);
    for (set, expected) in [
        ("CapInh", NET_RAW),
        ("CapPrm", NET_RAW),
        ("CapEff", NET_RAW),
        ("CapBnd", NET_RAW | 1),
        ("CapAmb", NET_RAW),
    ] {
        assert_eq!(status(&outcome, set), format!("{expected:016x}"), "{set}");
    }
}

#[test]
fn ambient_capability_that_cannot_be_raised_is_a_warning() {
    let sets = Sets { bounding: NET_RAW, permitted: NET_RAW, inheritable: 0, ambient: NET_RAW };
    let outcome = run(1000, 1000, Some(&[]), &sets, STATUS);
    let warned = outcome
        .frames
        .iter()
        .find_map(|frame| if let Seen::Warned(failure) = frame { Some(failure) } else { None });
    let warned = warned.unwrap();
    assert_eq!((warned.stage, warned.item, warned.errno), (Stage::Ambient, 13, 1));
    assert_eq!(status(&outcome, "CapAmb"), "0000000000000000");
    assert_eq!(outcome.status, 0);
}

/// What the tests run with: init has no more.
fn own_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

#[test]
fn capabilities_that_the_kernel_does_not_know_are_left_out() {
    let last: u64 =
        std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    let (unknown, own) = (!(u64::MAX >> (63 - last)), own_capabilities());
    let all = Sets {
        bounding: u64::MAX,
        permitted: own | unknown,
        inheritable: own | unknown,
        ambient: 0,
    };
    let outcome = run(0, 0, None, &all, STATUS);
    for set in ["CapBnd", "CapPrm", "CapEff", "CapInh"] {
        assert_eq!(status(&outcome, set), format!("{own:016x}"), "{set}");
    }
}

#[test]
fn capability_that_init_has_not_itself_is_named() {
    let mut container = Container::new();
    begin(&mut container);
    for (uid, permitted) in [(7, NET_RAW), (7, NET_RAW | 1 << 21)] {
        container.push(&Op::Credentials {
            uid,
            gid: 0,
            groups: None,
            bounding: u64::MAX,
            effective: 0,
            permitted,
            inheritable: 0,
            ambient: 0,
            reads_back: true,
        });
    }
    let outcome = container.run();
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.item, failure.errno), (Stage::Capset, 21, 1), "{outcome:?}");
}

#[test]
fn id_that_means_no_change_to_the_kernel_is_refused() {
    for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
        let outcome = run(uid, gid, Some(&[]), &NONE, "true");
        assert_eq!(outcome.failure().stage, Stage::ReadBack);
        assert_eq!(outcome.status, 1);
    }
}
