//! Processes, the socket, the terminal, and what init refuses.

use std::fs;

use corten_plan::{Op, Point, Stage};

use crate::bundle::{begin, execute, mount, pivot_and_execute};
use crate::container::{Container, NAMESPACES, Seen};

const CLONE_NEWPID: u32 = 0x2000_0000;

/// The ops of a first stage, then a container.
fn two_stages() -> Container {
    let mut container = Container::new();
    container.namespaces = 0;
    let others = u32::try_from(NAMESPACES).unwrap() & !CLONE_NEWPID;
    container.push(&Op::Unshare { flags: others });
    container
}

#[test]
fn fork_makes_pid_1_of_a_new_pid_namespace_and_gives_its_pidfd() {
    let mut container = two_stages();
    container.push(&Op::Fork { flags: CLONE_NEWPID });
    begin(&mut container);
    pivot_and_execute(&mut container, "echo $$; exit 5");
    let outcome = container.run();
    assert_eq!((outcome.output.as_str(), outcome.status), ("1\n", 5), "{outcome:?}");
    // Both have the socket, and go on at the same time: whose frame is first is nobody's business.
    let all = [Seen::Forked, Seen::Reached(Point::Ready)];
    let is_there = |frame| outcome.frames.contains(frame);
    assert!(outcome.frames.len() == all.len() && all.iter().all(is_there), "{outcome:?}");
}

#[test]
fn fork_without_a_new_pid_namespace_is_refused_where_pid_1_is_expected() {
    let mut container = two_stages();
    container.push(&Op::Fork { flags: 0 });
    begin(&mut container);
    let outcome = container.run();
    assert_eq!((outcome.failure().stage, outcome.status), (Stage::Plan, 1), "{outcome:?}");
}

#[test]
fn time_namespace_has_its_offsets() {
    let mut container = two_stages();
    container.push(&Op::TimeOffsets);
    container.push(&Op::TimeNamespace { offsets: c"monotonic 1000 0\nboottime 100000000 0\n" });
    container.push(&Op::Fork { flags: CLONE_NEWPID });
    begin(&mut container);
    pivot_and_execute(
        &mut container,
        "read a b < /proc/uptime; [ ${a%.*} -ge 100000000 ] && echo yes",
    );
    assert_eq!(container.run().output, "yes\n");
}

#[test]
fn namespace_is_joined_by_its_handle_and_only_of_its_kind() {
    for (kind, works) in [(0x0400_0000, true), (0x0800_0000, false)] {
        let mut container = two_stages();
        container.joined = Some(fs::File::open("/proc/self/ns/uts").unwrap());
        container.push(&Op::Join {
            handle: corten_plan::Handle::FIRST_FREE,
            kind,
            may_wait: false,
        });
        container.push(&Op::Fork { flags: CLONE_NEWPID });
        begin(&mut container);
        pivot_and_execute(&mut container, "cat /proc/sys/kernel/hostname");
        let outcome = container.run();
        if works {
            assert_eq!(outcome.output, fs::read_to_string("/proc/sys/kernel/hostname").unwrap());
        } else {
            assert_eq!(outcome.failure().errno, 22);
        }
    }
}

#[test]
fn init_outside_a_pid_namespace_refuses_to_act() {
    let mut container = Container::new();
    container.namespaces = 0x0002_0000;
    begin(&mut container);
    let outcome = container.run();
    assert_eq!(
        (outcome.failure().stage, outcome.failure().errno, outcome.status),
        (Stage::Plan, 1, 1)
    );
}

