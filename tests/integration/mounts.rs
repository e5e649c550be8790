//! `/mounts`: their order, targets, sources and file systems. The option words are in `mount_options.rs`.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use serde_json::{Value, json};

use crate::bundle::{Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Root};
use crate::inside::{Mount, bind, mount_at, mountinfo, refusal, sh, tmpfs};
use crate::runtime::Runtime;

const LOSES_MODE: &str = "1.8 leaves it to tmpfs, 1777; runc and later crun take the directory's";
const FORCES_MODE: &str = "1.1 lets the directory's mode win over the option; later ones do not";
const LOSES_SETGID: &str = "1.1 makes directories anew with 9 bits of their mode";
const NO_TMPFS_CHECK: &str = "1.1 checks binds only; 1.2 and later every mount";
const NO_PROC_CHECK: &str =
    "1.8 lets any mount come over /proc; runc is the judge (CVE-2019-16884)";

table! {
    targets_are_made_in_the_order_of_the_array: [Root],
    later_mount_covers_an_earlier_one: [Root],
    missing_target_is_made_as_the_source_is: [Root],
    target_that_exists_is_used_as_it_is: [Root],
    relative_target_counts_from_the_root: [Root],
    target_with_the_path_of_the_root_is_in_the_root: [Root, NotOn("crun", "takes it for one in the container"), NotOn("runc", "1.1 takes the path of the root away from it")],
    target_that_is_the_root_is_refused: [Root, NotOn("crun", "has it as a feature; runc refuses it, and so do we")],
    missing_bind_source_is_refused: [Root],
    relative_bind_source_counts_from_the_bundle: [Root],
    bind_of_a_file_on_a_directory_is_refused: [Root],
    bind_without_a_type_is_a_bind: [Root],
    bind_of_a_symlink_is_of_what_it_means: [Root],
    options_that_are_null_or_absent_are_none: [Root],
    unknown_file_system_is_refused: [Root],
    data_longer_than_fsconfig_takes_reaches_the_file_system: [Root],
    file_systems_of_the_kernel_are_those_of_the_container: [Root],
    tmpfs_takes_the_mode_of_the_directory: [Root, NotOn("crun", LOSES_MODE)],
    tmpfs_mode_option_wins: [Root, NotOn("runc", FORCES_MODE)],
    tmpcopyup_brings_what_the_image_has: [Root],
    tmpcopyup_brings_setgid: [Root, NotOn("runc", LOSES_SETGID)],
    files_that_lxcfs_makes_may_cover_those_of_proc: [Root],
    other_binds_over_proc_are_refused: [Root, NotOn("crun", NO_PROC_CHECK)],
    tmpfs_over_proc_is_refused: [Root, NotOn("crun", NO_PROC_CHECK), NotOn("runc", NO_TMPFS_CHECK)],
}

fn targets_are_made_in_the_order_of_the_array(runtime: &Runtime) -> TestResult {
    let targets = ["/a", "/a/b", "/c/d", "/c", "/a/b/e"];
    let mounts = mountinfo(runtime, |config| {
        targets.iter().for_each(|target| tmpfs(config, target, &[]));
    })?;
    let own = |mount: &&Mount| targets.contains(&mount.target.as_str());
    let order: Vec<_> = mounts.iter().filter(own).map(|mount| mount.target.as_str()).collect();
    ensure_eq!(order, targets);
    Ok(())
}

fn target_with_the_path_of_the_root_is_in_the_root(runtime: &Runtime) -> TestResult {
    let mut bundle = runtime.bundle(&["ls", "/"])?;
    let target = bundle.in_rootfs("inside").display().to_string();
    bundle.edit(|config| tmpfs(config, &target, &[]))?;
    let listed = runtime.run(&bundle)?.ok()?.stdout;
    ensure!(listed.lines().any(|name| name == "inside"), "not there: {listed}");
    Ok(())
}

