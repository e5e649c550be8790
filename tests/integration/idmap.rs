//! Id-mapped mounts: owners as the container sees them, on several file systems; what is refused.
//!
//! Runs in: any process.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::bundle::{self, add, remove};
use crate::harness::{TestResult, ensure, ensure_eq, table};
use crate::host::Need::{Corten, IdMaps, Kernel, NotOn, Root};
use crate::inside::{self, refuses, sh};
use crate::outside::HostMount;
use crate::runtime::Runtime;

const NO_IDMAP: &str =
    "1.1 has no id-mapped mounts without a user namespace of the container; runc 1.2 has";
const NO_IDMAP_OF_OTHERS: &str = "1.1 has them for bind mounts only";
const NO_RIDMAP: &str = "1.8 leaves the mounts below out of an id-mapped rbind";
const DROPS_OPTIONS: &str = "1.8 makes the file system without its options";
const WORDS: &str = "errors have the JSON pointer and the file system";

table! {
    bind_shows_the_mapped_owners: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    bind_of_a_tmpfs_shows_the_mapped_owners: [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP)],
    bind_of_a_file_shows_the_mapped_owner: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    what_is_written_has_the_owner_of_the_file_system: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    unmapped_user_cannot_write: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    two_mounts_of_one_source_have_a_mapping_each: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    idmap_leaves_mounts_below_as_they_are: [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP), NotOn("crun", NO_RIDMAP)],
    ridmap_maps_mounts_below: [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP), NotOn("crun", NO_RIDMAP)],
    source_on_an_earlier_mount_is_mapped: [Root, IdMaps, Kernel(6, 3), Corten("crun looks for the source on the host")],
    new_tmpfs_shows_the_mapped_owners: [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP_OF_OTHERS), NotOn("crun", DROPS_OPTIONS)],
    overlay_of_an_id_mapped_layer_shows_the_mapped_owners: [Root, IdMaps, Kernel(5, 19), Corten("crun looks for layers on the host")],
    options_of_the_mount_hold_as_well: [Root, IdMaps, NotOn("runc", NO_IDMAP), NotOn("crun", "1.8 does not make it shared")],
    exec_sees_the_same_owners: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    fifty_mounts_with_a_mapping_each: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    one_of_the_two_mappings_is_refused: [Root, IdMaps, NotOn("runc", NO_IDMAP), NotOn("crun", "1.8 leaves its init behind")],
    word_without_any_mapping_is_refused: [Root, IdMaps, NotOn("runc", NO_IDMAP), NotOn("crun", "1.8 maps to the host's own")],
    file_system_without_id_maps_is_named: [Root, IdMaps, Corten(WORDS)],
    file_system_below_without_id_maps_is_refused: [Root, IdMaps, Corten(WORDS)],
    source_that_is_mapped_already_is_refused: [Root, IdMaps, Corten(WORDS)],
    remount_is_refused: [Root, IdMaps, Corten("an attached mount keeps its ids; peers ignore the mapping")],
    user_namespace_mapping_of_its_own_shows_the_owners_of_the_file_system: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    user_namespace_and_another_mapping_show_what_both_make: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    user_namespace_is_what_a_word_alone_means: [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP), NotOn("crun", NO_RIDMAP)],
    user_namespace_that_is_joined_is_what_a_word_alone_means: [Root, IdMaps, NotOn("runc", NO_IDMAP), NotOn("crun", "1.8 maps nothing")],
    user_namespace_root_writes_as_root_of_the_file_system: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    user_namespace_new_tmpfs_shows_the_mapped_owners:
        [Root, IdMaps, Kernel(6, 3), NotOn("runc", NO_IDMAP_OF_OTHERS), NotOn("crun", DROPS_OPTIONS)],
    user_namespace_source_out_of_its_reach_is_mounted: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    user_namespace_exec_sees_the_same_owners: [Root, IdMaps, NotOn("runc", NO_IDMAP)],
    plan_says_which_mapping: [Corten("peers have no plan")],
}

/// A bind mount of a container without a user namespace, whatever the other tests have.
fn bind(config: &mut Value, target: &str, source: impl AsRef<Path>, options: &[&str]) {
    remove(config, "/linux/namespaces", "type", "user");
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.retain(|key, _| !key.ends_with("Mappings"));
    }
    inside::bind(config, target, source, options);
}

