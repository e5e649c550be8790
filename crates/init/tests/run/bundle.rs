//! The bundle that `runc spec` writes, as ops; and the little that every container needs.

use std::ffi::{CStr, CString};

use corten_plan::op::mount_flags::{self, KEPT, PLAIN};
use corten_plan::wire::{FLAG_TRACE, Ids, List};
use corten_plan::{Op, Point};

use crate::container::{Container, Outcome, Seen, list};

pub const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NOSUID_NODEV_NOEXEC: u64 = 0x0e;
const NOSUID_NOEXEC: u64 = 0x0a;
const MS_SLAVE_REC: u32 = 0x8_4000;
const CLONE_NEWCGROUP: u32 = 0x0200_0000;

/// Kill, net_bind_service, audit_write: what `runc spec` gives.
pub const CAPABILITIES: u64 = 1 << 29 | 1 << 5 | 1 << 10;

/// A mount of a new file system; the rest of the fields is empty.
pub fn mount(
    container: &mut Container,
    target: &CStr,
    fstype: &CStr,
    options: &[&str],
    attr: u64,
    flags: u32,
) -> u16 {
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
    })
}

/// A bind mount.
pub fn bind(container: &mut Container, source: &str, target: &CStr, set: u64, flags: u32) -> u16 {
    container.push(&Op::MountBind {
        source: &CString::new(source).unwrap(),
        target,
        set,
        clear: 0,
        must_clear: 0,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: Ids::new(&[]).unwrap(),
        flags,
    })
}

/// From the beginning to the root file system and its /proc.
pub fn begin(container: &mut Container) {
    let rootfs = container.rootfs_path();
    container.push(&Op::DieWithRuntime);
    container.push(&Op::Session);
    container.push(&Op::Propagation { flags: MS_SLAVE_REC });
    container.push(&Op::Rootfs { path: &rootfs });
    mount_proc(container);
}

pub fn mount_proc(container: &mut Container) {
    let flags = mount_flags::NO_SYMLINKS | mount_flags::MAY_COVER_PROC | PLAIN;
    mount(container, c"/proc", c"proc", &[], 0, flags);
}

/// Find to Exec, as the user that the container is now; returns the index of Find.
pub fn execute(container: &mut Container, args: &[&str]) -> u16 {
    let file = CString::new(args[0]).unwrap();
    let find = container.push(&Op::Find { file: &file, path: c"/sbin:/bin" });
    container.push(&Op::Sync { point: Point::Ready as u8 });
    container.push(&Op::Umask { mask: 0o022 });
    container.push(&Op::WaitStart);
    container.push(&Op::CloseFds { first: 3 });
    let args = list(args);
    let env = list(&["PATH=/bin", "A=b"]);
    let (args, env) = (List::new(&args).unwrap(), List::new(&env).unwrap());
    container.push(&Op::Exec { args, env, home: true });
    find
}

pub fn pivot_and_execute(container: &mut Container, script: &str) {
    container.push(&Op::Pivot { slave_old: false });
    execute(container, &["sh", "-c", script]);
}

/// Runs a shell script in a container with what `prepare` adds before the root is changed.
pub fn run(prepare: impl FnOnce(&mut Container), script: &str) -> Outcome {
    let mut container = Container::new();
    begin(&mut container);
    prepare(&mut container);
    pivot_and_execute(&mut container, script);
    container.run()
}

fn default_bundle(container: &mut Container) {
    let rootfs = container.rootfs_path();
    container.push(&Op::DieWithRuntime);
    container.push(&Op::Unshare { flags: CLONE_NEWCGROUP });
    container.push(&Op::Session);
    container.push(&Op::Keyring { name: c"_ses.test" });
    container.push(&Op::Loopback);
    container.push(&Op::Propagation { flags: MS_SLAVE_REC });
    container.push(&Op::Rootfs { path: &rootfs });
    mount_proc(container);
    mount(container, c"/dev", c"tmpfs", &["mode=755", "size=65536k"], NOSUID, KEPT);
    let options = ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    mount(container, c"/dev/pts", c"devpts", &options, NOSUID_NOEXEC, PLAIN);
    let options = ["mode=1777", "size=65536k"];
    mount(container, c"/dev/shm", c"tmpfs", &options, NOSUID_NODEV_NOEXEC, PLAIN);
    mount(container, c"/dev/mqueue", c"mqueue", &[], NOSUID_NODEV_NOEXEC, PLAIN);
    mount(
        container,
        c"/sys",
        c"sysfs",
        &["ro"],
        NOSUID_NODEV_NOEXEC | RDONLY,
        mount_flags::NO_SYMLINKS | PLAIN,
    );
    let attr = NOSUID_NODEV_NOEXEC | RDONLY;
    mount(container, c"/sys/fs/cgroup", c"cgroup2", &["ro"], attr, PLAIN);
    default_devices(container);
    container.push(&Op::Sync { point: Point::Mounted as u8 });
    hide(container);
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::RootAttr { set: RDONLY });
    container.push(&Op::Hostname { name: c"corten" });
    container.push(&Op::Domainname { name: c"example" });
}