fn later_mount_covers_an_earlier_one(runtime: &Runtime) -> TestResult {
    sh(runtime, "[ ! -e /c/d ] && ls /e/f", |config| {
        ["/c/d", "/c", "/e", "/e/f"].iter().for_each(|target| tmpfs(config, target, &[]));
    })?;
    Ok(())
}

fn missing_target_is_made_as_the_source_is(runtime: &Runtime) -> TestResult {
    let script = "cat /no/file; stat -c '%n %F %a' /no /no/dir /no/other; ls /no/dir";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        bind(config, "/no/file", "/proc/sys/kernel/ostype", &["bind"]);
        bind(config, "/no/dir", "/proc/sys/fs/mqueue", &["bind"]);
        tmpfs(config, "/no/other", &["mode=711"]);
    })?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure!(
        seen.starts_with(
            "Linux\n/no directory 755\n/no/dir directory 555\n/no/other directory 711\n"
        ),
        "{seen}"
    );
    ensure!(seen.contains("msg_max"), "{seen}");
    let made = bundle.in_rootfs("no/file").metadata()?;
    ensure!(made.is_file() && made.len() == 0, "not an empty file: {made:?}");
    ensure!(bundle.in_rootfs("no/dir").is_dir(), "not a directory");
    Ok(())
}

fn target_that_exists_is_used_as_it_is(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/etc/hosts"], |config| {
        bind(config, "/etc/hosts", "/proc/sys/kernel/ostype", &["bind", "ro"]);
    })?;
    fs::write(bundle.in_rootfs("etc/hosts"), "of the image")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "Linux\n");
    ensure_eq!(fs::read_to_string(bundle.in_rootfs("etc/hosts"))?, "of the image");
    Ok(())
}

fn relative_target_counts_from_the_root(runtime: &Runtime) -> TestResult {
    // config.md: deprecated, but "an absolute path" only SHOULD.
    let mounts = mountinfo(runtime, |config| {
        config["process"]["cwd"] = json!("/tmp");
        tmpfs(config, "some/where", &[]);
    })?;
    mount_at(&mounts, "/some/where")?;
    Ok(())
}

fn target_that_is_the_root_is_refused(runtime: &Runtime) -> TestResult {
    for target in ["/", "/etc/..", "/../.."] {
        refusal(runtime, |config| tmpfs(config, target, &[]))?;
    }
    Ok(())
}

fn missing_bind_source_is_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| bind(config, "/t", "/no/such/source", &["rbind"]))?;
    ensure!(outcome.stderr.contains("/no/such/source"), "the source is not named: {outcome}");
    // What Docker and Podman look for.
    let text = outcome.stderr.to_lowercase();
    ensure!(text.contains("no such file or directory"), "another text: {outcome}");
    Ok(())
}

fn relative_bind_source_counts_from_the_bundle(runtime: &Runtime) -> TestResult {
    let bundle = runtime
        .bundle_with(&["cat", "/f"], |config| bind(config, "/f", "beside/file", &["bind"]))?;
    fs::create_dir(bundle.path().join("beside"))?;
    fs::write(bundle.path().join("beside/file"), "beside\n")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "beside\n");
    Ok(())
}

fn bind_of_a_file_on_a_directory_is_refused(runtime: &Runtime) -> TestResult {
    // Docker adds a hint about mounts when it finds this text.
    let outcome = refusal(runtime, |config| bind(config, "/etc", "/proc/version", &["bind"]))?;
    ensure!(outcome.stderr.to_lowercase().contains("not a directory"), "another text: {outcome}");
    let outcome = refusal(runtime, |config| bind(config, "/etc/passwd", "/proc", &["bind"]))?;
    ensure!(outcome.stderr.to_lowercase().contains("not a directory"), "another text: {outcome}");
    Ok(())
}