/// Then the container gets a user namespace: its root is 100000 and 200000.
fn user_namespace(config: &mut Value) {
    bundle::map(config, &[[0, 100_000, 65536]], &[[0, 200_000, 65536]]);
}

/// From the ids of the file system on; `(first of the file system, first on the host, how many)`.
type Map = (u32, u32, u32);

fn mapping((inside, outside, count): Map) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": count }])
}

/// The mount that was added last gets these mappings.
fn map(config: &mut Value, uids: Map, gids: Map) {
    let mounts = config["mounts"].as_array_mut().and_then(|mounts| mounts.last_mut());
    if let Some(mount) = mounts {
        mount["uidMappings"] = mapping(uids);
        mount["gidMappings"] = mapping(gids);
    }
}

/// A directory with `file`, of uid 10 and gid 20.
fn owned(directory: PathBuf) -> Result<PathBuf, Failed> {
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("file"), "")?;
    chown(directory.join("file"), Some(10), Some(20))?;
    Ok(directory)
}

fn on_disk(runtime: &Runtime) -> Result<PathBuf, Failed> {
    owned(runtime.directory().join("source"))
}

/// uid and gid of these files, as the container sees them.
fn owners(
    runtime: &Runtime,
    files: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<Vec<String>, Failed> {
    let seen = sh(runtime, &format!("stat -c %u:%g {}", files.join(" ")), change)?;
    Ok(seen.lines().map(str::to_owned).collect())
}

fn bind_shows_the_mapped_owners(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let seen = owners(runtime, &["/a/file", "/b/file"], |config| {
        bind(config, "/a", &source, &["bind"]);
        map(config, (0, 100_000, 65536), (0, 200_000, 65536));
        bind(config, "/b", &source, &["bind"]);
    })?;
    ensure_eq!(seen, ["100010:200020", "10:20"]);
    Ok(())
}

fn bind_of_a_tmpfs_shows_the_mapped_owners(runtime: &Runtime) -> TestResult {
    let host = HostMount::tmpfs(runtime.directory().join("tmpfs"), MsFlags::empty())?;
    let source = owned(host.path().to_owned())?;
    let seen = owners(runtime, &["/a/file"], |config| {
        bind(config, "/a", &source, &["rbind", "idmap"]);
        map(config, (10, 0, 1), (20, 7, 2));
    })?;
    ensure_eq!(seen, ["0:7"]);
    Ok(())
}

fn bind_of_a_file_shows_the_mapped_owner(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?.join("file");
    let seen = owners(runtime, &["/etc/f"], |config| {
        bind(config, "/etc/f", &source, &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 2000, 100));
    })?;
    ensure_eq!(seen, ["1010:2020"]);
    Ok(())
}

fn what_is_written_has_the_owner_of_the_file_system(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    chown(&source, Some(500), Some(600))?;
    sh(runtime, "touch /a/new", |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (500, 0, 10), (600, 0, 10));
    })?;
    let new = fs::metadata(source.join("new"))?;
    ensure_eq!((new.uid(), new.gid()), (500, 600));
    Ok(())
}

fn unmapped_user_cannot_write(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let seen = sh(runtime, "touch /a/new 2>&1 || true", |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (0, 100_000, 65536), (0, 100_000, 65536));
    })?;
    // EOVERFLOW: there is no id for root in that file system.
    ensure!(seen.contains("Value too large"), "{seen}");
    ensure!(!source.join("new").exists(), "a file of nobody was made");
    Ok(())
}

fn two_mounts_of_one_source_have_a_mapping_each(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let seen = owners(runtime, &["/a/file", "/b/file", "/c/file"], |config| {
        for (target, first) in [("/a", 1000), ("/b", 2000), ("/c", 1000)] {
            bind(config, target, &source, &["bind"]);
            map(config, (0, first, 100), (0, first, 100));
        }
    })?;
    ensure_eq!(seen, ["1010:1020", "2010:2020", "1010:1020"]);
    Ok(())
}

/// `file` in the source and in a tmpfs below it.
fn tree(runtime: &Runtime) -> Result<(PathBuf, HostMount), Failed> {
    let source = on_disk(runtime)?;
    let below = HostMount::tmpfs(source.join("below"), MsFlags::empty())?;
    owned(below.path().to_owned())?;
    Ok((source, below))
}

