//! Images that try to reach out of their root file system: symlinks, `..`, nodes of their own in place of what is mounted.
//!
//! Each test states the property; nothing outside may change, whatever the runtime answers.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use crate::bundle::{self, Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{NotOn, Root};
use crate::inside::{bind, nothing_left, refusal, sh, tmpfs};
use crate::outside::{Outside, with_link};
use crate::runtime::{Outcome, Runtime};

const FOLLOWS_DEV: &str = "1.8 fills what /dev points to on the host (CVE-2026-47766)";
const NO_DIRECTORIES: &str = "1.8 makes no directories behind a symlink; runc does";
const LINKS_IN_DEV: &str =
    "1.1 makes symlinks where /dev points to (CVE-2026-41579, fixed in 1.3.6)";
const LEAKS_CWD: &str = "1.8 has CVE-2024-21626";
const KEEPS_CGROUPS: &str = "leaves the cgroups above that of cgroupsPath behind";
const TAKES_NODES: &str = "the old version takes whatever is there for the device it should make";
const NO_SYMLINK_CHECK: &str =
    "1.8 mounts proc where the link leads; runc refuses (CVE-2019-19921)";
const OPENS_FIFOS: &str = "opens /etc/passwd without O_NONBLOCK: waits for ever";
const FOLLOWS_CGROUP_PATH: &str = "makes directories on the host beside the hierarchy";
const BINDS_ITS_OWN_NULL: &str =
    "1.1.5 binds the image's /dev/null for masks (CVE-2025-31133, fixed in 1.2.8)";

table! {
    target_with_dotdot_stays_inside: [Root],
    target_through_a_symlink_stays_inside: [Root, NotOn("crun", NO_DIRECTORIES)],
    target_that_is_a_symlink_stays_inside: [Root],
    target_through_a_dangling_symlink_stays_inside: [Root],
    target_through_a_symlink_loop_is_refused: [Root],
    target_below_a_file_is_refused: [Root],
    target_that_is_a_fifo_does_not_hang: [Root],
    proc_that_is_a_symlink_is_refused: [Root, NotOn("crun", NO_SYMLINK_CHECK)],
    sys_that_is_a_symlink_is_refused: [Root, NotOn("crun", NO_SYMLINK_CHECK)],
    proc_that_is_a_file_is_refused: [Root],
    below_dev_symlinks_stay_inside: [Root],
    dev_that_is_a_symlink_stays_inside: [Root, NotOn("crun", FOLLOWS_DEV), NotOn("runc", LINKS_IN_DEV)],
    dev_that_is_a_symlink_below_a_mount_stays_inside:
        [Root, NotOn("crun", FOLLOWS_DEV), NotOn("runc", LINKS_IN_DEV)],
    device_path_through_a_symlink_stays_inside: [Root],
    device_node_of_another_kind_is_not_taken: [Root, NotOn("crun", TAKES_NODES), NotOn("runc", TAKES_NODES)],
    null_device_of_the_image_does_not_unmask: [Root, NotOn("runc", BINDS_ITS_OWN_NULL)],
    mask_and_readonly_path_through_a_symlink_stay_inside: [Root],
    cwd_through_a_symlink_stays_inside: [Root],
    cwd_by_an_inherited_descriptor_does_not_reach_the_host: [Root, NotOn("crun", LEAKS_CWD)],
    argument_by_an_inherited_descriptor_does_not_reach_the_host: [Root],
    tmpcopyup_does_not_follow_symlinks_out: [Root],
    cgroups_path_with_dotdot_stays_in_the_hierarchy:
        [Root, NotOn("crun", FOLLOWS_CGROUP_PATH), NotOn("runc", KEEPS_CGROUPS)],
    passwd_that_is_a_symlink_out_does_not_give_home: [Root],
    passwd_that_is_a_fifo_does_not_hang: [Root, NotOn("runc", OPENS_FIFOS), NotOn("crun", OPENS_FIFOS)],
    passwd_does_not_rename_ids: [Root],
    program_that_is_its_own_interpreter_does_not_run_the_runtime: [Root],
}

fn target_with_dotdot_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let target = format!("/etc/../../{}/new", outside.by_dotdot().display());
    let script =
        format!("ls -d {0}/new; grep -c ' {0}/new ' /proc/self/mountinfo", outside.path.display());
    let bundle =
        runtime.bundle_with(&["sh", "-c", &script], |config| tmpfs(config, &target, &[]))?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen, format!("{}/new\n1\n", outside.path.display()));
    outside.check()
}

