//! Mounts: options, attributes, errors.

use std::ffi::CStr;
use std::fs;

use corten_plan::op::mount_flags;
use corten_plan::wire::Ids;
use corten_plan::{Op, Stage};

use crate::bundle::{RDONLY, begin, bind, mount, pivot_and_execute, run};
use crate::container::Container;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const ENOTDIR: i32 = 20;
const EINVAL: i32 = 22;

#[test]
fn tmpfs_with_a_bad_option_names_it_and_what_the_kernel_said() {
    let mut op = 0;
    let outcome = run(
        |container| op = mount(container, c"/tmp", c"tmpfs", &["mode=755", "size=12q"], 0, 0),
        "true",
    );
    let failure = outcome.failure();
    assert_eq!(
        (failure.op, failure.stage, failure.item, failure.errno),
        (op, Stage::Option, 1, EINVAL)
    );
    assert_eq!(failure.detail, "size=12q: tmpfs: Bad value for 'size'");
    assert_eq!(outcome.status, 1);
}

#[test]
fn file_system_that_the_kernel_does_not_know_is_said_to_be_so() {
    let outcome = run(
        |container| {
            mount(container, c"/tmp", c"nonesuch", &[], 0, 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::FsOpen, ENODEV));
}

fn data(container: &mut Container, fstype: &CStr, options: &CStr) {
    container.push(&Op::MountData {
        target: c"/made/for/this",
        fstype,
        source: Some(c"here"),
        ms_flags: 2,
        data: options,
        recursive_set: 8,
        recursive_clear: 0,
        propagation: Ids::new(&(1u32 << 20).to_le_bytes()).unwrap(),
        flags: 0,
    });
}

#[test]
fn mount_with_a_data_string_has_options_attributes_and_propagation() {
    let outcome = run(
        |container| data(container, c"tmpfs", c"mode=711,size=1m"),
        "grep made /proc/self/mountinfo; stat -c %a /made /made/for/this",
    );
    assert!(
        outcome.output.contains("/ /made/for/this rw,nosuid,noexec,relatime shared:"),
        "{outcome:?}"
    );
    assert!(outcome.output.contains(" - tmpfs here rw,size=1024k,mode=711"), "{outcome:?}");
    assert!(outcome.output.ends_with("\n755\n711\n"), "{outcome:?}");
}

#[test]
fn mount_with_a_bad_data_string_names_the_option() {
    let outcome = run(|container| data(container, c"tmpfs", c"mode=711,,nonsense=3"), "true");
    let failure = outcome.failure();
    assert_eq!((failure.stage, failure.item, failure.errno), (Stage::Option, 2, EINVAL));
    assert_eq!(failure.detail, "nonsense=3: tmpfs: Unknown parameter 'nonsense'");
    let outcome = run(|container| data(container, c"nonesuch", c""), "true");
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::FsOpen, ENODEV));
}

#[test]
fn tmpfs_without_a_mode_takes_that_of_its_target() {
    let mut container = Container::new();
    std::os::unix::fs::chown(container.rootfs().join("tmp"), Some(7), None).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions(container.rootfs().join("tmp"), mode).unwrap();
    begin(&mut container);
    mount(&mut container, c"/tmp", c"tmpfs", &[], 0, mount_flags::MODE_OF_TARGET);
    pivot_and_execute(&mut container, "stat -c '%a %u' /tmp");
    assert_eq!(container.run().output, "1777 0\n");
}

#[test]
fn tmpcopyup_copies_everything_and_the_mount_is_read_only_after_it() {
    let mut container = Container::new();
    let etc = container.rootfs().join("etc");
    fs::create_dir_all(etc.join("deep/er")).unwrap();
    fs::write(etc.join("deep/er/file"), "contents").unwrap();
    fs::set_permissions(
        etc.join("deep/er/file"),
        std::os::unix::fs::PermissionsExt::from_mode(0o4751),
    )
    .unwrap();
    std::os::unix::fs::lchown(etc.join("deep"), Some(3), Some(4)).unwrap();
    std::os::unix::fs::symlink("deep/er", etc.join("link")).unwrap();
    for number in 0..300 {
        fs::write(etc.join(format!("file-with-a-long-name-{number}")), "").unwrap();
    }
    begin(&mut container);
    mount(&mut container, c"/etc", c"tmpfs", &["mode=750"], RDONLY, mount_flags::COPY_UP);
    pivot_and_execute(
        &mut container,
        "cat /etc/link/file; stat -c ' %a %u:%g' /etc/deep/er/file /etc/deep; ls /etc | grep -c file-with; true > /etc/x",
    );
    let outcome = container.run();
    let expected =
        "contents 4751 0:0\n 755 3:4\n300\nsh: can't create /etc/x: Read-only file system\n";
    assert_eq!(outcome.output, expected, "{outcome:?}");
}

