//! The root file system: read-only, masked and read-only paths, propagation, `--no-pivot`, the cgroup mount.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::bundle::{self, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, NotOn, PureCgroup2, Root};
use crate::inside::{bind, mount_at, mounts, proc_file, refusal, sh, tmpfs};
use crate::outside::HostMount;
use crate::runtime::Runtime;

const SKIPS_MASKS: &str =
    "1.8 leaves out a mask that it cannot look up; runc refuses, security.md: never skipped";

table! {
    readonly_root_cannot_be_written: [Root],
    readonly_root_leaves_mounts_writable: [Root],
    readonly_root_gets_its_mount_targets_and_cwd: [Root],
    writable_root_keeps_what_is_written: [Root],
    root_path_may_be_absolute: [Root],
    root_path_that_is_no_directory_is_refused: [Root],
    root_has_nothing_of_the_host: [Root],
    program_by_a_descriptor_of_init_is_not_the_hosts: [Root],
    no_pivot_has_the_same_root: [Root],
    masked_file_is_empty_and_cannot_be_written: [Root],
    masked_directory_is_empty_and_cannot_be_written: [Root],
    masked_path_that_is_missing_is_left_out: [Root],
    masked_path_below_a_file_is_not_skipped: [Root, NotOn("crun", SKIPS_MASKS)],
    masked_symlink_masks_what_it_means: [Root],
    masked_paths_may_be_many: [Root],
    readonly_paths_cannot_be_written: [Root],
    readonly_path_that_is_missing_is_left_out: [Root],
    rootfs_propagation_is_that_of_the_root: [Root],
    rootfs_propagation_leaves_the_hosts_mounts: [Root],
    unknown_rootfs_propagation_is_refused: [Root, NotOn("crun", "ignores it; runc refuses, config-linux.md has four values")],
    host_mounts_reach_only_a_slave: [Root],
    container_mounts_are_not_on_the_host: [Root],
    cgroup_mount_shows_the_containers_cgroup: [Root, PureCgroup2],
    cgroup_mount_without_a_cgroup_namespace_is_not_writable_as_ro: [Root, PureCgroup2],
    masks_without_a_mount_namespace_are_refused: [Root, Corten("else they would be the host's mounts, as with runc")],
}

fn readonly(config: &mut Value) {
    config["root"]["readonly"] = json!(true);
}

fn readonly_root_cannot_be_written(runtime: &Runtime) -> TestResult {
    let script = "touch /new 2>&1; echo x 2>&1 >>/etc/passwd; rm /bin/ls 2>&1; grep -c ' / / ro\\|/rootfs / ro' /proc/self/mountinfo";
    let seen = sh(runtime, script, readonly)?;
    ensure_eq!(seen.matches("Read-only file system").count(), 3);
    ensure!(seen.ends_with("\n1\n"), "the root mount is not ro: {seen}");
    Ok(())
}

fn readonly_root_leaves_mounts_writable(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "touch /t/new /dev/shm/new && ls /t /dev/shm", |config| {
        readonly(config);
        tmpfs(config, "/t", &[]);
    })?;
    ensure_eq!(seen, "/dev/shm:\nnew\n\n/t:\nnew\n");
    Ok(())
}

fn readonly_root_gets_its_mount_targets_and_cwd(runtime: &Runtime) -> TestResult {
    let seen = sh(runtime, "pwd; [ -d /new/target ] && echo made", |config| {
        readonly(config);
        config["process"]["cwd"] = json!("/new/cwd");
        tmpfs(config, "/new/target", &[]);
    })?;
    ensure_eq!(seen, "/new/cwd\nmade\n");
    Ok(())
}

fn writable_root_keeps_what_is_written(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle(&["sh", "-c", "echo kept >/etc/new"])?;
    runtime.run(&bundle)?.ok()?;
    ensure_eq!(fs::read_to_string(bundle.in_rootfs("etc/new"))?, "kept\n");
    Ok(())
}

fn root_path_may_be_absolute(runtime: &Runtime) -> TestResult {
    let other = runtime.bundle(&["true"])?;
    fs::write(other.in_rootfs("which"), "other\n")?;
    let seen =
        sh(runtime, "cat /which", |config| config["root"]["path"] = json!(other.in_rootfs("")))?;
    ensure_eq!(seen, "other\n");
    Ok(())
}

fn root_path_that_is_no_directory_is_refused(runtime: &Runtime) -> TestResult {
    let file = runtime.directory().join("file");
    fs::write(&file, "")?;
    for path in [json!("/no/such/root"), json!("missing"), json!(file)] {
        let outcome = refusal(runtime, |config| config["root"]["path"] = path.clone())?;
        let named = outcome.stderr.contains(path.as_str().unwrap_or_default());
        ensure!(named || !runtime.is("corten"), "the path is not named: {outcome}");
    }
    Ok(())
}