pub fn default_devices(container: &mut Container) {
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

fn hide(container: &mut Container) {
    let masked = [
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
    ];
    for path in masked {
        container.push(&Op::MaskPath { path, file: false });
    }
    for path in [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"] {
        container.push(&Op::ReadonlyPath { path, alone: true });
    }
}

fn default_process(container: &mut Container, args: &[&str]) {
    container.push(&Op::Rlimit { resource: 7, soft: 1000, hard: 1024 });
    container.push(&Op::NoNewPrivileges);
    container.push(&Op::Home { uid: 0 });
    container.push(&Op::Cwd { path: c"/", retry: true });
    let caps = CAPABILITIES;
    container.push(&Op::Credentials {
        uid: 0,
        gid: 0,
        groups: Some(Ids::new(&[]).unwrap()),
        bounding: caps,
        effective: caps,
        permitted: caps,
        inheritable: 0,
        ambient: 0,
        reads_back: true,
    });
    execute(container, args);
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
    assert_eq!(outcome.frames, [Seen::Reached(Point::Mounted), Seen::Reached(Point::Ready)]);
}

#[test]
fn default_bundle_has_the_mounts_that_were_asked_for() {
    let outcome = run_default(
        "while read a b c r d o x; do echo $d ${o%%,*}${o##*,noexec,}; done < /proc/self/mountinfo",
    );
    let mut points: Vec<&str> =
        outcome.output.lines().map(|line| line.split(' ').next().unwrap()).collect();
    points.retain(|point| !point.starts_with("/proc/") && !point.starts_with("/sys/firmware"));
    let expected =
        ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];
    assert_eq!(points, expected, "{outcome:?}");
}

#[test]
fn default_bundle_has_devices_with_exact_modes_and_a_read_only_root() {
    let outcome = run_default(
        "stat -c '%n %F %a %t:%T %u' /dev/null /dev/tty; stat -c '%N' /dev/stdin; true > /x; echo $(( $? != 0 )); \
         echo ok > /dev/null && cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname",
    );
    let lines: Vec<&str> = outcome.output.lines().collect();
    let expected = [
        "/dev/null character special file 666 1:3 0",
        "/dev/tty character special file 666 5:0 0",
        "'/dev/stdin' -> '/proc/self/fd/0'",
        "sh: can't create /x: Read-only file system",
        "1",
        "corten",
        "example",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn default_bundle_process_has_its_attributes_and_nothing_of_ours() {
    let outcome = run_default(
        "ulimit -n; umask; env | grep -e ^A= -e ^HOME= -e ^PATH= | busybox sort; ls /proc/self/fd; cat /proc/self/stat | { read a b c d e f g; echo $f; }; \
         grep -e Cap -e Sig -e NoNew -e Groups /proc/self/status",
    );
    let lines: Vec<&str> = outcome.output.lines().collect();
    let mask = format!("{CAPABILITIES:016x}");
    let with = |name: &str, value: &str| format!("{name}:\t{value}");
    let none = "0000000000000000";
    let expected = [
        // The soft limit, HOME from /etc/passwd, and fd 3 is that of ls.
        "1000",
        "0022",
        "A=b",
        "HOME=/root",
        "PATH=/bin",
        "0",
        "1",
        "2",
        "3",
        "1",
    ];
    assert_eq!(lines[..expected.len()], expected);
    for (name, value) in [
        ("CapInh", none),
        ("CapPrm", &mask),
        ("CapEff", &mask),
        ("CapBnd", &mask),
        ("CapAmb", none),
        ("NoNewPrivs", "1"),
        ("SigBlk", none),
        ("SigPnd", none),
    ] {
        assert!(lines.contains(&with(name, value).as_str()), "{name} {value}: {lines:#?}");
    }
}

#[test]
fn program_has_no_signal_blocked_or_ignored() {
    let mut container = Container::new();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    // Not by a shell: busybox's ignores SIGQUIT in what it starts.
    execute(&mut container, &["grep", "-e", "SigBlk", "-e", "SigIgn", "/proc/self/status"]);
    let none = "0000000000000000";
    assert_eq!(container.run().output, format!("SigBlk:\t{none}\nSigIgn:\t{none}\n"));
}

#[test]
fn default_bundle_masks_are_empty_and_cannot_be_changed() {
    let outcome = run_default(
        "cat /proc/keys /proc/timer_list; ls -A /sys/firmware /proc/acpi; echo x > /sys/firmware/x; echo x > /proc/sys/kernel/hostname; \
         mount | grep -c -e 'on /proc/keys .*ro' -e 'on /proc/sys .*ro'",
    );
    assert!(
        outcome.output.contains("can't create /sys/firmware/x: Read-only file system"),
        "{outcome:?}"
    );
    assert!(
        outcome.output.contains("can't create /proc/sys/kernel/hostname: Read-only file system"),
        "{outcome:?}"
    );
    assert_eq!(outcome.output.lines().count(), 6, "{outcome:?}");
}

#[test]
fn init_that_waits_for_start_is_small() {
    let mut container = Container::new();
    default_bundle(&mut container);
    default_process(&mut container, &["true"]);
    container.at = Some(Box::new(|point, pid| {
        if point == Point::Ready {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            let kib: u32 = line.trim().trim_end_matches(" kB").parse().unwrap();
            assert!(kib <= 200, "{kib} KiB");
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
            assert_eq!(name, "corten:init\n");
        }
    }));
    assert_eq!(container.run().status, 0);
}

#[test]
fn trace_has_the_times_of_all_ops_in_order() {
    let mut container = Container::new();
    container.plan_flags |= FLAG_TRACE;
    begin(&mut container);
    pivot_and_execute(&mut container, "true");
    let outcome = container.run();
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let (exec, ops) = outcome.times.split_last().unwrap();
    assert!(exec[0] > 0 && exec[1] == 0, "{exec:?}");
    let mut last = 1;
    for [start, end] in ops {
        assert!(last <= *start && start <= end, "{:?}", outcome.times);
        last = *end;
    }
}
