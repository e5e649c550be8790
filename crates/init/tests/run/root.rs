//! The root file system: pivot and its siblings, and what is done to the kernel's parameters.

use std::fs;

use corten_plan::{Op, Stage};

use crate::bundle::{begin, bind, execute, mount_proc, pivot_and_execute, run};
use crate::container::{Container, NAMESPACES};

const CLONE_NEWNS: u64 = 0x0002_0000;

#[test]
fn pivot_leaves_nothing_of_the_host() {
    let outcome = run(|_| (), "ls /; grep -c . /proc/self/mountinfo");
    assert_eq!(outcome.output, "bin\ndev\netc\nhome\nproc\nsys\ntmp\n2\n");
}

#[test]
fn pivot_with_shared_mounts_does_not_reach_the_host() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut container = Container::new();
    let rootfs = container.rootfs_path();
    const MS_SHARED_REC: u32 = 1 << 20 | 1 << 14;
    container.push(&Op::Propagation { flags: MS_SHARED_REC });
    container.push(&Op::PrivateParent { path: &rootfs });
    container.push(&Op::Rootfs { path: &rootfs });
    container.push(&Op::Pivot { slave_old: true });
    container.push(&Op::RootPropagation { flags: MS_SHARED_REC });
    mount_proc(&mut container);
    execute(&mut container, &["grep", " / / ", "/proc/self/mountinfo"]);
    let outcome = container.run();
    assert_eq!(outcome.status, 1, "{outcome:?}");
    let outcome = run(|_| (), "true");
    assert_eq!(outcome.status, 0);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

/// Made of the root alone, or by a copy of all mounts where the kernel cannot: it is the same.
#[test]
fn root_namespace_has_nothing_of_the_host() {
    const MS_SLAVE: u32 = 1 << 19;
    let mut container = Container::new();
    container.namespaces = NAMESPACES & !CLONE_NEWNS;
    let rootfs = container.rootfs_path();
    container.push(&Op::RootNamespace { path: &rootfs, propagation: MS_SLAVE });
    container.push(&Op::Propagation { flags: MS_SLAVE | 1 << 14 });
    container.push(&Op::Rootfs { path: &rootfs });
    // Not one of a procfs: with such a source the copy is made.
    let source = std::env::temp_dir().join(format!("corten-root-namespace-{}", std::process::id()));
    fs::write(&source, "Linux\n").unwrap();
    bind(&mut container, source.to_str().unwrap(), c"/etc/passwd", 0, 0);
    mount_proc(&mut container);
    container.push(&Op::MaskPath { path: c"/proc/version", file: true });
    container.push(&Op::Pivot { slave_old: false });
    let script = "pwd; ls /; cat /etc/passwd; wc -c </proc/version; grep -c . /proc/self/mountinfo";
    execute(&mut container, &["sh", "-c", script]);
    let outcome = container.run();
    fs::remove_file(&source).unwrap();
    assert_eq!(
        outcome.output, "/\nbin\ndev\netc\nhome\nproc\nsys\ntmp\nLinux\n0\n4\n",
        "{outcome:?}"
    );
}

#[test]
fn move_root_hides_every_procfs_and_sysfs_of_the_host() {
    let mut container = Container::new();
    begin(&mut container);
    container.push(&Op::MoveRoot);
    execute(&mut container, &["sh", "-c", "ls /; cat /proc/self/mountinfo"]);
    let outcome = container.run();
    assert!(outcome.output.starts_with("bin\ndev\netc\nhome\nproc\nsys\ntmp\n"), "{outcome:?}");
    let mounts: Vec<&str> = outcome.output.lines().skip(7).collect();
    let of_proc = mounts.iter().filter(|line| line.contains(" - proc ")).count();
    assert_eq!(
        (of_proc, mounts.iter().any(|line| line.contains(" - sysfs "))),
        (1, false),
        "{mounts:#?}"
    );
}

#[test]
fn chroot_without_a_mount_namespace_runs_in_the_root_file_system() {
    let mut container = Container::new();
    container.namespaces = NAMESPACES & !CLONE_NEWNS;
    let rootfs = container.rootfs_path();
    container.push(&Op::OpenRoot { path: &rootfs });
    container.push(&Op::Chroot);
    execute(&mut container, &["ls", "/"]);
    assert_eq!(container.run().output, "bin\ndev\netc\nhome\nproc\nsys\ntmp\n");
}

#[test]
fn sysctl_is_written_past_masks_and_links() {
    let outcome = run(
        |container| {
            container.push(&Op::ReadonlyPath { path: c"/proc/sys", alone: false });
            container.push(&Op::Sysctl { path: c"net/ipv4/ip_forward", value: c"1" });
            container.push(&Op::Sysctl { path: c"kernel/domainname", value: c"changed" });
        },
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname",
    );
    assert_eq!(outcome.output, "1\nchanged\n");
    let outcome = run(
        |container| {
            container.push(&Op::Sysctl { path: c"kernel/nonesuch", value: c"" });
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Open, 2));
    let outcome = run(
        |container| {
            container.push(&Op::Sysctl { path: c"net/ipv4/ip_forward", value: c"x" });
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Write, 22));
    let outcome = run(
        |container| {
            container.push(&Op::Sysctl { path: c"../sysrq-trigger", value: c"h" });
        },
        "true",
    );
    assert_eq!(outcome.status, 1, "{outcome:?}");
}

#[test]
fn working_directory_outside_the_root_is_refused() {
    let mut container = Container::new();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    // A directory of the host that somebody left open (CVE-2024-21626).
    container.leak = Some(fs::File::open("/usr").unwrap());
    container.push(&Op::Cwd { path: c"/proc/self/fd/90", retry: false });
    execute(&mut container, &["true"]);
    let outcome = container.run();
    assert_eq!(outcome.failure().stage, Stage::Outside, "{outcome:?}");
}

#[test]
fn working_directory_that_is_missing_is_an_error_also_with_retry() {
    let mut container = Container::new();
    begin(&mut container);
    pivot_and_execute(&mut container, "true");
    let mut missing = Container::new();
    begin(&mut missing);
    missing.push(&Op::Pivot { slave_old: false });
    missing.push(&Op::Cwd { path: c"/nonesuch", retry: true });
    assert_eq!((missing.run().failure().stage, container.run().status), (Stage::Chdir, 0));
}