fn idmap_leaves_mounts_below_as_they_are(runtime: &Runtime) -> TestResult {
    let (source, _below) = tree(runtime)?;
    for words in [&["rbind", "idmap"][..], &["rbind"]] {
        let seen = owners(runtime, &["/a/file", "/a/below/file"], |config| {
            bind(config, "/a", &source, words);
            map(config, (0, 1000, 100), (0, 1000, 100));
        })?;
        ensure_eq!(seen, ["1010:1020", "10:20"]);
    }
    Ok(())
}

fn ridmap_maps_mounts_below(runtime: &Runtime) -> TestResult {
    let (source, _below) = tree(runtime)?;
    let seen = owners(runtime, &["/a/file", "/a/below/file"], |config| {
        bind(config, "/a", &source, &["rbind", "ridmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    ensure_eq!(seen, ["1010:1020", "1010:1020"]);
    Ok(())
}

fn source_on_an_earlier_mount_is_mapped(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["stat", "-c", "%u:%g", "/b"], |_| {})?;
    let (rootfs, mut bundle) = (bundle.in_rootfs("t"), bundle);
    bundle.edit(|config| {
        let options = json!(["uid=10", "gid=20"]);
        let tmpfs =
            json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options });
        add(config, "/mounts", tmpfs);
        bind(config, "/b", &rootfs, &["bind", "idmap"]);
        map(config, (10, 3, 1), (20, 4, 1));
    })?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.trim(), "3:4");
    Ok(())
}

fn new_tmpfs_shows_the_mapped_owners(runtime: &Runtime) -> TestResult {
    let seen = owners(runtime, &["/t"], |config| {
        let mount = json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs",
            "options": ["idmap", "uid=10", "gid=20", "mode=700"] });
        add(config, "/mounts", mount);
        map(config, (0, 1000, 100), (0, 2000, 100));
    })?;
    ensure_eq!(seen, ["1010:2020"]);
    Ok(())
}

/// An overlay cannot be id-mapped itself, its layers can: an id-mapped mount is the layer of a later one.
fn overlay_of_an_id_mapped_layer_shows_the_mapped_owners(runtime: &Runtime) -> TestResult {
    let (source, empty) = (on_disk(runtime)?, runtime.directory().join("empty"));
    fs::create_dir(&empty)?;
    let mut bundle = runtime.bundle_with(&["stat", "-c", "%u:%g", "/o/file"], |_| {})?;
    let layer = bundle.in_rootfs("layer");
    bundle.edit(|config| {
        bind(config, "/layer", &source, &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 2000, 100));
        let layers = format!("lowerdir={}:{}", layer.display(), empty.display());
        let overlay =
            json!({ "destination": "/o", "type": "overlay", "source": "o", "options": [layers] });
        add(config, "/mounts", overlay);
    })?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.trim(), "1010:2020");
    Ok(())
}

