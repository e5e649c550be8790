//! Targets: an image may have anything in it, and nothing outside is touched.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::PathBuf;

use corten_plan::op::mount_flags;
use corten_plan::{Op, Stage};

use crate::bundle::{begin, bind, default_devices, mount, pivot_and_execute, run};
use crate::container::Container;

const ENOTDIR: i32 = 20;
const EEXIST: i32 = 17;
const ELOOP: i32 = 40;

/// A container whose image has a link, the directory outside to which it would like to lead, and a bind on the link.
fn bind_on_link(link: &str, leads_to: &str) -> (Container, PathBuf) {
    let container = Container::new();
    let outside = container.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let leads_to = leads_to.replace("OUTSIDE", outside.to_str().unwrap());
    symlink(leads_to, container.rootfs().join(link)).unwrap();
    (container, outside)
}

fn is_empty(directory: &PathBuf) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn target_that_is_a_dangling_link_is_made_inside_the_root() {
    for (link, leads_to, expected) in [
        ("etc/resolv.conf", "../run/deep/resolv.conf", "run/deep/resolv.conf"),
        ("etc/resolv.conf", "/run//./deep/resolv.conf", "run/deep/resolv.conf"),
        ("etc/resolv.conf", "../../../../run/resolv.conf", "run/resolv.conf"),
        // As runc: what is missing is taken as if it were there.
        ("etc/resolv.conf", "missing/../other/./file", "etc/other/file"),
        ("etc/resolv.conf", "missing/../../above", "above"),
    ] {
        let (mut container, _) = bind_on_link(link, leads_to);
        fs::write(container.path().join("source"), "contents").unwrap();
        let source = container.path().join("source").to_str().unwrap().to_owned();
        begin(&mut container);
        bind(&mut container, &source, c"/etc/resolv.conf", 0, 0);
        pivot_and_execute(&mut container, &format!("cat /{expected}"));
        let outcome = container.run();
        assert_eq!(
            (outcome.output.as_str(), outcome.status),
            ("contents", 0),
            "{leads_to}: {outcome:?}"
        );
    }
}

#[test]
fn target_through_links_that_lead_out_stays_inside() {
    for (link, leads_to) in
        [("way", "OUTSIDE"), ("way", "../../../../../../../OUTSIDE"), ("etc/way", "/OUTSIDE/x/y")]
    {
        let (mut container, outside) = bind_on_link(link, leads_to);
        begin(&mut container);
        let target = std::ffi::CString::new(format!("/{link}/below/directory")).unwrap();
        bind(&mut container, "/usr", &target, 0, 0);
        pivot_and_execute(&mut container, &format!("[ -d /{link}/below/directory/bin ]"));
        container.after = Some(Box::new(move || assert!(is_empty(&outside))));
        let outcome = container.run();
        assert_eq!(outcome.status, 0, "{leads_to}: {outcome:?}");
    }
}

#[test]
fn target_with_links_in_a_circle_is_an_error() {
    let (mut container, _) = bind_on_link("way", "way");
    begin(&mut container);
    bind(&mut container, "/usr", c"/way/x", 0, 0);
    pivot_and_execute(&mut container, "true");
    let outcome = container.run();
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Target, ELOOP));
}

#[test]
fn target_below_a_file_is_an_error() {
    let outcome = run(
        |container| {
            bind(container, "/usr", c"/etc/passwd/x/y", 0, 0);
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Target, ENOTDIR));
}

#[test]
fn proc_that_is_a_link_is_refused_dangling_or_not() {
    for leads_to in ["tmp", "nowhere"] {
        let mut container = Container::new();
        fs::remove_dir(container.rootfs().join("proc")).unwrap();
        symlink(leads_to, container.rootfs().join("proc")).unwrap();
        begin(&mut container);
        pivot_and_execute(&mut container, "true");
        let outcome = container.run();
        assert_eq!(
            (outcome.failure().stage, outcome.failure().errno),
            (Stage::Target, ELOOP),
            "{leads_to}"
        );
    }
}