fn bind_without_a_type_is_a_bind(runtime: &Runtime) -> TestResult {
    for kind in [Value::Null, json!(""), json!("none"), json!("bind"), json!("ext4")] {
        let seen = sh(runtime, "cat /etc/bound", |config| {
            let source = "/proc/sys/kernel/ostype";
            let mount = json!({ "destination": "/etc/bound", "type": kind, "source": source, "options": ["rbind", "ro"] });
            add(config, "/mounts", mount);
        })?;
        ensure_eq!(seen, "Linux\n");
    }
    Ok(())
}

fn bind_of_a_symlink_is_of_what_it_means(runtime: &Runtime) -> TestResult {
    let source = runtime.directory().join("link");
    symlink("/proc/sys/kernel/ostype", &source)?;
    let seen =
        sh(runtime, "cat /f; stat -c %F /f", |config| bind(config, "/f", &source, &["bind"]))?;
    ensure_eq!(seen, "Linux\nregular empty file\n");
    Ok(())
}

fn options_that_are_null_or_absent_are_none(runtime: &Runtime) -> TestResult {
    let mounts = mountinfo(runtime, |config| {
        add(
            config,
            "/mounts",
            json!({ "destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": Value::Null }),
        );
        add(config, "/mounts", json!({ "destination": "/b", "type": "tmpfs", "options": [] }));
        add(config, "/mounts", json!({ "destination": "/c", "type": "tmpfs", "source": "a-name" }));
    })?;
    ensure_eq!(mount_at(&mounts, "/a")?.fstype, "tmpfs");
    ensure_eq!(mount_at(&mounts, "/b")?.fstype, "tmpfs");
    ensure_eq!(mount_at(&mounts, "/c")?.source, "a-name");
    Ok(())
}

fn unknown_file_system_is_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| {
        add(config, "/mounts", json!({ "destination": "/t", "type": "nosuchfs", "source": "x" }));
    })?;
    ensure!(!runtime.is("corten") || outcome.stderr.contains("/mounts/7"), "no pointer: {outcome}");
    Ok(())
}

fn data_longer_than_fsconfig_takes_reaches_the_file_system(runtime: &Runtime) -> TestResult {
    // fsconfig(2) takes 255 bytes; Docker's overlays have more.
    let layer = |n| runtime.directory().join(format!("layer-with-a-long-name-{n:020}"));
    let layers: Vec<_> = (0..12).map(layer).collect();
    for (index, layer) in layers.iter().enumerate() {
        fs::create_dir(layer)?;
        fs::write(layer.join(format!("file{index}")), "")?;
    }
    let lower = layers.iter().map(|layer| layer.to_string_lossy()).collect::<Vec<_>>().join(":");
    ensure!(lower.len() > 256, "too short to show anything");
    let seen = sh(
        runtime,
        "ls /o | wc -l; grep -c ' /o .* - overlay ' /proc/self/mountinfo",
        |config| {
            let options = [format!("lowerdir={lower}"), "ro".to_owned()];
            add(
                config,
                "/mounts",
                json!({ "destination": "/o", "type": "overlay", "source": "overlay", "options": options }),
            );
        },
    )?;
    ensure_eq!(seen, "12\n1\n");
    Ok(())
}

fn file_systems_of_the_kernel_are_those_of_the_container(runtime: &Runtime) -> TestResult {
    let mounts = mountinfo(runtime, |_| {})?;
    for (target, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "cgroup2"),
    ] {
        ensure_eq!(mount_at(&mounts, target)?.fstype, kind);
    }
    let pts = mount_at(&mounts, "/dev/pts")?;
    let as_asked = pts.has("nosuid") && pts.has("noexec") && pts.superblock_has("gid=5");
    ensure!(as_asked, "devpts: {pts:?}");
    let seen = sh(runtime, "ls /dev/pts /dev/mqueue /dev/shm; cd /proc; echo [0-9]*", |_| {})?;
    ensure_eq!(seen, "/dev/mqueue:\n\n/dev/pts:\nptmx\n\n/dev/shm:\n1\n");
    Ok(())
}