#[test]
fn plan_that_is_damaged_anywhere_is_refused_as_a_whole() {
    let mut container = Container::new();
    container.push(&Op::Hostname { name: c"changed" });
    container.damage = true;
    container.namespaces = 0;
    container.plan_flags = 0;
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let outcome = container.run();
    assert_eq!((outcome.failure().stage, outcome.status), (Stage::Plan, 1));
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn plan_without_exec_ends_with_an_error() {
    let mut container = Container::new();
    begin(&mut container);
    assert_eq!(container.run().failure().stage, Stage::Plan);
}

#[test]
fn init_whose_runtime_is_gone_ends() {
    for point in [Point::Mounted, Point::Ready] {
        let mut container = Container::new();
        begin(&mut container);
        container.push(&Op::Sync { point: point as u8 });
        pivot_and_execute(&mut container, "echo still here");
        container.hang_up_at = Some(point);
        let outcome = container.run();
        assert_eq!((outcome.output.as_str(), outcome.status), ("", 1), "{outcome:?}");
    }
}

#[test]
fn init_waits_until_the_fifo_is_emptied() {
    let mut container = Container::new();
    begin(&mut container);
    pivot_and_execute(&mut container, "echo started");
    container.start_after = std::time::Duration::from_millis(300);
    let outcome = container.run();
    assert_eq!(outcome.output, "started\n");
}

#[test]
fn failure_after_start_comes_through_the_fifo() {
    let mut container = Container::new();
    fs::write(container.rootfs().join("bin/program"), "#!/nowhere\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(container.rootfs().join("bin/program"), mode).unwrap();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    execute(&mut container, &["program"]);
    let outcome = container.run();
    assert!(
        matches!(outcome.frames[..], [Seen::Reached(Point::Ready), Seen::Failed(_)]),
        "{outcome:?}"
    );
}

fn with_devpts(container: &mut Container) {
    mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, 0);
    mount(container, c"/dev/pts", c"devpts", &["newinstance", "ptmxmode=0666", "mode=0620"], 0, 0);
    container.push(&Op::Device {
        path: c"/dev/tty",
        mode: 0o020_666,
        major: 5,
        minor: 0,
        uid: 0,
        gid: 0,
    });
}

#[test]
fn terminal_is_sent_and_is_the_controlling_one() {
    let mut container = Container::new();
    let console = container.console();
    begin(&mut container);
    with_devpts(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Terminal { height: 33, width: 111, uid: 1000, console: true });
    let script = "tty; stty size; echo to the terminal > /dev/tty; stat -c '%t:%T %u' /dev/console /dev/pts/0; test -t 0 -a -t 1 -a -t 2; echo $?";
    execute(&mut container, &["sh", "-c", script]);
    let outcome = container.run();
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let (name, text) = console.receive();
    assert_eq!(name, "/dev/pts/0");
    assert_eq!(text, "/dev/pts/0\r\n33 111\r\nto the terminal\r\n88:0 1000\r\n88:0 1000\r\n0\r\n");
}

#[test]
fn terminal_without_a_devpts_of_the_container_is_refused() {
    let mut container = Container::new();
    let _console = container.console();
    begin(&mut container);
    mount(&mut container, c"/dev", c"tmpfs", &["mode=755"], 0, 0);
    // A fake: the right number in the wrong file system.
    container.push(&Op::Device {
        path: c"/dev/pts/ptmx",
        mode: 0o020_666,
        major: 5,
        minor: 2,
        uid: 0,
        gid: 0,
    });
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Terminal { height: 0, width: 0, uid: 0, console: true });
    assert_eq!(container.run().failure().stage, Stage::Verify);
}

#[test]
fn terminal_is_not_bound_through_a_link() {
    let mut container = Container::new();
    let _console = container.console();
    begin(&mut container);
    with_devpts(&mut container);
    container.push(&Op::Symlink { path: c"/dev/console", target: c"/etc/passwd", replace: false });
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Terminal { height: 0, width: 0, uid: 0, console: true });
    assert_eq!(container.run().failure().stage, Stage::Verify);
}

#[test]
fn stdio_belongs_to_the_user_and_null_is_the_container_s_own() {
    let mut container = Container::new();
    begin(&mut container);
    with_devpts(&mut container);
    container.push(&Op::Device {
        path: c"/dev/null",
        mode: 0o020_666,
        major: 1,
        minor: 3,
        uid: 0,
        gid: 0,
    });
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Stdio { uid: 1000, null: true });
    // fd 0 of the tests is the null device (see `spawn`).
    execute(
        &mut container,
        &["sh", "-c", "readlink /proc/self/fd/0; stat -L -c %u /proc/self/fd/1 /proc/self/fd/0"],
    );
    assert_eq!(container.run().output, "/dev/null\n1000\n0\n");
}

#[test]
fn attributes_of_the_process_are_set() {
    let mut container = Container::new();
    begin(&mut container);
    container.push(&Op::Pivot { slave_old: false });
    container.push(&Op::Personality { persona: 8 });
    container.push(&Op::IoPriority { value: 3 << 13 });
    container.push(&Op::Scheduler {
        policy: 3,
        flags: 0,
        nice: 7,
        priority: 0,
        runtime: 0,
        deadline: 0,
        period: 0,
    });
    execute(
        &mut container,
        &[
            "sh",
            "-c",
            "cat /proc/self/personality; cut -d' ' -f 19,41 /proc/self/stat; busybox ionice; busybox uname -m",
        ],
    );
    let outcome = container.run();
    assert!(outcome.output.starts_with("00000008\n7 3\nidle"), "{outcome:?}");
}