#[test]
fn proc_that_is_a_file_is_refused() {
    let mut container = Container::new();
    fs::remove_dir(container.rootfs().join("proc")).unwrap();
    fs::write(container.rootfs().join("proc"), "").unwrap();
    begin(&mut container);
    pivot_and_execute(&mut container, "true");
    let outcome = container.run();
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Target, ENOTDIR));
}

#[test]
fn devices_of_an_image_whose_dev_leads_out_are_made_inside() {
    let mut container = Container::new();
    let outside = container.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("ptmx"), "mine").unwrap();
    fs::remove_dir(container.rootfs().join("dev")).unwrap();
    symlink(&outside, container.rootfs().join("dev")).unwrap();
    let kept = outside.clone();
    container.after = Some(Box::new(move || {
        assert_eq!(fs::read_to_string(kept.join("ptmx")).unwrap(), "mine");
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
    }));
    begin(&mut container);
    default_devices(&mut container);
    container.push(&Op::Symlink { path: c"/dev/ptmx", target: c"pts/ptmx", replace: true });
    pivot_and_execute(&mut container, "echo > /dev/null; readlink /dev/ptmx");
    assert_eq!(container.run().output, "pts/ptmx\n");
}

fn device(container: &mut Container, path: &CStr) -> u16 {
    container.push(&Op::Device { path, mode: 0o020_666, major: 1, minor: 3, uid: 0, gid: 0 })
}

#[test]
fn device_that_is_there_is_kept_as_it_is_and_another_is_refused() {
    let mut container = Container::new();
    let dev = container.rootfs().join("dev");
    mknod(&dev.join("null"), 1, 3, 0o600);
    begin(&mut container);
    device(&mut container, c"/dev/null");
    pivot_and_execute(&mut container, "stat -c %a /dev/null");
    assert_eq!(container.run().output, "600\n");

    for make in [
        (|path| mknod(&path, 1, 5, 0o666)) as fn(PathBuf),
        |path| fs::write(path, "").unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
    ] {
        let mut container = Container::new();
        make(container.rootfs().join("dev/null"));
        begin(&mut container);
        let op = device(&mut container, c"/dev/null");
        pivot_and_execute(&mut container, "true");
        let outcome = container.run();
        let failure = outcome.failure();
        assert_eq!((failure.op, failure.stage, failure.errno), (op, Stage::Verify, EEXIST));
    }
}

fn mknod(path: &std::path::Path, major: u32, minor: u32, mode: u32) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    #[expect(unsafe_code, reason = "std has no mknod")]
    // SAFETY: the path ends with a NUL.
    let made =
        unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | mode, libc::makedev(major, minor)) };
    assert_eq!(made, 0);
}

#[test]
fn device_in_a_directory_with_the_set_group_id_bit_has_the_right_group() {
    let mut container = Container::new();
    let dev = container.rootfs().join("dev");
    std::os::unix::fs::chown(&dev, None, Some(77)).unwrap();
    fs::set_permissions(&dev, std::os::unix::fs::PermissionsExt::from_mode(0o2755)).unwrap();
    begin(&mut container);
    device(&mut container, c"/dev/null");
    pivot_and_execute(&mut container, "stat -c '%a %g' /dev/null");
    container.after = Some(Box::new(move || {
        let made = fs::metadata(dev.join("null")).unwrap();
        assert!(made.file_type().is_char_device() && made.rdev() == 0x103);
    }));
    assert_eq!(container.run().output, "666 0\n");
}

#[test]
fn link_that_exists_is_kept_or_replaced_and_a_directory_never() {
    let mut container = Container::new();
    symlink("old", container.rootfs().join("dev/kept")).unwrap();
    symlink("old", container.rootfs().join("dev/replaced")).unwrap();
    fs::create_dir(container.rootfs().join("dev/directory")).unwrap();
    begin(&mut container);
    for (path, replace) in
        [(c"/dev/kept", false), (c"/dev/replaced", true), (c"/dev/directory", false)]
    {
        container.push(&Op::Symlink { path, target: c"new", replace });
    }
    pivot_and_execute(
        &mut container,
        "readlink /dev/kept; readlink /dev/replaced; [ -d /dev/directory ]",
    );
    assert_eq!(container.run().output, "old\nnew\n");

    let mut container = Container::new();
    fs::create_dir(container.rootfs().join("dev/directory")).unwrap();
    begin(&mut container);
    container.push(&Op::Symlink { path: c"/dev/directory", target: c"new", replace: true });
    pivot_and_execute(&mut container, "true");
    assert_eq!(container.run().failure().stage, Stage::Create);
}