#[test]
fn bind_of_a_file_and_of_a_directory_makes_its_target_as_the_source_is() {
    let mut container = Container::new();
    let source = container.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "text\n").unwrap();
    let source = source.to_str().unwrap().to_owned();
    begin(&mut container);
    bind(&mut container, &source, c"/new/directory", RDONLY, 0);
    bind(&mut container, &format!("{source}/file"), c"/another/file", 0, 0);
    pivot_and_execute(
        &mut container,
        "cat /new/directory/file /another/file; true > /new/directory/x; echo y >> /another/file; cat /another/file",
    );
    let expected =
        "text\ntext\nsh: can't create /new/directory/x: Read-only file system\ntext\ny\n";
    assert_eq!(container.run().output, expected);
}

#[test]
fn bind_of_a_directory_over_a_file_is_refused_with_a_reason() {
    let outcome = run(
        |container| {
            bind(container, "/usr", c"/bin/busybox", 0, 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Target, ENOTDIR));
    let outcome = run(
        |container| {
            bind(container, "/bin/busybox", c"/tmp", 0, 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Attach, ENOTDIR));
}

#[test]
fn bind_of_what_does_not_exist_blames_the_source() {
    let outcome = run(
        |container| {
            bind(container, "/nonesuch", c"/tmp", 0, 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Source, ENOENT));
}

#[test]
fn bind_that_must_be_a_procfs_and_is_none_is_refused() {
    let flags = mount_flags::SOURCE_IS_PROC | mount_flags::MAY_COVER_PROC;
    let outcome = run(
        |container| {
            bind(container, "/usr", c"/proc", 0, flags);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Verify, EPERM));
    let outcome = run(
        |container| {
            bind(container, "/proc", c"/proc", 0, flags);
        },
        "ls /proc | grep -c thread-self",
    );
    assert_eq!(outcome.output, "1\n");
}

#[test]
fn mount_over_a_part_of_procfs_is_refused_however_it_is_reached() {
    let mut container = Container::new();
    std::os::unix::fs::symlink("/proc/sys", container.rootfs().join("innocent")).unwrap();
    begin(&mut container);
    mount(&mut container, c"/innocent", c"tmpfs", &[], 0, 0);
    pivot_and_execute(&mut container, "true");
    let outcome = container.run();
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Verify, EPERM));
}

#[test]
fn mount_attributes_are_set_once_all_is_there() {
    let outcome = run(
        |container| {
            mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, 0);
            container.push(&Op::Device {
                path: c"/dev/null",
                mode: 0o020_666,
                major: 1,
                minor: 3,
                uid: 5,
                gid: 6,
            });
            container.push(&Op::Device {
                path: c"/dev/fifo",
                mode: 0o010_640,
                major: 0,
                minor: 0,
                uid: 0,
                gid: 0,
            });
            container.push(&Op::MountAttr { path: c"/dev", set: RDONLY });
        },
        "stat -c '%F %a %u:%g' /dev/null /dev/fifo; true > /dev/x",
    );
    let expected = "character special file 666 5:6\nfifo 640 0:0\nsh: can't create /dev/x: Read-only file system\n";
    assert_eq!(outcome.output, expected);
}

#[test]
fn propagation_of_a_mount_is_what_was_asked_for() {
    let outcome = run(
        |container| {
            let (shared, slave) = (1u32 << 20, 1u32 << 19 | 1 << 14);
            let both = [shared.to_le_bytes(), slave.to_le_bytes()].concat();
            for (target, propagation) in [(c"/tmp", &both[..4]), (c"/home", &both[4..])] {
                container.push(&Op::MountBind {
                    source: c"/usr",
                    target,
                    set: 2,
                    clear: 0,
                    must_clear: 0,
                    recursive_set: 0,
                    recursive_clear: 0,
                    propagation: Ids::new(propagation).unwrap(),
                    flags: mount_flags::RECURSIVE,
                });
            }
        },
        "grep -e ' /tmp ' /proc/self/mountinfo",
    );
    assert!(
        outcome.output.contains(" /tmp rw,nosuid,") && outcome.output.contains(" shared:"),
        "{outcome:?}"
    );
}