fn options_of_the_mount_hold_as_well(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let script = "stat -c %u /a/file; grep ' /a ' /proc/self/mountinfo";
    let seen = sh(runtime, script, |config| {
        bind(config, "/a", &source, &["bind", "idmap", "ro", "noexec", "shared"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    let (owner, mount) = seen.split_once('\n').ok_or("no mount")?;
    ensure_eq!(owner, "1010");
    for word in ["ro,", "noexec", "shared:"] {
        ensure!(mount.contains(word), "{word} is not among {mount}");
    }
    Ok(())
}

fn exec_sees_the_same_owners(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let seen = runtime.command(["exec", &id, "stat", "-c", "%u:%g", "/a/file"]).output()?.ok()?;
    ensure_eq!(seen.stdout.trim(), "1010:1020");
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

fn fifty_mounts_with_a_mapping_each(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let files: Vec<_> = (0..50).map(|index| format!("/m/{index}/file")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let seen = owners(runtime, &files, |config| {
        for index in 0..50 {
            bind(config, &format!("/m/{index}"), &source, &["bind", "idmap"]);
            map(config, (0, 1000 * index, 100), (0, 0, 100));
        }
    })?;
    let expected: Vec<_> = (0..50).map(|index| format!("{}:20", 1000 * index + 10)).collect();
    ensure_eq!(seen, expected);
    Ok(())
}

fn one_of_the_two_mappings_is_refused(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    for (missing, given) in [("uidMappings", "gidMappings"), ("gidMappings", "uidMappings")] {
        let pointer = format!("/mounts/7/{given}");
        let texts = [pointer.as_str(), missing];
        let texts = if runtime.is("corten") { &texts[..] } else { &[] };
        refuses(runtime, texts, |config| {
            bind(config, "/a", &source, &["bind", "idmap"]);
            map(config, (0, 1000, 100), (0, 1000, 100));
            if let Some(mount) = config["mounts"][7].as_object_mut() {
                mount.remove(missing);
            }
        })?;
    }
    Ok(())
}

fn word_without_any_mapping_is_refused(runtime: &Runtime) -> TestResult {
    for word in ["idmap", "ridmap"] {
        let texts = ["/mounts/7/options/1", "id-mapped mounts must have"];
        refuses(runtime, &texts, |config| bind(config, "/t", "/tmp", &["rbind", word]))?;
    }
    Ok(())
}

/// A mount that cannot be mapped: the error has all of `texts`.
fn cannot_be_mapped(runtime: &Runtime, source: &Path, word: &str, texts: &[&str]) -> TestResult {
    refuses(runtime, &[texts, &["/mounts/7"]].concat(), |config| {
        bind(config, "/a", source, &["rbind", word]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })
}

fn file_system_without_id_maps_is_named(runtime: &Runtime) -> TestResult {
    let texts = ["mount /proc on /a", "EINVAL", "the file system is proc"];
    cannot_be_mapped(runtime, Path::new("/proc"), "idmap", &texts)?;
    refuses(runtime, &["/mounts/7", "EINVAL", "mqueue"], |config| {
        add(config, "/mounts", json!({ "destination": "/q", "type": "mqueue", "source": "q" }));
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    let source = on_disk(runtime)?;
    let overlay = HostMount::overlay(&[&source, Path::new("/usr")], runtime.directory().join("o"))?;
    let bundle = runtime.bundle_with(&["true"], |config| {
        bind(config, "/a", overlay.path(), &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    runtime
        .create(&bundle, &runtime.new_id())?
        .fails_with("EINVAL: the file system is overlay, which this kernel cannot id-map")?;
    Ok(())
}

fn file_system_below_without_id_maps_is_refused(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let _proc = HostMount::bind(Path::new("/proc"), source.join("proc"))?;
    let bundle = runtime.bundle_with(&["true"], |config| {
        bind(config, "/a", &source, &["rbind", "ridmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })?;
    let refused = runtime.create(&bundle, &runtime.new_id())?.fails()?.stderr;
    for text in ["/mounts/7", "EINVAL", "of a mount below it"] {
        ensure!(refused.contains(text), "expected an error with {text:?}: {refused}");
    }
    Ok(())
}

fn source_that_is_mapped_already_is_refused(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |_| {})?;
    let (rootfs, source) = (bundle.in_rootfs("a"), on_disk(runtime)?);
    refuses(runtime, &["/mounts/8", "EPERM", "id-mapped already"], |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
        config["root"]["path"] = json!(bundle.in_rootfs(""));
        bind(config, "/b", &rootfs, &["bind", "idmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })
}

fn remount_is_refused(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    refuses(runtime, &["/mounts/8/uidMappings", "remount"], |config| {
        bind(config, "/a", &source, &["bind"]);
        bind(config, "/a", &source, &["bind", "remount", "idmap"]);
        map(config, (0, 1000, 100), (0, 1000, 100));
    })
}

fn plan_says_which_mapping(runtime: &Runtime) -> TestResult {
    let bundle = runtime.bundle_with(&["true"], |config| {
        bind(config, "/a", "/tmp", &["rbind", "ridmap"]);
        map(config, (0, 1000, 100), (5, 6, 7));
    })?;
    let plan = runtime.command(["plan", "--bundle"]).arg(bundle.path()).output()?.ok()?.stdout;
    ensure!(
        plan.contains("give that mount and all below it its id mapping: uids 0:1000:100, gids 5:6:7  [/mounts/7/uidMappings]"),
        "{plan}"
    );
    Ok(())
}

const NOBODY: &str = "65534:65534";

fn user_namespace_mapping_of_its_own_shows_the_owners_of_the_file_system(
    runtime: &Runtime,
) -> TestResult {
    let source = on_disk(runtime)?;
    let seen = owners(runtime, &["/a/file", "/b/file"], |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (0, 100_000, 65536), (0, 200_000, 65536));
        bind(config, "/b", &source, &["bind"]);
        user_namespace(config);
    })?;
    ensure_eq!(seen, ["10:20", NOBODY]);
    Ok(())
}

fn user_namespace_and_another_mapping_show_what_both_make(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let seen = owners(runtime, &["/a/file", "/b/file"], |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        map(config, (10, 100_007, 1), (20, 200_008, 1));
        bind(config, "/b", &source, &["bind", "idmap"]);
        // Of the host, not of the container.
        map(config, (10, 7, 1), (20, 8, 1));
        user_namespace(config);
    })?;
    ensure_eq!(seen, ["7:8", NOBODY]);
    Ok(())
}

fn user_namespace_is_what_a_word_alone_means(runtime: &Runtime) -> TestResult {
    let (source, _below) = tree(runtime)?;
    for (word, below) in [("idmap", NOBODY), ("ridmap", "10:20")] {
        let seen = owners(runtime, &["/a/file", "/a/below/file"], |config| {
            bind(config, "/a", &source, &["rbind", word]);
            user_namespace(config);
        })?;
        ensure_eq!(seen, ["10:20", below]);
    }
    Ok(())
}

fn user_namespace_that_is_joined_is_what_a_word_alone_means(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let (other, id) = (runtime.bundle_with(&["sleep", "1000"], user_namespace)?, runtime.new_id());
    runtime.create(&other, &id)?.ok()?;
    let path = format!("/proc/{}/ns/user", runtime.pid(&id)?);
    let mut bundle = runtime.bundle_with(&["stat", "-c", "%u:%g", "/a/file"], user_namespace)?;
    fs::create_dir(bundle.in_rootfs("a"))?;
    bundle.edit(|config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        add(config, "/linux/namespaces", json!({ "type": "user", "path": path }));
    })?;
    let seen = runtime.run(&bundle)?.ok()?.stdout;
    ensure_eq!(seen.trim(), "10:20");
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}

fn user_namespace_root_writes_as_root_of_the_file_system(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    sh(runtime, "touch /a/new", |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        user_namespace(config);
    })?;
    let new = fs::metadata(source.join("new"))?;
    ensure_eq!((new.uid(), new.gid()), (0, 0));
    Ok(())
}

/// Its ids are those of the container: the mapping begins there.
fn user_namespace_new_tmpfs_shows_the_mapped_owners(runtime: &Runtime) -> TestResult {
    let seen = owners(runtime, &["/t"], |config| {
        let mount = json!({ "destination": "/t", "type": "tmpfs", "source": "tmpfs",
            "options": ["idmap", "uid=10", "gid=20", "mode=700"] });
        add(config, "/mounts", mount);
        map(config, (10, 100_003, 1), (20, 200_004, 1));
        user_namespace(config);
    })?;
    ensure_eq!(seen, ["3:4"]);
    Ok(())
}

fn user_namespace_source_out_of_its_reach_is_mounted(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let outer = runtime.directory().join("outer");
    fs::create_dir(&outer)?;
    fs::rename(&source, outer.join("inner"))?;
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o700))?;
    let (directory, file) = (outer.join("inner"), outer.join("inner/file"));
    let seen = owners(runtime, &["/a/file", "/b/file", "/etc/c"], |config| {
        bind(config, "/a", &directory, &["rbind", "idmap"]);
        bind(config, "/b", &directory, &["bind", "ro"]);
        bind(config, "/etc/c", &file, &["bind", "idmap"]);
        user_namespace(config);
    })?;
    ensure_eq!(seen, ["10:20", NOBODY, "10:20"]);
    let missing = outer.join("missing");
    refuses(runtime, &[], |config| {
        bind(config, "/a", &missing, &["bind"]);
        user_namespace(config);
    })
}

fn user_namespace_exec_sees_the_same_owners(runtime: &Runtime) -> TestResult {
    let source = on_disk(runtime)?;
    let bundle = runtime.bundle_with(&["sleep", "1000"], |config| {
        bind(config, "/a", &source, &["bind", "idmap"]);
        user_namespace(config);
    })?;
    let id = runtime.new_id();
    runtime.create(&bundle, &id)?.ok()?;
    runtime.start(&id)?.ok()?;
    let seen = runtime.command(["exec", &id, "stat", "-c", "%u:%g", "/a/file"]).output()?.ok()?;
    ensure_eq!(seen.stdout.trim(), "10:20");
    runtime.delete_force(&id)?.ok()?;
    Ok(())
}
