//! A mount namespace of the root file system alone, which kernels from 7.0 on can make, against a copy of the host's mounts: a container
//! must not be able to tell which it has. A hook of create makes sure of the copy, and does nothing else.
//!
//! On older kernels both are copies. `cargo xtask test --all-in-vm --kernel linux-image-cloud-amd64/sid root_namespace` has a newer one.
//!
//! Runs in: any process.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use libtest_mimic::Failed;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::system::uname;
use serde_json::{Value, json};

use crate::bundle::{self, Bundle, add};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::hooks::{hook, unread};
use crate::host::Need::{Corten, NotMapped, Root, Strace};
use crate::inside::{bind, mount_at, mounts, namespace_of, proc_file, tmpfs};
use crate::outside::HostMount;
use crate::runtime::Runtime;

const PLAN: crate::host::Need = Corten("the plan is its own");
const NO_COPY: crate::host::Need = NotMapped("the copy stays");

table! {
    plan_says_which_it_is: [Root, PLAN, NO_COPY],
    mounts_of_the_host_are_not_copied: [Root, PLAN, NO_COPY, Strace],
    mounts_are_those_of_a_copy: [Root],
    mounts_of_a_private_root_are_those_of_a_copy: [Root],
    root_comes_first: [Root],
    later_mounts_of_the_host_reach_a_bind: [Root],
    shared_bind_is_no_peer_of_the_host: [Root],
    host_root_is_that_of_the_host: [Root],
    host_root_with_a_pinned_namespace_is_that_of_the_host: [Root],
    bind_above_a_pinned_namespace_is_of_the_host: [Root],
    bind_of_a_pinned_namespace_is_what_it_covers: [Root],
    source_in_the_root_is_the_containers: [Root],
    source_above_the_root_has_the_containers_mounts: [Root],
    source_by_a_link_is_of_the_host: [Root],
    unbindable_mounts_come_along: [Root],
    mounts_below_the_root_come_along: [Root],
    root_that_is_a_mount_is_the_root: [Root],
    masks_that_are_no_files_are_masked: [Root],
    namespaces_of_a_pod_are_joined: [Root],
    container_can_pivot: [Root],
    error_names_the_mount: [Root, PLAN],
}

/// Whether this kernel makes such namespaces.
fn is_possible() -> bool {
    let release = uname();
    let major = release.release().to_str().ok().and_then(|release| release.split('.').next());
    major.and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 7)
}

/// So that the container has a copy of the host's mounts.
fn copied(config: &mut Value) {
    hook(config, "createRuntime", unread("true"));
}

/// What the bundle prints without a copy of the host's mounts, where the kernel can do that, and with.
fn both(runtime: &Runtime, bundle: &mut Bundle) -> Result<[String; 2], Failed> {
    let alone = runtime.run(bundle)?.ok()?.stdout;
    bundle.edit(copied)?;
    Ok([alone, runtime.run(bundle)?.ok()?.stdout])
}

/// As [`both`], where a container may not come to be: exit code and output, which must be the same either way.
fn outcome(runtime: &Runtime, bundle: &mut Bundle) -> Result<(i32, String), Failed> {
    let run = |bundle: &Bundle| {
        let outcome = runtime.run(bundle)?;
        Ok::<_, Failed>((outcome.code(), outcome.stdout))
    };
    let alone = run(bundle)?;
    bundle.edit(copied)?;
    ensure_eq!(alone, run(bundle)?);
    bundle.edit(|config| config["hooks"] = Value::Null)?;
    Ok(alone)
}

/// What a script prints, which must be the same either way.
fn same(
    runtime: &Runtime,
    script: &str,
    change: impl FnOnce(&mut Value),
) -> Result<String, Failed> {
    let mut bundle = runtime.bundle_with(&["sh", "-c", script], change)?;
    let [alone, copied] = both(runtime, &mut bundle)?;
    ensure_eq!(alone, copied);
    Ok(alone)
}