/// Prints the names in `/`, how many mounts are outside of the known ones, and whether the host's directory is there.
fn look_around(runtime: &Runtime) -> String {
    format!(
        "echo /*; cut -d' ' -f5 /proc/self/mountinfo | grep -v '^/$\\|^/proc\\|^/dev\\|^/sys' | wc -l; ls {} 2>&1 || true",
        runtime.directory().display()
    )
}

fn check_around(seen: &str) -> TestResult {
    ensure!(
        seen.starts_with("/bin /dev /etc /home /proc /root /run /sys /tmp /usr /var\n0\nls:"),
        "more than the image: {seen}"
    );
    Ok(())
}

fn root_has_nothing_of_the_host(runtime: &Runtime) -> TestResult {
    check_around(&sh(runtime, &look_around(runtime), |_| {})?)
}

/// CVE-2024-21626: what leads out of the root is closed before the path of the program is looked up.
fn program_by_a_descriptor_of_init_is_not_the_hosts(runtime: &Runtime) -> TestResult {
    let program = runtime.directory().join("echo");
    bundle::copy_busybox(&program)?;
    let up = "../".repeat(16);
    for word in ["", "shared", "slave"] {
        for number in 3..=12 {
            let path = format!("/proc/self/fd/{number}/{up}{}", program.display());
            let bundle = runtime.bundle_with(&[&path, "of the host"], |config| {
                config["linux"]["rootfsPropagation"] = json!(word);
            })?;
            let outcome = runtime.run(&bundle)?;
            ensure!(!outcome.stdout.contains("of the host"), "{word:?}, {number}: {outcome}");
        }
    }
    Ok(())
}

fn no_pivot_has_the_same_root(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["sh", "-c", &look_around(runtime)], |config| {
        // The way out of a chroot: only what --no-pivot does with the old root stands before it.
        let all = json!(["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]);
        config["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all });
    })?;
    let run = runtime.command(["run", "--no-pivot", "--bundle"]).arg(bundle.path());
    check_around(&run.arg(runtime.new_id()).output()?.ok()?.stdout)
}

fn masked_file_is_empty_and_cannot_be_written(runtime: &Runtime) -> TestResult {
    let script = "cat /etc/secret; stat -c '%F %t:%T' /etc/secret; rm /etc/secret 2>/dev/null || echo kept; \
        mv /etc/secret /x 2>/dev/null || echo kept";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        add(config, "/linux/maskedPaths", json!("/etc/secret"));
    })?;
    fs::write(bundle.in_rootfs("etc/secret"), "secret")?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "character special file 1:3\nkept\nkept\n");
    ensure_eq!(fs::read_to_string(bundle.in_rootfs("etc/secret"))?, "secret");
    Ok(())
}

fn masked_directory_is_empty_and_cannot_be_written(runtime: &Runtime) -> TestResult {
    let script = "ls -A /etc/secret /root/secret; touch /etc/secret/new 2>&1; mkdir /root/secret/new 2>&1; grep -c '/secret ro' /proc/self/mountinfo";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        add(config, "/linux/maskedPaths", json!("/etc/secret"));
        add(config, "/linux/maskedPaths", json!("/root/secret"));
    })?;
    for directory in ["etc/secret", "root/secret"] {
        fs::create_dir(bundle.in_rootfs(directory))?;
        fs::write(bundle.in_rootfs(directory).join("inner"), "secret")?;
    }
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure!(seen.starts_with("/etc/secret:\n\n/root/secret:\n"), "not empty: {seen}");
    ensure_eq!(seen.matches("Read-only file system").count(), 2);
    ensure!(seen.ends_with("\n2\n"), "not read-only: {seen}");
    Ok(())
}

fn masked_path_that_is_missing_is_left_out(runtime: &Runtime) -> TestResult {
    sh(runtime, "[ ! -e /no ]", |config| {
        add(config, "/linux/maskedPaths", json!("/no/such/path"));
        add(config, "/linux/maskedPaths", json!("/no"));
    })?;
    Ok(())
}

fn masked_path_below_a_file_is_not_skipped(runtime: &Runtime) -> TestResult {
    refusal(runtime, |config| add(config, "/linux/maskedPaths", json!("/etc/passwd/below")))?;
    Ok(())
}

