//! The ways that cost fewer calls: what they give, and where they must not be taken.

use std::ffi::CStr;
use std::os::unix::fs::symlink;

use corten_plan::op::mount_flags::{KEPT, MODE_OF_TARGET, PLAIN};
use corten_plan::{Op, Stage};

use crate::bundle::{RDONLY, bind, mount, run};
use crate::container::Container;

const EINVAL: i32 = 22;
const EEXIST: i32 = 17;
const NODEV_NOEXEC_NOATIME: u64 = 4 | 8 | 0x10;

fn node(container: &mut Container, path: &CStr, uid: u32) {
    let (mode, major, minor) = (0o020_666, 1, 3);
    container.push(&Op::Device { path, mode, major, minor, uid, gid: 0 });
}

#[test]
fn plain_mount_has_its_flags_and_its_options() {
    let outcome = run(
        |container| {
            let options = ["size=1m", "sync"];
            mount(container, c"/tmp", c"tmpfs", &options, NODEV_NOEXEC_NOATIME, PLAIN);
            mount(container, c"/home", c"tmpfs", &["ro", "mode=711"], RDONLY, PLAIN);
        },
        "grep -e ' /tmp ' -e ' /home ' /proc/self/mountinfo",
    );
    for expected in [
        " / /tmp rw,nodev,noexec,noatime - tmpfs tmpfs rw,sync,size=1024k",
        " / /home ro,relatime - tmpfs tmpfs ro,mode=711",
    ] {
        assert!(outcome.output.contains(expected), "{outcome:?}");
    }
}

#[test]
fn plain_mount_that_fails_names_the_option_and_what_the_kernel_said() {
    for (target, before) in [(c"/tmp", false), (c"/dev/shm", true)] {
        let mut op = 0;
        let outcome = run(
            |container| {
                if before {
                    mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, KEPT);
                }
                op = mount(container, target, c"tmpfs", &["mode=755", "size=12q"], 0, PLAIN);
            },
            "true",
        );
        let failure = outcome.failure();
        let expected = (op, Stage::Option, 1, EINVAL);
        assert_eq!((failure.op, failure.stage, failure.item, failure.errno), expected);
        assert_eq!(failure.detail, "size=12q: tmpfs: Bad value for 'size'");
    }
}

#[test]
fn plain_mount_that_mount_cannot_make_is_made_all_the_same() {
    // Read-only, but not its super block.
    let outcome = run(
        |container| {
            mount(container, c"/tmp", c"tmpfs", &["mode=755"], RDONLY, PLAIN);
        },
        "grep -e ' /tmp ' /proc/self/mountinfo",
    );
    assert!(outcome.output.contains(" / /tmp ro,relatime - tmpfs tmpfs rw,"), "{outcome:?}");
}

#[test]
fn plain_tmpfs_without_a_mode_takes_that_of_its_target() {
    let outcome = run(
        |container| {
            container.push(&Op::Directory { path: c"/made", mode: 0o1770 });
            mount(container, c"/made", c"tmpfs", &["size=1m"], 0, PLAIN | MODE_OF_TARGET);
        },
        "stat -c %a /made; grep -c ' /made .*size=1024k' /proc/self/mountinfo",
    );
    assert_eq!(outcome.output, "1770\n1\n");
}

#[test]
fn plain_mount_over_a_part_of_procfs_is_refused_however_it_is_reached() {
    for link in ["/proc/sys", "/proc", "/home/proc/sys"] {
        let outcome = run(
            |container| {
                symlink(link, container.rootfs().join("innocent")).unwrap();
                mount(container, c"/home/proc", c"proc", &[], 0, 0);
                mount(container, c"/innocent", c"tmpfs", &[], 0, PLAIN);
            },
            "true",
        );
        assert_eq!(outcome.failure().stage, Stage::Verify, "{link}: {outcome:?}");
    }
    let outcome = run(
        |container| {
            mount(container, c"/home", c"proc", &[], 0, 0);
            mount(container, c"/home/sys", c"tmpfs", &[], 0, PLAIN);
        },
        "true",
    );
    assert_eq!(outcome.failure().stage, Stage::Verify, "below the last mount: {outcome:?}");
}

#[test]
fn target_below_the_last_mount_is_found_there_and_made_where_it_is_missing() {
    let outcome = run(
        |container| {
            mount(container, c"/tmp", c"tmpfs", &["mode=755"], 0, 0);
            mount(container, c"/tmp/a/b", c"tmpfs", &["mode=711"], 0, 0);
            mount(container, c"/tmp/a/b/../c", c"tmpfs", &["mode=701"], 0, 0);
            mount(container, c"/sys", c"sysfs", &[], 0, 0);
            mount(container, c"/sys/fs/cgroup", c"tmpfs", &["mode=700"], 0, 0);
        },
        "stat -c %a /tmp /tmp/a/b /tmp/a/c /sys/fs/cgroup",
    );
    assert_eq!(outcome.output, "755\n711\n701\n700\n");
}