fn target_through_a_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let source = runtime.directory().join("source");
    fs::write(&source, "bound\n")?;
    let outcomes = outside.attack(runtime, |target| {
        with_link(
            runtime,
            &["sh", "-c", "cat /link/file; ls -d /link/new/dir"],
            ("link", target),
            |config| {
                bind(config, "/link/file", &source, &["bind"]);
                tmpfs(config, "/link/new/dir", &[]);
            },
        )
    })?;
    for outcome in outcomes {
        ensure_eq!(outcome.ok()?.stdout, "bound\n/link/new/dir\n");
    }
    Ok(())
}

fn target_that_is_a_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let outcomes = outside.attack(runtime, |target| {
        let bundle = with_link(runtime, &["ls", "/link/"], ("link", target), |config| {
            tmpfs(config, "/link", &[]);
        })?;
        let inside = bundle.in_rootfs(&outside.path.to_string_lossy());
        fs::create_dir_all(&inside)?;
        fs::write(inside.join("of the image"), "")?;
        Ok(bundle)
    })?;
    for outcome in outcomes {
        // What the link means in the image is covered.
        ensure_eq!(outcome.ok()?.stdout, "");
    }
    Ok(())
}

fn target_through_a_dangling_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let missing = outside.path.join("missing");
    let bundle = with_link(runtime, &["true"], ("link", &missing), |config| {
        tmpfs(config, "/link/a/b", &[]);
    })?;
    // Whether it is made inside or refused is not the property.
    runtime.run(&bundle)?;
    outside.check()?;
    let bundle = with_link(runtime, &["true"], ("link", &missing), |config| {
        bind(config, "/link", "/proc/version", &["bind"]);
    })?;
    runtime.run(&bundle)?;
    outside.check()
}

fn target_through_a_symlink_loop_is_refused(runtime: &Runtime) -> TestResult {
    let bundle =
        with_link(runtime, &["true"], ("a", Path::new("b")), |config| tmpfs(config, "/a/c", &[]))?;
    symlink("a", bundle.in_rootfs("b"))?;
    let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
    let text = outcome.stderr.to_lowercase();
    ensure!(text.contains("symbolic links"), "another text: {outcome}");
    nothing_left(runtime)
}

fn target_below_a_file_is_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| tmpfs(config, "/etc/passwd/below", &[]))?;
    ensure!(outcome.stderr.to_lowercase().contains("not a directory"), "another text: {outcome}");
    Ok(())
}

fn target_that_is_a_fifo_does_not_hang(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["cat", "/fifo"], |config| {
        bind(config, "/fifo", "/proc/sys/kernel/ostype", &["bind"]);
    })?;
    mknodat(CWD, bundle.in_rootfs("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "Linux\n");
    Ok(())
}

fn refused_as_symlink(runtime: &Runtime, name: &str) -> TestResult {
    let outside = Outside::new(runtime)?;
    for target in [Path::new("tmp"), Path::new("/tmp"), &outside.path, &outside.by_dotdot()] {
        let bundle = with_link(runtime, &["true"], (name, target), |_| {})?;
        let outcome = runtime.create(&bundle, &runtime.new_id())?.fails()?;
        ensure!(outcome.stderr.contains(&format!("/{name}")), "the target is not named: {outcome}");
        outside.check()?;
        nothing_left(runtime)?;
    }
    Ok(())
}

fn proc_that_is_a_symlink_is_refused(runtime: &Runtime) -> TestResult {
    refused_as_symlink(runtime, "proc")
}

fn sys_that_is_a_symlink_is_refused(runtime: &Runtime) -> TestResult {
    refused_as_symlink(runtime, "sys")
}

fn proc_that_is_a_file_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["true"])?;
    fs::remove_dir(bundle.in_rootfs("proc"))?;
    fs::write(bundle.in_rootfs("proc"), "")?;
    runtime.create(&bundle, &runtime.new_id())?.fails()?;
    nothing_left(runtime)
}

fn below_dev_symlinks_stay_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    for name in ["pts", "shm", "mqueue", "fd", "stdin", "ptmx", "core", "null", "tty"] {
        outside.attack(runtime, |target| {
            let bundle = runtime.bundle_with(&["true"], |config| {
                bundle::remove(config, "/mounts", "destination", "/dev");
            })?;
            symlink(target, bundle.in_rootfs("dev").join(name))?;
            Ok(bundle)
        })?;
    }
    Ok(())
}

fn dev_that_is_a_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    outside.attack(runtime, |target| {
        let bundle = with_link(runtime, &["true"], ("dev", target), |config| {
            for mount in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                bundle::remove(config, "/mounts", "destination", mount);
            }
        })?;
        fs::create_dir_all(bundle.in_rootfs(&outside.path.to_string_lossy()))?;
        Ok(bundle)
    })?;
    Ok(())
}