fn masked_symlink_masks_what_it_means(runtime: &Runtime) -> TestResult {
    let script = "cat /etc/link /etc/secret; echo end";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        add(config, "/linux/maskedPaths", json!("/etc/link"));
    })?;
    fs::write(bundle.in_rootfs("etc/secret"), "secret")?;
    symlink("/etc/secret", bundle.in_rootfs("etc/link"))?;
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "end\n");
    Ok(())
}

fn masked_paths_may_be_many(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(
        &["sh", "-c", "cd /m; cat f*; ls d*/ | grep in; grep -c ' /m/' /proc/self/mountinfo"],
        |config| {
            for number in 0..250 {
                add(config, "/linux/maskedPaths", json!(format!("/m/f{number}")));
                add(config, "/linux/maskedPaths", json!(format!("/m/d{number}")));
            }
        },
    )?;
    fs::create_dir(bundle.in_rootfs("m"))?;
    for number in 0..250 {
        fs::write(bundle.in_rootfs(&format!("m/f{number}")), "secret")?;
        fs::create_dir_all(bundle.in_rootfs(&format!("m/d{number}/inner")))?;
    }
    ensure_eq!(runtime.run(&bundle)?.ok()?.stdout, "500\n");
    Ok(())
}

fn readonly_paths_cannot_be_written(runtime: &Runtime) -> TestResult {
    let script = "echo x 2>&1 >/etc/conf; touch /etc/dir/new 2>&1; cat /etc/conf /etc/dir/inner; echo x >/etc/other && cat /etc/other";
    let bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        add(config, "/linux/readonlyPaths", json!("/etc/conf"));
        add(config, "/linux/readonlyPaths", json!("/etc/dir"));
    })?;
    fs::create_dir(bundle.in_rootfs("etc/dir"))?;
    fs::write(bundle.in_rootfs("etc/dir/inner"), "inner\n")?;
    fs::write(bundle.in_rootfs("etc/conf"), "conf\n")?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.matches("Read-only file system").count(), 2);
    ensure!(seen.ends_with("conf\ninner\nx\n"), "{seen}");
    Ok(())
}

fn readonly_path_that_is_missing_is_left_out(runtime: &Runtime) -> TestResult {
    sh(runtime, "[ ! -e /no ]", |config| {
        add(config, "/linux/readonlyPaths", json!("/no/such/path"));
    })?;
    Ok(())
}

/// rootfsPropagation, and what that of `/` may be when the bundle is on a shared mount of the host. Whether a slave or a
/// shared root has the host's as its master depends on which mount the runtime has changed before it made its own.
const PROPAGATIONS: &[(&str, &[&str])] = &[
    ("", &["private", "master"]),
    ("private", &["private"]),
    ("rprivate", &["private"]),
    ("slave", &["private", "master"]),
    ("rslave", &["private", "master"]),
    ("shared", &["shared", "shared+master"]),
    ("rshared", &["shared", "shared+master"]),
    ("unbindable", &["unbindable"]),
];

fn rootfs_propagation_is_that_of_the_root(runtime: &Runtime) -> TestResult {
    for (word, kinds) in PROPAGATIONS {
        if runtime.is("runc") && !kinds.contains(&"private") {
            // 1.1 makes it private after all; runc 1.2 and later set it again after pivot.
            continue;
        }
        let bundle = runtime.bundle_with(&["cat", "/proc/self/mountinfo"], |config| {
            config["linux"]["rootfsPropagation"] = json!(word);
        })?;
        let shared = HostMount::on_itself(bundle.path().to_owned())?;
        shared.change(MsFlags::MS_SHARED)?;
        let seen = mounts(&runtime.run(&bundle)?.ok()?.stdout);
        let found = mount_at(&seen, "/")?.propagates();
        ensure!(kinds.contains(&found.as_str()), "rootfsPropagation {word:?} gives {found}");
    }
    Ok(())
}

fn marked_host_mounts(runtime: &Runtime) -> std::io::Result<Vec<String>> {
    let all = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(all.lines().filter(|line| line.contains(runtime.marker())).map(str::to_owned).collect())
}

fn rootfs_propagation_leaves_the_hosts_mounts(runtime: &Runtime) -> TestResult {
    for (word, _) in PROPAGATIONS {
        let id = runtime.new_id();
        let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
            config["linux"]["rootfsPropagation"] = json!(word);
            tmpfs(config, "/t", &["rshared"]);
        })?;
        let shared = HostMount::on_itself(bundle.path().to_owned())?;
        shared.change(MsFlags::MS_SHARED)?;
        let before = marked_host_mounts(runtime)?;
        runtime.create(&bundle, &id)?.ok()?;
        ensure_eq!(marked_host_mounts(runtime)?, before);
        runtime.start(&id)?.ok()?;
        ensure_eq!(marked_host_mounts(runtime)?, before);
        runtime.delete_force(&id)?.ok()?;
        ensure_eq!(marked_host_mounts(runtime)?, before);
    }
    Ok(())
}