#[test]
fn kept_directory_that_is_covered_by_way_of_a_link_is_kept_no_longer() {
    for (target, flags) in [(c"/link", 0), (c"/link", PLAIN), (c"/dev", PLAIN), (c"/dev/.", PLAIN)]
    {
        let outcome = run(
            |container| {
                symlink("/dev", container.rootfs().join("link")).unwrap();
                mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, KEPT);
                mount(container, c"/dev/sub", c"tmpfs", &["mode=700"], 0, PLAIN);
                mount(container, target, c"tmpfs", &["mode=711"], 0, flags);
                node(container, c"/dev/null", 0);
                mount(container, c"/dev/sub", c"tmpfs", &["mode=750"], 0, PLAIN);
            },
            "stat -c %a /dev /dev/null /dev/sub",
        );
        assert_eq!(outcome.output, "711\n666\n750\n", "{target:?} {flags}");
    }
    let outcome = run(
        |container| {
            symlink("/dev", container.rootfs().join("link")).unwrap();
            mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, KEPT);
            bind(container, "/usr", c"/link", 0, 0);
            container.push(&Op::Device {
                path: c"/dev/bin/sh",
                mode: 0o020_666,
                major: 1,
                minor: 3,
                uid: 0,
                gid: 0,
            });
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Verify, EEXIST));
}

#[test]
fn kept_directory_has_nodes_of_each_owner_and_keeps_what_is_there() {
    let outcome = run(
        |container| {
            mount(container, c"/dev", c"tmpfs", &["mode=2755", "gid=7"], 0, KEPT);
            for (path, uid) in [(c"/dev/a", 0), (c"/dev/b", 0), (c"/dev/c", 5), (c"/dev/d", 0)] {
                node(container, path, uid);
            }
            node(container, c"/dev/a", 9);
            container.push(&Op::Symlink { path: c"/dev/e", target: c"a", replace: false });
        },
        "stat -c '%a %u:%g' /dev/a /dev/b /dev/c /dev/d; readlink /dev/e",
    );
    assert_eq!(outcome.output, "666 0:0\n666 0:0\n666 5:0\n666 0:0\na\n");
    let outcome = run(
        |container| {
            mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, KEPT);
            mount(container, c"/dev/shm", c"tmpfs", &["mode=711"], 0, PLAIN);
            mount(container, c"/dev/shm", c"tmpfs", &["mode=701"], 0, PLAIN);
            node(container, c"/dev/shm", 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Verify, EEXIST));
}

#[test]
fn kept_null_device_that_something_was_mounted_on_is_looked_at_again() {
    let with = |is_replaced: bool| {
        run(
            |container| {
                mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, KEPT);
                node(container, c"/dev/null", 0);
                if is_replaced {
                    bind(container, "/dev/zero", c"/dev/null", 0, 0);
                }
                container.push(&Op::Stdio { uid: 0, null: true });
            },
            "stat -L -c %t:%T:%d /proc/self/fd/0 /dev/null | busybox uniq | grep -c 1:3",
        )
    };
    assert_eq!(with(false).output, "1\n");
    assert_eq!(with(true).failure().stage, Stage::Verify);
}

#[test]
fn masked_directories_are_all_empty_and_share_what_covers_them() {
    let masked = [c"/m/a", c"/m/b", c"/m/c", c"/m/d", c"/m/e"];
    let outcome = run(
        |container| {
            for path in masked {
                container.push(&Op::Directory { path, mode: 0o755 });
            }
            container.push(&Op::Directory { path: c"/m/e/sub", mode: 0o755 });
            for path in masked {
                // Whether a file is expected makes no difference.
                let file = path == c"/m/b" || path == c"/m/e";
                container.push(&Op::MaskPath { path, file });
            }
        },
        "echo /m/*/*; stat -c %d /m/* | busybox sort -u | grep -c .; \
         grep -c ' /m/. ro,nosuid,nodev,noexec,relatime - tmpfs' /proc/self/mountinfo; true > /m/d/x",
    );
    let expected = "/m/*/*\n3\n5\nsh: can't create /m/d/x: Read-only file system\n";
    assert_eq!(outcome.output, expected);
}

#[test]
fn masked_file_may_be_expected_or_not() {
    let outcome = run(
        |container| {
            container.push(&Op::MaskPath { path: c"/etc/passwd", file: true });
            container.push(&Op::MaskPath { path: c"/proc/uptime", file: false });
            container.push(&Op::MaskPath { path: c"/proc/version", file: true });
        },
        "cat /etc/passwd /proc/uptime /proc/version; stat -c %t:%T /etc/passwd /proc/uptime /proc/version",
    );
    assert_eq!(outcome.output, "1:3\n1:3\n1:3\n");
}

#[test]
fn read_only_path_that_is_alone_is_read_only_with_all_below_it() {
    let outcome = run(
        |container| {
            mount(container, c"/home/sub", c"tmpfs", &[], 0, 0);
            container.push(&Op::ReadonlyPath { path: c"/home", alone: true });
            container.push(&Op::ReadonlyPath { path: c"/etc/passwd", alone: true });
            container.push(&Op::ReadonlyPath { path: c"/missing", alone: true });
        },
        "true > /home/sub/x; true > /home/x; true > /etc/passwd",
    );
    let refused = |path: &str| format!("sh: can't create {path}: Read-only file system\n");
    let expected = ["/home/sub/x", "/home/x", "/etc/passwd"].map(refused).concat();
    assert_eq!(outcome.output, expected);
}
