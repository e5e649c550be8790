//! The mode in which all tests run as an ordinary user: `CORTEN_TEST_ROOTLESS=helpers` has newuidmap and newgidmap, and ids in
//! /etc/subuid and /etc/subgid; with `alone` there is nothing of it, and the user has the own ids only.
//!
//! The harness is started as root, makes itself this view in a mount namespace of its own, and becomes the user before the
//! first test. What a test cannot have then is in [`EXCEPTIONS`], by name.
//!
//! Runs in: any process.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde_json::{Value, json};

use crate::bundle::map;

/// The user's uid and gid.
pub const ID: u32 = 1000;
/// The first id that /etc/subuid and /etc/subgid give, and how many.
pub const SUBORDINATE: (u32, u32) = (100_000, 65_536);

/// What the user can map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The ids of /etc/subuid, by the helpers.
    Helpers,
    /// The own ids alone.
    Alone,
}

/// The mode of this run; `None`: as root.
pub fn mode() -> Option<Mode> {
    match std::env::var("CORTEN_TEST_ROOTLESS").ok()?.as_str() {
        "" | "0" => None,
        "alone" => Some(Mode::Alone),
        _ => Some(Mode::Helpers),
    }
}

/// Makes the view, for a process with a mount namespace of its own, and becomes the user.
pub fn become_user(mode: Mode) -> io::Result<()> {
    furnish(mode, Path::new("/run"))?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(ID), Gid::from_raw(ID));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // Another user's files in procfs are root's, else.
    nix::sys::prctl::set_dumpable(true)?;
    Ok(())
}

/// Puts files over those of /etc, and over the helpers. `scratch` is covered by a tmpfs.
fn furnish(mode: Mode, scratch: &Path) -> io::Result<()> {
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    let (first, count) = SUBORDINATE;
    let table =
        if mode == Mode::Helpers { format!("{ID}:{first}:{count}\n") } else { String::new() };
    cover(scratch, "/etc/subuid", &table)?;
    cover(scratch, "/etc/subgid", &table)?;
    let users = fs::read_to_string("/etc/passwd")?;
    // The helpers want the user to have a name.
    if !users.lines().any(|line| line.split(':').nth(2) == Some("1000")) {
        cover(scratch, "/etc/passwd", &format!("{users}ordinary:x:{ID}:{ID}::/tmp:/bin/sh\n"))?;
    }
    if mode == Mode::Alone {
        for helper in ["/usr/bin/newuidmap", "/usr/bin/newgidmap"] {
            if Path::new(helper).exists() {
                cover(scratch, helper, "")?;
            }
        }
    }
    Ok(())
}

fn cover(scratch: &Path, path: &str, content: &str) -> io::Result<()> {
    let file = scratch.join(path.replace('/', "_"));
    fs::write(&file, content)?;
    if !Path::new(path).exists() {
        fs::write(path, "")?;
    }
    Ok(mount(Some(&file), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Makes the configuration of all tests one that the user can run.
pub fn adapt(config: &mut Value, mode: Mode) {
    let (first, count) = SUBORDINATE;
    let own = [0, ID, 1];
    match mode {
        Mode::Helpers => {
            let ids = [own, [1, first, count]];
            map(config, &ids, &ids);
        }
        Mode::Alone => {
            map(config, &[own], &[own]);
            // gid 5 is nobody's.
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|word| word != "gid=5");
                }
            }
        }
    }
    // Device rules are root's.
    config["linux"]["resources"] = json!({});
}

/// Why a test cannot hold for the user.
pub fn exception(name: &str, mode: Mode) -> Option<&'static str> {
    let is_named = |what: &&str| name == *what || (what.ends_with("::") && name.starts_with(what));
    let alone = if mode == Mode::Alone { ALONE } else { &[] };
    let mut groups = EXCEPTIONS.iter().chain(alone);
    groups.find(|(_, names)| names.iter().any(is_named)).map(|(why, _)| *why)
}