fn dev_that_is_a_symlink_below_a_mount_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    outside.attack(runtime, |target| {
        let bundle = with_link(runtime, &["true"], ("dev", target), |_| {})?;
        fs::create_dir_all(bundle.in_rootfs(&outside.path.to_string_lossy()))?;
        Ok(bundle)
    })?;
    Ok(())
}

fn device_path_through_a_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    for path in ["/link/node", "/link/new/node", "/dev/../link/node"] {
        outside.attack(runtime, |target| {
            with_link(runtime, &["true"], ("link", target), |config| {
                add(
                    config,
                    "/linux/devices",
                    json!({ "path": path, "type": "c", "major": 1, "minor": 5 }),
                );
            })
        })?;
    }
    Ok(())
}

fn device_node_of_another_kind_is_not_taken(runtime: &Runtime) -> TestResult {
    let mode = Mode::from_raw_mode(0o666);
    for (kind, number) in [
        (FileType::CharacterDevice, makedev(1, 5)),
        (FileType::BlockDevice, makedev(7, 0)),
        (FileType::RegularFile, 0),
    ] {
        let bundle = runtime.bundle_with(&["stat", "-c", "%F %t:%T", "/dev/null"], |config| {
            bundle::remove(config, "/mounts", "destination", "/dev");
            config["linux"]["maskedPaths"] = json!([]);
        })?;
        mknodat(CWD, bundle.in_rootfs("dev/null"), kind, mode, number)?;
        let outcome = runtime.run(&bundle)?;
        let made = outcome.code() == 0 && outcome.stdout == "character special file 1:3\n";
        ensure!(made || outcome.code() == 1, "the image's node is /dev/null: {outcome}");
    }
    Ok(())
}

fn null_device_of_the_image_does_not_unmask(runtime: &Runtime) -> TestResult {
    type Make = fn(&Path) -> std::io::Result<()>;
    let images: [(&str, Make); 4] = [
        ("a link to the secret", |null| symlink("/etc/secret", null)),
        ("a link to a kernel file", |null| symlink("/proc/sys/kernel/core_pattern", null)),
        ("a file", |null| fs::write(null, "secret")),
        ("another device", |null| {
            Ok(mknodat(
                CWD,
                null,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                makedev(1, 5),
            )?)
        }),
    ];
    for (what, make) in images {
        let bundle = runtime.bundle_with(&["head", "-c", "9", "/etc/secret"], |config| {
            bundle::remove(config, "/mounts", "destination", "/dev");
            add(config, "/linux/maskedPaths", json!("/etc/secret"));
        })?;
        fs::write(bundle.in_rootfs("etc/secret"), "secret")?;
        make(&bundle.in_rootfs("dev/null"))?;
        let outcome = runtime.run(&bundle)?;
        ensure!(outcome.stdout.is_empty(), "{what} unmasks: {outcome}");
    }
    Ok(())
}

fn mask_and_readonly_path_through_a_symlink_stay_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    for property in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        outside.attack(runtime, |target| {
            with_link(runtime, &["true"], ("link", target), |config| {
                add(config, property, json!("/link/file"));
                add(config, property, json!("/link"));
            })
        })?;
    }
    Ok(())
}

fn cwd_through_a_symlink_stays_inside(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let outcomes = outside.attack(runtime, |target| {
        with_link(runtime, &["/bin/pwd"], ("link", target), |config| {
            config["process"]["cwd"] = json!("/link/new/cwd");
        })
    })?;
    for outcome in outcomes {
        let expected = format!("{}/new/cwd\n", outside.path.display());
        ensure!(outcome.code() != 0 || outcome.stdout == expected, "another directory: {outcome}");
    }
    Ok(())
}

/// Runs with descriptors of host directories open in the runtime, as CVE-2024-21626 had them.
fn run_with_leaked_directories(runtime: &Runtime, bundle: &Bundle) -> Result<Outcome, Failed> {
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    run.redirected("3</ 4</tmp 5</sys/fs/cgroup 6</proc 7</etc 8</").output()
}

fn cwd_by_an_inherited_descriptor_does_not_reach_the_host(runtime: &Runtime) -> TestResult {
    fs::write(runtime.directory().join("witness"), "")?;
    let witness = runtime.directory().join("witness");
    let witness = witness
        .strip_prefix("/")
        .map_err(|error| error.to_string())?
        .to_string_lossy()
        .into_owned();
    for number in 3..=12 {
        let script = format!("ls {witness} ../{witness} ../../{witness} 2>/dev/null; true");
        let bundle = runtime.bundle_with(&["sh", "-c", &script], |config| {
            config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        })?;
        let outcome = run_with_leaked_directories(runtime, &bundle)?;
        ensure!(!outcome.stdout.contains("witness"), "cwd {number} is the host's: {outcome}");
    }
    Ok(())
}