fn unknown_rootfs_propagation_is_refused(runtime: &Runtime) -> TestResult {
    refusal(runtime, |config| config["linux"]["rootfsPropagation"] = json!("sideways"))?;
    Ok(())
}

fn host_mounts_reach_only_a_slave(runtime: &Runtime) -> TestResult {
    for (word, reaches) in [("rslave", true), ("rprivate", false)] {
        let source = HostMount::tmpfs(runtime.directory().join(word), MsFlags::empty())?;
        source.change(MsFlags::MS_SHARED)?;
        let id = runtime.new_id();
        let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
            // As Docker and Podman have it for volumes with propagation.
            config["linux"]["rootfsPropagation"] = json!("rslave");
            bind(config, "/v", source.path(), &["rbind", word]);
        })?;
        runtime.create(&bundle, &id)?.ok()?;
        runtime.start(&id)?.ok()?;
        let later = HostMount::tmpfs(source.path().join("later"), MsFlags::empty())?;
        let seen = mounts(&proc_file(runtime.pid(&id)?, "mountinfo")?);
        ensure_eq!((word, mount_at(&seen, "/v/later").is_ok()), (word, reaches));
        drop(later);
        runtime.delete_force(&id)?.ok()?;
    }
    Ok(())
}

fn container_mounts_are_not_on_the_host(runtime: &Runtime) -> TestResult {
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(
        &["sh", "-c", "mount -t tmpfs tmpfs /tmp && echo mounted; sleep 1000"],
        |config| {
            let all = json!(["CAP_SYS_ADMIN"]);
            config["process"]["capabilities"] =
                json!({ "bounding": all, "effective": all, "permitted": all });
        },
    )?;
    let created = runtime.create(&bundle, &id)?.ok()?;
    ensure_eq!(marked_host_mounts(runtime)?, Vec::<String>::new());
    runtime.start(&id)?.ok()?;
    runtime.wait_until("the mount", || Ok(created.stdout_now() == "mounted\n"))?;
    ensure_eq!(marked_host_mounts(runtime)?, Vec::<String>::new());
    Ok(())
}

fn cgroup_mount_shows_the_containers_cgroup(runtime: &Runtime) -> TestResult {
    // The root of the hierarchy has no cgroup.events: what is mounted is a cgroup below it.
    let script = "cd /sys/fs/cgroup; [ -e cgroup.events ] || echo root; cat cgroup.procs; cat /proc/self/cgroup; mkdir new 2>&1";
    let seen = sh(runtime, script, |_| {});
    let seen = match seen {
        Ok(seen) => seen,
        // mkdir has failed, as it should.
        Err(failed) => failed.message().unwrap_or_default().to_owned(),
    };
    ensure!(seen.contains("1\n") && seen.contains("0::/\n"), "not the container's: {seen}");
    ensure!(!seen.contains("root\n"), "the root of the hierarchy: {seen}");
    ensure!(seen.contains("Read-only file system"), "ro is not read-only: {seen}");
    let made = sh(
        runtime,
        "mkdir /sys/fs/cgroup/new && rmdir /sys/fs/cgroup/new && echo made",
        |config| {
            bundle::remove(config, "/mounts", "type", "cgroup");
            let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "nosuid"] });
            add(config, "/mounts", mount);
        },
    )?;
    ensure_eq!(made, "made\n");
    Ok(())
}

fn cgroup_mount_without_a_cgroup_namespace_is_not_writable_as_ro(runtime: &Runtime) -> TestResult {
    let seen = sh(
        runtime,
        "ls /sys/fs/cgroup | grep -c cgroup.procs; mkdir /sys/fs/cgroup/new 2>&1; true",
        |config| {
            bundle::remove(config, "/linux/namespaces", "type", "cgroup");
        },
    )?;
    ensure!(seen.starts_with("1\n") && seen.contains("Read-only file system"), "{seen}");
    Ok(())
}

fn masks_without_a_mount_namespace_are_refused(runtime: &Runtime) -> TestResult {
    let outcome = refusal(runtime, |config| {
        bundle::remove(config, "/linux/namespaces", "type", "mount");
        config["mounts"] = json!([]);
    })?;
    ensure!(outcome.stderr.contains("/linux/maskedPaths"), "no pointer: {outcome}");
    Ok(())
}