/// Reasons, each with the tests, or whole files (`file::`), that it keeps from an ordinary user.
const EXCEPTIONS: &[(&str, &[&str])] = &[
    (
        "init is let go ahead only where there is no user namespace",
        &["exec::container_that_run_still_makes_is_refused"],
    ),
    (
        "mounts in the test's own mount namespace are root's",
        &[
            "rootfs::rootfs_propagation_is_that_of_the_root",
            "rootfs::rootfs_propagation_leaves_the_hosts_mounts",
            "rootfs::host_mounts_reach_only_a_slave",
            "mount_options::bind_words_set_what_they_name",
            "mount_options::bind_without_words_keeps_the_flags_of_the_source",
            "mount_options::bind_with_a_word_has_only_what_was_asked",
            "mount_options::bind_changes_access_times_only_by_a_word_that_sets_one",
            "mount_options::bind_clearing_words_clear_the_flags_of_the_source",
            "mount_options::rbind_brings_mounts_below_and_bind_does_not",
            "mount_options::nosymfollow_is_set_and_cleared",
            "mount_options::recursive_words_reach_mounts_below",
            "mount_options::recursive_clearing_words_reach_mounts_below",
            "mount_options::recursive_clearing_words_keep_the_other_flags",
            "mount_options::of_contrary_recursive_words_the_last_counts",
            "mount_options::recursive_atime_words_reach_mounts_below",
            "mount_options::recursive_nosymfollow_reaches_mounts_below",
            "mount_options::of_contrary_words_the_last_counts",
            "mount_options::plain_ro_leaves_mounts_below_writable",
            "mount_options::propagation_words_set_that_of_the_mount",
            "mount_options::recursive_propagation_words_reach_mounts_below",
            "devices::bind_of_the_hosts_dev_is_left_alone",
        ],
    ),
    (
        "files of other users are made by root",
        &[
            "invocations::pid_file_that_is_a_device_is_left_as_it_is",
            "user_namespaces::",
            "idmap::",
            "features::features_are_those_that_the_planner_takes",
            "paths::device_node_of_another_kind_is_not_taken",
            "paths::null_device_of_the_image_does_not_unmask",
            "mounts::tmpcopyup_brings_what_the_image_has",
            "process::stdio_may_be_reopened_by_a_user",
            "memory_policy::",
        ],
    ),
    ("network devices of the host are root's", &["net_devices::"]),
    (
        "a configuration of an engine for root, as it was written",
        &["configs::", "budget::", "users::users_make_a_specification_and_run_it"],
    ),
    (
        "nothing is delegated here, and the test names a cgroup, makes one, or looks for one",
        &[
            "crash::",
            "lifecycle::delete_created_succeeds",
            "update::kill_ends_threaded_cgroups_in_the_container",
            "callers::podman_names_cgroups_below_a_parent",
            "exec_cgroup::",
            "update::pause_stops_all_processes_and_resume_lets_them_run",
            "contracts::podman_pauses_resumes_and_kills_without_path",
            "update::pause_and_resume_in_the_wrong_status_fail",
            "update::pause_of_a_created_container_holds_its_init",
            "update::paused_container_is_killed_and_deleted",
            "update::kill_all_of_a_paused_container_leaves_it_paused",
            "contracts::crio_updates_from_stdin_as_two_words",
            "contracts::podman_updates_from_a_file",
            "update::update_errors_name_the_flag",
            "update::update_leaves_device_rules_alone",
            "update::update_to_no_limit_needs_no_controller",
            "contracts::containerd_pauses_and_resumes",
            "contracts::containerd_updates_from_stdin_with_an_equals_sign",
            "contracts::go_runc_reads_stats",
            "contracts::go_runc_watches_by_seconds",
            "update::events_stats_has_the_form_of_runc",
            "update::events_stream_ends_with_the_container",
            "namespaces::without_a_cgroup_namespace_the_path_shows",
            "resources::",
            "rootfs::cgroup_mount_shows_the_containers_cgroup",
            "callers::containerd_passes_boolean_flags_with_a_value",
            "exec::process_is_in_the_cgroup_of_the_container",
        ],
    ),
    (
        "a create at work is found by its cgroup, and there is none",
        &[
            "concurrent::delete_force_ends_a_create_that_hangs_in_a_hook",
            "concurrent::kill_ends_a_create_that_hangs_in_a_hook",
        ],
    ),
    (
        "the harness finds and reaps the zombies of exec by their cgroup",
        &[
            "contracts::containerd_executes_from_a_file_and_detaches",
            "contracts::conmon_executes_without_the_cgroup_flag_and_reads_the_pid_file",
            "contracts::conmon_rs_executes_a_command_with_short_flags",
            "exec::process_is_a_child_of_the_runtimes_caller_when_detached",
            "exec::pid_file_names_the_process",
            "exec_terminal::detached_hands_over_the_terminal",
            "exec_terminal::detached_terminal_has_the_size_of_the_process_file",
        ],
    ),
    (
        "device rules and device nodes are root's",
        &[
            "devices::rules_deny_what_they_do_not_allow",
            "devices::rules_allow_by_number_and_access",
            "devices::rules_of_which_the_last_counts",
            "devices::rules_with_wildcards_hold",
            "devices::rules_let_default_devices_be",
            "devices::devices_are_made_as_given",
            "devices::device_without_a_mode_is_0666",
            "devices::default_devices_are_there",
            "devices::device_in_a_new_directory_is_made",
            "devices::device_may_replace_a_default_one",
            "devices::device_on_a_readonly_root_is_made",
        ],
    ),
    (
        "procfs of a pid namespace that is the host's cannot be mounted by a user",
        &[
            "contracts::containerd_kills_a_pod_container_as_a_whole",
            "callers::containerd_kills_all",
            "namespaces::host_pid_namespace_has_the_process_by_its_pid",
            "no_cgroup::kill_without_cgroup_and_pid_namespace_ends_init_and_warns",
            "no_cgroup::create_without_cgroup_and_pid_namespace_is_discouraged",
            "lifecycle::run_signaled_process_exits_with_128_plus_signal",
            "namespaces::namespaces_that_are_absent_are_the_hosts",
        ],
    ),
    (
        "the caller's groups are set by root",
        &[
            "annotations::podman_keeps_the_groups_of_its_user",
            "annotations::groups_are_not_kept_unless_asked_for",
            "annotations::exec_keeps_the_groups_as_well",
            "credentials::groups_of_the_runtime_are_dropped",
        ],
    ),
    (
        "the ids are not mapped",
        &[
            "credentials::user_and_groups_are_exactly_those_given",
            "credentials::ids_up_to_31_bits_are_taken",
            "mount_options::tmpfs_data_reaches_the_file_system",
            "mounts::file_systems_of_the_kernel_are_those_of_the_container",
        ],
    ),
    (
        "real-time scheduling, I/O priorities and sysctls of the host are root's",
        &[
            "scheduling::scheduler_deadline_has_its_times",
            "scheduling::scheduler_of_every_policy_is_in_force",
            "scheduling::scheduler_with_a_flag_resets_on_fork",
            "scheduling::io_priority_is_as_given",
            "sysctl::sysctl_does_not_need_proc_in_the_container",
        ],
    ),
    (
        "the keyring of this mode is the caller's: a user has 200 keys",
        &["scheduling::session_keyring_is_new"],
    ),
    (
        "it looks for root as the owner",
        &["users::users_list_a_table", "callers::containerd_lists_as_json"],
    ),
    ("asked of the system's systemd", &["systemd::"]),
    (
        "only root may mount on the host, and makes a mount namespace of the root alone",
        &["root_namespace::"],
    ),
    (
        "exec's listener is taken from a process that is not the user's any more (pidfd_getfd(2))",
        &["seccomp_notify::process_of_exec_has_a_listener_of_its_own"],
    ),
    ("it needs systemd, and becomes the user itself", &["rootless::"]),
    (
        "its configuration has no user namespace, or gives one twice",
        &[
            "errors::property_that_is_null_is_absent",
            "errors::value_that_contradicts_another_is_refused",
            "exec::container_without_namespaces_of_its_own_keeps_its_root",
            "namespaces::user_namespace_that_is_absent_is_the_hosts",
            "namespaces::kind_given_twice_is_refused",
        ],
    ),
    (
        "what is joined belongs to another user namespace",
        &[
            "namespaces::joined_namespaces_are_those_of_the_path",
            "namespaces::joined_pid_namespace_shows_the_others_processes",
            "namespaces::joined_cgroup_namespace_is_that_of_the_path",
            "namespaces::joined_network_alone_leaves_the_others_new",
            "namespaces::joined_time_namespace_is_that_of_the_path",
            "namespaces::joined_mount_namespace_is_that_of_the_path",
            "namespaces::joined_mount_namespace_needs_no_procfs",
            "namespaces::joined_mount_namespace_of_the_runtime_is_refused",
            "namespaces::joined_namespaces_leave_no_helper_behind",
            "namespaces::path_of_another_kind_is_refused",
            "namespaces::joined_namespace_survives_the_one_who_made_it",
            "namespaces::path_that_is_relative_is_refused",
            "namespaces::kinds_of_a_pod_are_shared",
        ],
    ),
];

/// The same, for who has but one id.
const ALONE: &[(&str, &[&str])] = &[(
    "the ids are not mapped",
    &[
        "seccomp::filter_is_in_force_for_users_without_capabilities",
        "other_systems::properties_of_windows_in_process_are_ignored",
        "credentials::capability_sets_of_a_user_are_those_given",
        "credentials::ambient_capabilities_reach_a_users_program",
        "credentials::capabilities_that_are_absent_are_none",
        "credentials::home_is_that_of_passwd",
        "paths::passwd_does_not_rename_ids",
        "process::cwd_that_only_its_user_may_enter_works",
        "exec::groups_are_added",
        "exec::process_file_says_all",
        "exec::user_is_that_of_the_container_or_the_one_asked_for",
        "exec::home_comes_from_the_containers_passwd",
        "exec_terminal::terminal_is_of_the_container_and_the_users",
        "console::terminal_belongs_to_the_user",
        "process::program_without_permission_is_permission_denied",
        "seccomp::profile_that_kills_lets_the_program_start_without_no_new_privileges",
    ],
)];