/// Lines of mountinfo as they are, but for numbers that no two mounts share; in place of the parent's, where that is.
fn comparable(mountinfo: &str) -> Vec<String> {
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let all: Vec<_> = mountinfo.lines().map(fields).collect();
    let targets: BTreeMap<_, _> = all.iter().map(|line| (&line[0], &line[4])).collect();
    let line = |line: &Vec<String>| {
        let parent = targets.get(&line[1]).map_or("", |target| target.as_str());
        let shared = |field: &String| field.starts_with("shared:");
        // Which group of peers, the kernel numbers anew each time.
        let rest = line[3..].iter().map(|field| if shared(field) { "shared" } else { field });
        format!("{parent} {}", rest.collect::<Vec<_>>().join(" "))
    };
    let mut lines: Vec<_> = all.iter().map(line).collect();
    lines.sort();
    lines
}

fn shared_tmpfs(path: PathBuf) -> io::Result<HostMount> {
    let mounted = HostMount::tmpfs(path, MsFlags::empty())?;
    mounted.change(MsFlags::MS_SHARED)?;
    Ok(mounted)
}

fn plan_says_which_it_is(runtime: &Runtime) -> TestResult {
    type Change = fn(&mut Value);
    let copies: [(&str, Change); 6] = [
        ("a hook of create", copied),
        ("shared", |config| config["linux"]["rootfsPropagation"] = json!("shared")),
        ("slave, but not what is below", |config| {
            config["linux"]["rootfsPropagation"] = json!("slave");
        }),
        ("a source in the root", |config| bind(config, "/t", "rootfs/etc", &["bind"])),
        ("the host's root", |config| bind(config, "/t", "/", &["rbind"])),
        ("an overlay", |config| {
            let options = ["lowerdir=/usr:/etc"];
            let mount = json!({ "destination": "/t", "type": "overlay", "options": options });
            add(config, "/mounts", mount);
        }),
    ];
    let plan = |change: Change| {
        let bundle = runtime.bundle_with(&["true"], change)?;
        let plan = runtime.command(["plan", "--bundle"]).arg(bundle.path()).output()?.ok()?;
        Ok::<_, Failed>(plan.stdout.contains("make a mount namespace of "))
    };
    ensure_eq!(plan(|_| {})?, is_possible());
    ensure_eq!(plan(|config| bind(config, "/t", "/etc", &["rbind"]))?, is_possible());
    for (what, change) in copies {
        ensure!(!plan(change)?, "{what}: the host's mounts are not copied");
    }
    Ok(())
}

/// Whether the start of a container of this bundle copies the host's mounts: clone3 or unshare have the flag.
fn copies(runtime: &Runtime, bundle: &Bundle) -> Result<bool, Failed> {
    let log = runtime.directory().join("strace");
    let filter = "trace=clone3,unshare,setns,pivot_root,execve";
    let strace = ["strace", "-f", "-e", filter, "-o", log.to_str().ok_or("path")?];
    let run = runtime.command(["run", "--bundle"]).arg(bundle.path()).arg(runtime.new_id());
    run.wrapped_by(strace).output()?.ok()?;
    let calls = fs::read_to_string(&log)?;
    let makes = |line: &str| {
        line.contains("CLONE_NEWNS") && (line.contains("clone3(") || line.contains("unshare("))
    };
    let copies = calls.lines().any(makes);
    // One or the other.
    ensure_eq!(calls.contains("pivot_root("), copies);
    Ok(copies)
}

