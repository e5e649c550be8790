//! Starts the real image in new namespaces, with plans made here, and looks at what it did.
//!
//! Needs root, and busybox as a static program at /bin/busybox (Debian: busybox-static).

mod container;
#[path = "../../../libcontainer/build/elf.rs"]
mod elf;
#[path = "../../../libcontainer/build/image.rs"]
mod image;

use std::ffi::CString;

use container::{Container, Outcome, list};
use corten_plan::op::mount_flags;
use corten_plan::wire::{Ids, List};
use corten_plan::{Frame, Op, Point, Stage};

const NOSUID_NODEV_NOEXEC: u64 = 0x0e;

/// The ops of the bundle that `runc spec` writes, up to where the process begins.
fn default_bundle(container: &mut Container) {
    let rootfs = container.rootfs_path();
    for op in [
        Op::DieWithRuntime,
        Op::Unshare { flags: 0x0200_0000 },
        Op::Session,
        Op::Keyring { name: c"_ses.test" },
        Op::Loopback,
        Op::Propagation { flags: 0x8_4000 },
        Op::Rootfs { path: &rootfs },
    ] {
        container.push(&op);
    }
    mount(
        container,
        c"/proc",
        c"proc",
        &[],
        0,
        mount_flags::NO_SYMLINKS | mount_flags::MAY_COVER_PROC,
    );
    mount(container, c"/dev", c"tmpfs", &["mode=755", "size=65536k"], 0x2, 0);
    let options = ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    mount(container, c"/dev/pts", c"devpts", &options, 0xa, 0);
    mount(container, c"/dev/shm", c"tmpfs", &["mode=1777", "size=65536k"], NOSUID_NODEV_NOEXEC, 0);
    mount(container, c"/dev/mqueue", c"mqueue", &[], NOSUID_NODEV_NOEXEC, 0);
    mount(container, c"/sys", c"sysfs", &[], NOSUID_NODEV_NOEXEC | 1, mount_flags::NO_SYMLINKS);
    mount(container, c"/sys/fs/cgroup", c"cgroup2", &[], NOSUID_NODEV_NOEXEC | 1, 0);
    devices(container);
    container.push(&Op::Sync { point: Point::Mounted as u8 });
    for path in [
        c"/proc/acpi",
        c"/proc/asound",
        c"/proc/kcore",
        c"/proc/keys",
        c"/proc/latency_stats",
        c"/proc/timer_list",
        c"/proc/timer_stats",
        c"/proc/sched_debug",
        c"/sys/firmware",
        c"/proc/scsi",
    ] {
        container.push(&Op::MaskPath { path });
    }
    for path in [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"] {
        container.push(&Op::ReadonlyPath { path });
    }
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::RootAttr { set: 1 });
    container.push(&Op::Hostname { name: c"runc" });
}

fn mount(
    container: &mut Container,
    target: &std::ffi::CStr,
    fstype: &std::ffi::CStr,
    options: &[&str],
    attr: u64,
    flags: u32,
) {
    let options = list(options);
    container.push(&Op::MountFs {
        target,
        fstype,
        source: Some(fstype),
        options: List::new(&options).unwrap(),
        attr,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: Ids::new(&[]).unwrap(),
        flags,
        fallback: None,
    });
}

fn devices(container: &mut Container) {
    let devices = [
        (c"/dev/null", 1, 3),
        (c"/dev/zero", 1, 5),
        (c"/dev/full", 1, 7),
        (c"/dev/random", 1, 8),
        (c"/dev/urandom", 1, 9),
        (c"/dev/tty", 5, 0),
    ];
    for (path, major, minor) in devices {
        container.push(&Op::Device { path, mode: 0o020_666, major, minor, uid: 0, gid: 0 });
    }
    let links = [
        (c"/dev/fd", c"/proc/self/fd"),
        (c"/dev/stdin", c"/proc/self/fd/0"),
        (c"/dev/stdout", c"/proc/self/fd/1"),
        (c"/dev/stderr", c"/proc/self/fd/2"),
        (c"/dev/ptmx", c"pts/ptmx"),
    ];
    for (path, target) in links {
        container.push(&Op::Symlink { path, target, replace: false });
    }
}

const DEFAULT_CAPABILITIES: u64 = 1 << 29 | 1 << 5 | 1 << 10;

/// The rest: the process of uid 0 with the default capabilities.
fn default_process(container: &mut Container, args: &[&str]) {
    container.push(&Op::Rlimit { resource: 7, soft: 1024, hard: 1024 });
    container.push(&Op::NoNewPrivileges);
    container.push(&Op::Home { uid: 0 });
    container.push(&Op::Sync { point: Point::Ready as u8 });
    let groups = Ids::new(&[]).unwrap();
    container.push(&Op::Cwd { path: c"/", retry: true });
    let caps = DEFAULT_CAPABILITIES;
    container.push(&Op::Credentials {
        uid: 0,
        gid: 0,
        groups: Some(groups),
        bounding: caps,
        effective: caps,
        permitted: caps,
        inheritable: 0,
        ambient: 0,
    });
    execute(container, args);
}

fn execute(container: &mut Container, args: &[&str]) {
    let file = CString::new(args[0]).unwrap();
    container.push(&Op::Find { file: &file, path: c"/sbin:/bin" });
    container.push(&Op::Umask { mask: 0o022 });
    container.push(&Op::WaitStart);
    container.push(&Op::CloseFds { first: 3 });
    let args = list(args);
    let env = list(&["PATH=/bin"]);
    container.push(&Op::Exec {
        args: List::new(&args).unwrap(),
        env: List::new(&env).unwrap(),
        home: true,
    });
}

fn run_default(script: &str) -> Outcome {
    let mut container = Container::new();
    default_bundle(&mut container);
    default_process(&mut container, &["sh", "-c", script]);
    container.run()
}

#[test]
fn default_bundle_runs_and_exits_with_the_status_of_its_program() {
    let outcome = run_default("echo hello; exit 7");
    assert_eq!((outcome.output.as_str(), outcome.status), ("hello\n", 7), "{outcome:?}");
}