#[test]
fn mask_of_what_cannot_be_looked_up_is_an_error_and_of_what_is_missing_is_not() {
    let outcome = run(
        |container| {
            container.push(&Op::MaskPath { path: c"/etc/passwd/x", file: false });
        },
        "true",
    );
    assert_eq!((outcome.failure().stage, outcome.failure().errno), (Stage::Target, ENOTDIR));
    let outcome = run(
        |container| {
            container.push(&Op::MaskPath { path: c"/nonesuch/x", file: false });
        },
        "true",
    );
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

#[test]
fn mask_of_a_file_is_a_null_device_whose_owner_and_mode_cannot_be_changed() {
    let mode_of_null = fs::metadata("/dev/null").unwrap().mode();
    let outcome = run(
        |container| {
            // What the image has at /dev/null is of no importance (CVE-2025-31133).
            symlink("/proc/sys/kernel/core_pattern", container.rootfs().join("dev/null")).unwrap();
            container.push(&Op::MaskPath { path: c"/etc/passwd", file: false });
            container.push(&Op::MaskPath { path: c"/proc/sys/kernel/core_pattern", file: false });
        },
        "cat /etc/passwd /proc/sys/kernel/core_pattern; stat -c '%t:%T' /etc/passwd; /bin/busybox chmod 600 /etc/passwd",
    );
    assert_eq!(outcome.output, "1:3\nchmod: /etc/passwd: Read-only file system\n");
    assert_eq!(fs::metadata("/dev/null").unwrap().mode(), mode_of_null);
}

#[test]
fn read_only_path_takes_its_submounts_along_as_they_are() {
    let outcome = run(
        |container| {
            mount(container, c"/home/sub", c"tmpfs", &[], 0, 0);
            container.push(&Op::ReadonlyPath { path: c"/home", alone: false });
            container.push(&Op::ReadonlyPath { path: c"/etc/passwd", alone: false });
            container.push(&Op::ReadonlyPath { path: c"/missing", alone: false });
        },
        "true > /home/sub/x && echo yes; true > /home/x; true > /etc/passwd",
    );
    let expected = "yes\nsh: can't create /home/x: Read-only file system\nsh: can't create /etc/passwd: Read-only file system\n";
    assert_eq!(outcome.output, expected);
}

#[test]
fn directory_is_made_with_its_mode_whatever_the_umask() {
    let outcome = run(
        |container| {
            container.push(&Op::Directory { path: c"/a/b/c", mode: 0o777 });
        },
        "stat -c %a /a /a/b/c",
    );
    assert_eq!(outcome.output, "777\n777\n");
    let flags = mount_flags::NO_SYMLINKS;
    let outcome = run(
        |container| {
            mount(container, c"/a/b", c"tmpfs", &["mode=700"], 0, flags);
        },
        "stat -c %a /a /a/b",
    );
    assert_eq!(outcome.output, "755\n700\n");
}

#[test]
fn devices_go_to_what_is_on_dev_last() {
    let outcome = run(
        |container| {
            mount(container, c"/dev", c"tmpfs", &["mode=755"], 0, 0);
            device(container, c"/dev/null");
            // Another mount, on another spelling of the same place.
            mount(container, c"/dev/../dev", c"tmpfs", &["mode=711"], 0, 0);
            device(container, c"/dev/null");
            mount(container, c"/dev/sub", c"tmpfs", &["mode=700"], 0, 0);
        },
        "stat -c %a /dev /dev/null /dev/sub",
    );
    assert_eq!(outcome.output, "711\n666\n700\n");
}