fn mounts_of_the_host_are_not_copied(runtime: &Runtime) -> TestResult {
    let leaf = runtime.directory().join("leaf");
    fs::create_dir_all(leaf.join("mounted"))?;
    fs::write(leaf.join("file"), "of the host")?;
    let link = runtime.directory().join("link");
    symlink(&leaf, &link)?;
    let mut bundle = runtime.bundle_with(&["true"], |config| {
        bind(config, "/file", leaf.join("file"), &["rbind", "ro"]);
        bind(config, "/tree", &leaf, &["rbind"]);
        bind(config, "/dir", &leaf, &["bind"]);
        bind(config, "/link", &link, &["rbind"]);
    })?;
    ensure_eq!(copies(runtime, &bundle)?, !is_possible());
    // What only init sees: a mount below a source, a link into the root, a mount below the root.
    let below = HostMount::tmpfs(leaf.join("mounted"), MsFlags::empty())?;
    ensure!(copies(runtime, &bundle)?, "a mount below a source");
    drop(below);
    ensure_eq!(copies(runtime, &bundle)?, !is_possible());
    let below = HostMount::tmpfs(bundle.in_rootfs("var"), MsFlags::empty())?;
    ensure!(copies(runtime, &bundle)?, "a mount below the root");
    drop(below);
    fs::remove_file(&link)?;
    symlink(bundle.in_rootfs("etc"), &link)?;
    ensure!(copies(runtime, &bundle)?, "a source in the root, by a link");
    bundle.edit(|config| bundle::remove(config, "/mounts", "destination", "/link"))?;
    ensure_eq!(copies(runtime, &bundle)?, !is_possible());
    Ok(())
}

/// Binds of all kinds, and what is mounted between them.
fn many_mounts(config: &mut Value, of_host: &Path, leaf: &Path) {
    tmpfs(config, "/t", &["size=1m", "mode=755"]);
    bind(config, "/t/below", leaf, &["rbind", "ro"]);
    bind(config, "/dev/file", leaf.join("file"), &["bind", "ro", "noexec"]);
    for word in ["slave", "rslave", "private", "rprivate", "shared", "rshared", "unbindable"] {
        bind(config, &format!("/of-host/{word}"), of_host, &["rbind", word]);
    }
    bind(config, "/none", of_host, &["bind", "nosuid", "nodev"]);
    bind(config, "/rro", leaf, &["rbind", "rro"]);
    tmpfs(config, "/t/later", &["ro", "mode=755"]);
    config["root"]["readonly"] = json!(true);
    config["linux"]["maskedPaths"] =
        json!(["/proc/kcore", "/etc", "/etc/passwd", "/proc/keys", "/home"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/t/below"]);
}

fn compare(runtime: &Runtime, propagation: &str) -> TestResult {
    let leaf = runtime.directory().join("leaf");
    fs::create_dir_all(&leaf)?;
    fs::write(leaf.join("file"), "of the host")?;
    let of_host = shared_tmpfs(runtime.directory().join("shared"))?;
    let mut bundle = runtime.bundle_with(&["cat", "/proc/self/mountinfo"], |config| {
        config["linux"]["rootfsPropagation"] = json!(propagation);
        many_mounts(config, of_host.path(), &leaf);
    })?;
    let on_shared = HostMount::on_itself(bundle.path().to_owned())?;
    on_shared.change(MsFlags::MS_SHARED)?;
    let [alone, copied] = both(runtime, &mut bundle)?;
    ensure_eq!(comparable(&alone), comparable(&copied));
    ensure!(alone.lines().count() > 20, "{alone}");
    Ok(())
}

fn mounts_are_those_of_a_copy(runtime: &Runtime) -> TestResult {
    compare(runtime, "")?;
    compare(runtime, "rslave")
}

fn mounts_of_a_private_root_are_those_of_a_copy(runtime: &Runtime) -> TestResult {
    compare(runtime, "rprivate")
}

/// And where two mounts have one target, the upper one is the last.
fn root_comes_first(runtime: &Runtime) -> TestResult {
    let leaf = runtime.directory().join("leaf");
    fs::create_dir_all(&leaf)?;
    let mut bundle = runtime.bundle_with(&["cat", "/proc/self/mountinfo"], |config| {
        tmpfs(config, "/both", &[]);
        bind(config, "/both", &leaf, &["bind"]);
        bind(config, "/bind", &leaf, &["bind"]);
        tmpfs(config, "/bind", &[]);
    })?;
    for seen in both(runtime, &mut bundle)? {
        let seen = mounts(&seen);
        ensure_eq!(seen.first().map(|mount| mount.target.as_str()), Some("/"));
        ensure!(mount_at(&seen, "/both")?.root.ends_with("leaf"), "{seen:#?}");
        ensure_eq!(mount_at(&seen, "/bind")?.fstype, "tmpfs");
    }
    Ok(())
}

fn later_mounts_of_the_host_reach_a_bind(runtime: &Runtime) -> TestResult {
    let source = shared_tmpfs(runtime.directory().join("shared"))?;
    let words = [("plain", "bind", true), ("slave", "rslave", true), ("apart", "rprivate", false)];
    let id = runtime.new_id();
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        for (name, word, _) in words {
            bind(config, &format!("/{name}"), source.path(), &["rbind", word]);
        }
    })?;
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let later = HostMount::tmpfs(source.path().join("later"), MsFlags::empty())?;
    let seen = mounts(&proc_file(runtime.pid(&id)?, "mountinfo")?);
    for (name, _, reaches) in words {
        let is_there = mount_at(&seen, &format!("/{name}/later")).is_ok();
        ensure_eq!((name, is_there), (name, reaches));
    }
    drop(later);
    let seen = mounts(&proc_file(runtime.pid(&id)?, "mountinfo")?);
    ensure!(!seen.iter().any(|mount| mount.target.ends_with("/later")), "{seen:#?}");
    Ok(())
}