fn argument_by_an_inherited_descriptor_does_not_reach_the_host(runtime: &Runtime) -> TestResult {
    let busybox = runtime.directory().join("host-program");
    bundle::copy_busybox(&busybox)?;
    let busybox = busybox
        .strip_prefix("/")
        .map_err(|error| error.to_string())?
        .to_string_lossy()
        .into_owned();
    for number in [3, 8, 9, 10, 11, 12] {
        let program = format!("/proc/self/fd/{number}/{busybox}");
        let bundle = runtime.bundle(&[&program, "echo", "ran"])?;
        let outcome = run_with_leaked_directories(runtime, &bundle)?;
        ensure!(!outcome.stdout.contains("ran"), "a program of the host ran: {outcome}");
    }
    Ok(())
}

fn tmpcopyup_does_not_follow_symlinks_out(runtime: &Runtime) -> TestResult {
    let outside = Outside::new(runtime)?;
    let outcomes = outside.attack(runtime, |target| {
        let bundle = runtime.bundle_with(
            &["sh", "-c", "cat /etc/data/link/file; readlink /etc/data/link"],
            |config| {
                tmpfs(config, "/etc/data", &["tmpcopyup"]);
            },
        )?;
        fs::create_dir(bundle.in_rootfs("etc/data"))?;
        symlink(target, bundle.in_rootfs("etc/data/link"))?;
        Ok(bundle)
    })?;
    for outcome in outcomes {
        ensure!(!outcome.stdout.contains("of the host"), "the host's file was copied: {outcome}");
        ensure!(outcome.stdout.ends_with("outside\n"), "the link was not copied as one: {outcome}");
    }
    Ok(())
}

fn cgroups_path_with_dotdot_stays_in_the_hierarchy(runtime: &Runtime) -> TestResult {
    let outside = runtime.directory().join("not-a-cgroup");
    let up = "../".repeat(40);
    for path in [format!("/a/{up}{}", outside.display()), format!("{up}{}", outside.display())] {
        let bundle = runtime
            .bundle_with(&["true"], |config| config["linux"]["cgroupsPath"] = json!(path))?;
        let outcome = runtime.run(&bundle)?;
        ensure!(!outside.exists(), "a directory was made outside: {outcome}");
        ensure!(!runtime.is("corten") || outcome.code() == 1, "it was taken: {outcome}");
    }
    Ok(())
}

fn passwd_that_is_a_symlink_out_does_not_give_home(runtime: &Runtime) -> TestResult {
    let passwd = runtime.directory().join("passwd");
    fs::write(&passwd, "root:x:0:0:root:/of-the-host:/bin/sh\n")?;
    let bundle = with_link(runtime, &["sh", "-c", "echo $HOME"], ("etc/passwd", &passwd), |_| {})?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "/\n");
    Ok(())
}

fn passwd_that_is_a_fifo_does_not_hang(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "echo $HOME"])?;
    fs::remove_file(bundle.in_rootfs("etc/passwd"))?;
    mknodat(CWD, bundle.in_rootfs("etc/passwd"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    ensure_eq!(run.patience(Duration::from_secs(10)).output()?.ok()?.stdout, "/\n");
    Ok(())
}

fn passwd_does_not_rename_ids(runtime: &Runtime) -> TestResult {
    // CVE-2016-3697: a number taken for a name.
    let bundle = runtime
        .bundle_with(&["id", "-u"], |config| config["process"]["user"]["uid"] = json!(1000))?;
    fs::write(bundle.in_rootfs("etc/passwd"), "1000:x:0:0::/:/bin/sh\n")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "1000\n");
    Ok(())
}

fn program_that_is_its_own_interpreter_does_not_run_the_runtime(runtime: &Runtime) -> TestResult {
    // CVE-2019-5736: `#!/proc/self/exe` made the runtime the process of the container.
    let bundle = runtime.bundle(&["/attack", "--version"])?;
    fs::write(bundle.in_rootfs("attack"), "#!/proc/self/exe\n")?;
    fs::set_permissions(bundle.in_rootfs("attack"), fs::Permissions::from_mode(0o755))?;
    let before = fs::metadata(runtime.program())?;
    let outcome = runtime.run(&bundle)?;
    ensure!(
        outcome.code() != 0 && !outcome.stdout.contains("version"),
        "the runtime ran inside: {outcome}"
    );
    let after = fs::metadata(runtime.program())?;
    ensure_eq!((before.len(), before.modified()?), (after.len(), after.modified()?));
    sh(runtime, "true", |_| {})?;
    Ok(())
}