/// A bundle that prints the mode of a tmpfs over a directory of mode 1770.
fn tmpfs_over_a_directory(
    runtime: &Runtime,
    options: &[&str],
) -> Result<Bundle, libtest_mimic::Failed> {
    let bundle =
        runtime.bundle_with(&["stat", "-c", "%a", "/t"], |config| tmpfs(config, "/t", options))?;
    fs::create_dir(bundle.in_rootfs("t"))?;
    fs::set_permissions(bundle.in_rootfs("t"), fs::Permissions::from_mode(0o1770))?;
    Ok(bundle)
}

fn tmpfs_takes_the_mode_of_the_directory(runtime: &Runtime) -> TestResult {
    let bundle = tmpfs_over_a_directory(runtime, &["nosuid"])?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "1770\n");
    Ok(())
}

fn tmpfs_mode_option_wins(runtime: &Runtime) -> TestResult {
    let bundle = tmpfs_over_a_directory(runtime, &["nosuid", "mode=0701"])?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "701\n");
    Ok(())
}

fn tmpcopyup_brings_what_the_image_has(runtime: &Runtime) -> TestResult {
    let script = "cd /etc/data; stat -c '%n %a %u:%g %F' file sub sub/inner link; cat sub/inner; readlink link; touch new";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        tmpfs(config, "/etc/data", &["tmpcopyup", "nosuid", "size=1m"]);
    })?;
    let data = bundle.in_rootfs("etc/data");
    fs::create_dir_all(data.join("sub"))?;
    fs::write(data.join("file"), "of the image")?;
    fs::write(data.join("sub/inner"), "inner\n")?;
    fs::set_permissions(data.join("sub"), fs::Permissions::from_mode(0o711))?;
    fs::set_permissions(data.join("file"), fs::Permissions::from_mode(0o640))?;
    chown(data.join("file"), Some(12), Some(34))?;
    symlink("/no/where", data.join("link"))?;
    let expected = "file 640 12:34 regular file\nsub 711 0:0 directory\nsub/inner 644 0:0 regular file\n\
        link 777 0:0 symbolic link\ninner\n/no/where\n";
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, expected);
    ensure!(!data.join("new").exists(), "the container wrote to the image");
    Ok(())
}

fn tmpcopyup_brings_setgid(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["stat", "-c", "%a", "/etc/data/sub"], |config| {
        tmpfs(config, "/etc/data", &["tmpcopyup"]);
    })?;
    fs::create_dir_all(bundle.in_rootfs("etc/data/sub"))?;
    let mode = fs::Permissions::from_mode(0o2755);
    fs::set_permissions(bundle.in_rootfs("etc/data/sub"), mode)?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "2755\n");
    Ok(())
}

fn files_that_lxcfs_makes_may_cover_those_of_proc(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("lxcfs");
    fs::write(&file, "lxcfs\n")?;
    for name in ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg"] {
        let target = format!("/proc/{name}");
        let seen = sh(runtime, &format!("cat {target}"), |config| {
            bind(config, &target, &file, &["bind", "ro"]);
        })?;
        ensure_eq!(seen, "lxcfs\n");
    }
    Ok(())
}

fn other_binds_over_proc_are_refused(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("file");
    fs::write(&file, "false\n")?;
    for target in [
        "/proc/version",
        "/proc/sys/kernel/hostname",
        "/proc/self/attr/exec",
        "/proc/../proc/version",
    ] {
        let outcome = refusal(runtime, |config| bind(config, target, &file, &["bind"]))?;
        ensure!(outcome.stderr.contains("/proc"), "the target is not named: {outcome}");
    }
    refusal(runtime, |config| bind(config, "/proc", runtime.directory(), &["rbind"]))?;
    Ok(())
}

fn tmpfs_over_proc_is_refused(runtime: &Runtime) -> TestResult {
    for target in ["/proc", "/proc/sys", "/proc/self"] {
        refusal(runtime, |config| tmpfs(config, target, &[]))?;
    }
    Ok(())
}