/// `rshared` under a root that is a slave: the container's mounts stay in it.
fn shared_bind_is_no_peer_of_the_host(runtime: &Runtime) -> TestResult {
    let source = shared_tmpfs(runtime.directory().join("shared"))?;
    fs::create_dir(source.path().join("inner"))?;
    let script = "mount -t tmpfs tmpfs /v/inner && touch /v/inner/file && ls /v/inner";
    let seen = same(runtime, script, |config| {
        bind(config, "/v", source.path(), &["rbind", "rshared"]);
        privileged(config);
    })?;
    ensure_eq!(seen, "file\n");
    ensure_eq!(fs::read_dir(source.path().join("inner"))?.count(), 0);
    Ok(())
}

fn privileged(config: &mut Value) {
    let all = json!(["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE"]);
    config["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
}

/// A mount namespace that somebody has bound to a file, as snapd does below /run/snapd/ns.
struct Pinned {
    path: PathBuf,
    process: Child,
}

impl Pinned {
    fn new(runtime: &Runtime, path: PathBuf) -> Result<Self, Failed> {
        fs::write(&path, "covered\n")?;
        // 6.18 takes some namespaces that are newer for older ones, which may not be bound.
        for _ in 0..50 {
            if let Some(pinned) = Self::try_new(runtime, &path)? {
                return Ok(pinned);
            }
        }
        Err("no mount namespace can be bound".into())
    }

    fn try_new(runtime: &Runtime, path: &Path) -> Result<Option<Self>, Failed> {
        let process = Command::new("unshare").args(["-m", "sleep", "1000"]).spawn()?;
        let pid = i32::try_from(process.id())?;
        let pinned = Self { path: path.to_owned(), process };
        let own = fs::read_link("/proc/self/ns/mnt")?.to_string_lossy().into_owned();
        runtime.wait_until("a mount namespace", || Ok(namespace_of(pid, "mnt")? != own))?;
        let (namespace, none) = (format!("/proc/{pid}/ns/mnt"), None::<&str>);
        match mount(Some(namespace.as_str()), path, none, MsFlags::MS_BIND, none) {
            Err(Errno::EINVAL) => Ok(None),
            mounted => Ok(mounted.map(|()| Some(pinned))?),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        umount2(&self.path, MntFlags::MNT_DETACH).ok();
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A file of the host in a directory of this test, which the container has below /host.
fn host_file(runtime: &Runtime) -> Result<(PathBuf, String), Failed> {
    let directory = runtime.directory().join("of-host");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("file"), "of the host\n")?;
    let script = format!("cat /host{}; ls -A /host", directory.join("file").display());
    Ok((directory, script))
}

/// crun issue 2262: the container got its own root there.
fn host_root_is_that_of_the_host(runtime: &Runtime) -> TestResult {
    for word in ["bind", "rbind"] {
        let (_, script) = host_file(runtime)?;
        let mut bundle = runtime.bundle_with(&["sh", "-c", &script], |config| {
            bind(config, "/host", "/", &[word, "ro"]);
        })?;
        for seen in both(runtime, &mut bundle)? {
            // The test's directory may be on a mount of its own, which `bind` leaves out.
            ensure!(word == "bind" || seen.starts_with("of the host\n"), "{seen}");
            for name in fs::read_dir("/")? {
                let name = name?.file_name().to_string_lossy().into_owned();
                ensure!(seen.lines().any(|line| line == name), "no {name} in {seen}");
            }
        }
    }
    Ok(())
}

/// The reason that crun had: move_mount(2) gives ELOOP for a tree with such a mount.
fn host_root_with_a_pinned_namespace_is_that_of_the_host(runtime: &Runtime) -> TestResult {
    let (directory, script) = host_file(runtime)?;
    let pinned = Pinned::new(runtime, directory.join("pinned.mnt"))?;
    let script = format!("{script}; cat /host{}", pinned.path.display());
    let seen = same(runtime, &script, |config| bind(config, "/host", "/", &["rbind"]))?;
    ensure!(seen.starts_with("of the host\n"), "{seen}");
    ensure!(seen.ends_with("covered\n"), "a mount namespace: {seen}");
    Ok(())
}

/// crun issue 2264: the path names something else once the namespace is another.
fn bind_above_a_pinned_namespace_is_of_the_host(runtime: &Runtime) -> TestResult {
    let (directory, _) = host_file(runtime)?;
    let pinned = Pinned::new(runtime, directory.join("pinned.mnt"))?;
    let script = "cat /v/file /v/pinned.mnt; ls /v";
    let mut bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        bind(config, "/v", &directory, &["rbind"]);
    })?;
    // The same path in the image, with something else in it.
    let decoy = bundle.in_rootfs(&directory.to_string_lossy());
    fs::create_dir_all(&decoy)?;
    fs::write(decoy.join("file"), "of the image\n")?;
    for seen in both(runtime, &mut bundle)? {
        ensure_eq!(seen, "of the host\ncovered\nfile\npinned.mnt\n");
    }
    drop(pinned);
    Ok(())
}

fn bind_of_a_pinned_namespace_is_what_it_covers(runtime: &Runtime) -> TestResult {
    let (directory, _) = host_file(runtime)?;
    let pinned = Pinned::new(runtime, directory.join("pinned.mnt"))?;
    for word in ["bind", "rbind"] {
        let seen = same(runtime, "cat /v", |config| bind(config, "/v", &pinned.path, &[word]))?;
        ensure_eq!(seen, "covered\n");
    }
    Ok(())
}

/// A source may be a mount that the container has by then.
fn source_in_the_root_is_the_containers(runtime: &Runtime) -> TestResult {
    for by_link in [false, true] {
        let mut bundle = runtime.bundle(&["sh", "-c", "stat -f -c %T /seen; cat /seen/file"])?;
        fs::create_dir_all(bundle.in_rootfs("vol"))?;
        fs::write(bundle.in_rootfs("vol/file"), "covered\n")?;
        let (directory, _) = host_file(runtime)?;
        let link = bundle.path().join("link");
        symlink(bundle.in_rootfs("vol"), &link)?;
        let source = if by_link { link } else { bundle.in_rootfs("vol") };
        bundle.edit(|config| {
            bind(config, "/vol", &directory, &["bind"]);
            bind(config, "/seen", &source, &["bind"]);
        })?;
        for seen in both(runtime, &mut bundle)? {
            ensure!(seen.ends_with("of the host\n"), "by a link: {by_link}: {seen}");
        }
    }
    Ok(())
}

fn source_above_the_root_has_the_containers_mounts(runtime: &Runtime) -> TestResult {
    let mut bundle = runtime.bundle(&["sh", "-c", "ls /seen/rootfs/vol; cat /seen/beside"])?;
    fs::write(bundle.path().join("beside"), "beside\n")?;
    let (directory, _) = host_file(runtime)?;
    let above = bundle.path().to_owned();
    let link = runtime.directory().join("link");
    symlink(&above, &link)?;
    bundle.edit(|config| bind(config, "/vol", &directory, &["bind"]))?;
    for source in [&above, &link] {
        bundle.edit(|config| {
            bundle::remove(config, "/mounts", "destination", "/seen");
            bind(config, "/seen", source, &["rbind"]);
            config["hooks"] = Value::Null;
        })?;
        for seen in both(runtime, &mut bundle)? {
            ensure_eq!(seen, "file\nbeside\n");
        }
    }
    Ok(())
}

fn source_by_a_link_is_of_the_host(runtime: &Runtime) -> TestResult {
    let (directory, _) = host_file(runtime)?;
    let link = runtime.directory().join("link");
    symlink(&directory, &link)?;
    let seen = same(runtime, "cat /v/file /f", |config| {
        bind(config, "/v", &link, &["rbind"]);
        bind(config, "/f", link.join("../link/file"), &["bind"]);
    })?;
    ensure_eq!(seen, "of the host\nof the host\n");
    Ok(())
}

/// Private mounts can be bound; slaves that were unbindable, on newer kernels not.
const PROPAGATIONS: [&str; 2] = ["rprivate", "rslave"];

fn unbindable_mounts_come_along(runtime: &Runtime) -> TestResult {
    let (directory, _) = host_file(runtime)?;
    let inner = HostMount::tmpfs(directory.join("inner"), MsFlags::empty())?;
    fs::write(inner.path().join("file"), "inner\n")?;
    inner.change(MsFlags::MS_UNBINDABLE)?;
    for word in PROPAGATIONS {
        for (source, file) in [(directory.as_path(), "inner/file"), (inner.path(), "file")] {
            let script = format!("cat /v/{file}");
            let mut bundle = runtime.bundle_with(&["sh", "-c", &script], |config| {
                config["linux"]["rootfsPropagation"] = json!(word);
                bind(config, "/v", source, &["rbind"]);
            })?;
            let (code, seen) = outcome(runtime, &mut bundle)?;
            ensure!(
                word != "rprivate" || (code, seen.as_str()) == (0, "inner\n"),
                "{file}: {seen}"
            );
        }
    }
    Ok(())
}

fn mounts_below_the_root_come_along(runtime: &Runtime) -> TestResult {
    let script = "cat /inner/file; grep -c /inner /proc/mounts";
    let mut bundle = runtime.bundle(&["sh", "-c", script])?;
    let inner = HostMount::tmpfs(bundle.in_rootfs("inner"), MsFlags::empty())?;
    fs::write(inner.path().join("file"), "inner\n")?;
    for propagation in [MsFlags::MS_SHARED, MsFlags::MS_UNBINDABLE] {
        inner.change(propagation)?;
        for word in PROPAGATIONS {
            bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!(word))?;
            let (_, seen) = outcome(runtime, &mut bundle)?;
            ensure!(word != "rprivate" || seen == "inner\n1\n", "{propagation:?}: {seen}");
        }
    }
    Ok(())
}

/// As engines have it; also where it is unbindable, or read-only.
fn root_that_is_a_mount_is_the_root(runtime: &Runtime) -> TestResult {
    let readonly = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let script =
        "grep 'rootfs / ' /proc/self/mountinfo | cut -d ' ' -f 4-7; grep -c . /proc/mounts";
    for change in [MsFlags::MS_SHARED, MsFlags::MS_UNBINDABLE, readonly] {
        for word in PROPAGATIONS {
            let mut bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
                config["linux"]["rootfsPropagation"] = json!(word);
            })?;
            let mounted = HostMount::on_itself(bundle.in_rootfs(""))?;
            mounted.change(change)?;
            let (code, seen) = outcome(runtime, &mut bundle)?;
            ensure!(word != "rprivate" || code == 0 && seen.lines().count() == 2, "{seen}");
        }
    }
    Ok(())
}

/// One that engines mask as a file is a directory here, and the first: what was to cover it covers the next.
fn masks_that_are_no_files_are_masked(runtime: &Runtime) -> TestResult {
    let script = "ls -A /proc/kcore | wc -l; wc -c </etc/passwd; wc -c </etc/group";
    let mut bundle = runtime.bundle_with(&["sh", "-c", script], |config| {
        bundle::remove(config, "/mounts", "type", "proc");
        config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/etc/passwd", "/etc/group"]);
        config["linux"]["readonlyPaths"] = json!([]);
    })?;
    fs::create_dir(bundle.in_rootfs("proc/kcore"))?;
    fs::write(bundle.in_rootfs("proc/kcore/file"), "of the image")?;
    for seen in both(runtime, &mut bundle)? {
        ensure_eq!(seen, "0\n0\n0\n");
    }
    Ok(())
}

fn namespaces_of_a_pod_are_joined(runtime: &Runtime) -> TestResult {
    let pause = runtime.new_id();
    let bundle = runtime.bundle(&["sleep", "1000"])?;
    runtime.create(&bundle, &pause)?.ok()?;
    runtime.start(&pause)?.ok()?;
    let pid = runtime.pid(&pause)?;
    let mut bundle = runtime.bundle_with(&["cat", "/proc/self/mountinfo"], |config| {
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            bundle::remove(config, "/linux/namespaces", "type", kind);
            let path = format!("/proc/{pid}/ns/{file}");
            add(config, "/linux/namespaces", json!({ "type": kind, "path": path }));
        }
        config["hostname"] = Value::Null;
        bind(config, "/etc/hosts", "/proc/sys/kernel/ostype", &["rbind", "ro"]);
    })?;
    let [alone, copied] = both(runtime, &mut bundle)?;
    ensure_eq!(comparable(&alone), comparable(&copied));
    Ok(())
}

/// What runs containers in containers does so, and systemd.
fn container_can_pivot(runtime: &Runtime) -> TestResult {
    let script = "mount -t tmpfs new /tmp && mkdir /tmp/old && cp -a /bin /tmp && cd /tmp && \
         busybox pivot_root . old && cat /old/etc/passwd | head -n 1 && umount -l /old && ls /";
    let seen = same(runtime, script, privileged)?;
    ensure_eq!(seen, "root:x:0:0:root:/root:/bin/sh\nbin\nold\n");
    Ok(())
}

/// It is the mount's, whichever step it was that looked for the source.
fn error_names_the_mount(runtime: &Runtime) -> TestResult {
    let mut bundle = runtime.bundle_with(&["true"], |config| {
        bind(config, "/there", "/etc", &["bind"]);
        bind(config, "/missing", "/no/such/source", &["rbind"]);
    })?;
    let index = bundle.config()["mounts"].as_array().map_or(0, Vec::len) - 1;
    let alone = runtime.run(&bundle)?.fails()?.stderr;
    ensure!(
        alone.contains(&format!("/mounts/{index}: mount /no/such/source on /missing: ")),
        "{alone}"
    );
    bundle.edit(copied)?;
    let copied = runtime.run(&bundle)?.fails()?.stderr;
    let message = |text: &str| text.split_once("/mounts/").map(|(_, rest)| rest.to_owned());
    ensure_eq!(message(&alone), message(&copied));
    Ok(())
}
