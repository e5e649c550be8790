//! The mode in which every bundle has a user namespace of its own: `CORTEN_TEST_USERNS=1`. What cannot hold there by the rules of
//! the kernel is in [`EXCEPTIONS`], by name.
//!
//! Runs in: any process.

use serde_json::Value;

use crate::bundle::map;

/// Whether every bundle has one.
pub fn is_mode() -> bool {
    std::env::var_os("CORTEN_TEST_USERNS").is_some_and(|value| value == "1")
}

/// Gives the configuration one, with all ids that tests use.
pub fn adapt(config: &mut Value) {
    map(config, &[[0, 100_000, 1 << 31]], &[[0, 200_000, 1 << 31]]);
}

/// Why a test cannot hold.
pub fn exception(name: &str) -> Option<&'static str> {
    let is_meant = |(names, _): &&(&[&str], &str)| {
        names.iter().any(|it| name == *it || it.ends_with("::") && name.starts_with(it))
    };
    EXCEPTIONS.iter().find(is_meant).map(|(_, why)| *why)
}

/// Tests, or whole files (`file::`), and why.
const EXCEPTIONS: &[(&[&str], &str)] = &[
    (
        &[
            "callers::containerd_kills_all",
            "contracts::containerd_kills_a_pod_container_as_a_whole",
            "lifecycle::run_signaled_process_exits_with_128_plus_signal",
            "namespaces::host_pid_namespace_has_the_process_by_its_pid",
            "namespaces::joined_namespaces_are_those_of_the_path",
            "namespaces::joined_namespaces_leave_no_helper_behind",
            "namespaces::joined_pid_namespace_shows_the_others_processes",
            "namespaces::namespaces_that_are_absent_are_the_hosts",
            "no_cgroup::create_without_cgroup_and_pid_namespace_is_discouraged",
            "no_cgroup::kill_without_cgroup_and_pid_namespace_ends_init_and_warns",
        ],
        "the kernel permits no procfs of a pid namespace that belongs to another user namespace",
    ),
    (
        &["seccomp::profiles_of_engines_answer_as_under_crun"],
        "crun 1.8 gives the host's null device to the container's root",
    ),
    (
        &["exec::container_that_run_still_makes_is_refused"],
        "init is let go ahead only where there is no user namespace",
    ),
    (
        &["root_namespace::"],
        "with a user namespace all mounts are copied, and those of the host are locked",
    ),
    (
        &["namespaces::kinds_of_a_pod_are_shared"],
        "the kernel permits no mqueue of an IPC namespace that belongs to another user namespace",
    ),
    (
        &[
            "namespaces::joined_mount_namespace_is_that_of_the_path",
            "namespaces::joined_mount_namespace_needs_no_procfs",
        ],
        "nothing may be mounted in a mount namespace that belongs to another user namespace",
    ),
    (
        &["sysctl::sysctl_does_not_need_proc_in_the_container"],
        "the kernel permits a procfs only where another one is in full view (mount_too_revealing)",
    ),
    (
        &[
            "scheduling::io_priority_is_as_given",
            "scheduling::scheduler_batch_and_idle_are_set_with_their_nice",
            "scheduling::scheduler_deadline_has_its_times",
            "scheduling::scheduler_of_every_policy_is_in_force",
            "scheduling::scheduler_with_a_flag_resets_on_fork",
        ],
        "CAP_SYS_NICE counts in the initial user namespace only; runc sets these there, too",
    ),
    (
        &[
            "devices::default_devices_are_there",
            "devices::device_in_a_new_directory_is_made",
            "devices::device_may_replace_a_default_one",
            "devices::device_on_a_readonly_root_is_made",
            "devices::device_without_a_mode_is_0666",
            "devices::devices_are_made_as_given",
            "devices::rules_allow_by_number_and_access",
            "devices::rules_deny_what_they_do_not_allow",
            "devices::rules_let_default_devices_be",
            "devices::rules_of_which_the_last_counts",
            "devices::rules_with_wildcards_hold",
        ],
        "CAP_MKNOD counts in the initial user namespace only: there are the host's nodes, with their names, owners and modes",
    ),
    (
        &[
            "mount_options::bind_changes_access_times_only_by_a_word_that_sets_one",
            "mount_options::bind_clearing_words_clear_the_flags_of_the_source",
            "mount_options::bind_with_a_word_has_only_what_was_asked",
            "mount_options::bind_words_set_what_they_name",
            "mount_options::rbind_brings_mounts_below_and_bind_does_not",
            "mount_options::recursive_atime_words_reach_mounts_below",
            "mount_options::recursive_clearing_words_keep_the_other_flags",
            "mount_options::recursive_clearing_words_reach_mounts_below",
        ],
        "flags and children of mounts that come from the host are locked (mount_namespaces(7))",
    ),
    (
        &["mount_options::propagation_words_set_that_of_the_mount"],
        "mounts that come from the host are slaves (mount_namespaces(7))",
    ),
    (
        &[
            "annotations::exec_keeps_the_groups_as_well",
            "annotations::podman_keeps_the_groups_of_its_user",
            "mount_options::tmpfs_data_reaches_the_file_system",
            "mounts::file_systems_of_the_kernel_are_those_of_the_container",
            "mounts::tmpcopyup_brings_what_the_image_has",
            "process::cwd_that_only_its_user_may_enter_works",
            "process::stdio_may_be_reopened_by_a_user",
            "resources::writable_cgroup_is_delegated",
        ],
        "looks at ids of the host, or makes files of them: in the container they are others, or nobody's",
    ),
    (
        &[
            "errors::property_that_is_null_is_absent",
            "errors::value_that_contradicts_another_is_refused",
            "exec::container_without_namespaces_of_its_own_keeps_its_root",
            "features::features_are_those_that_the_planner_takes",
            "namespaces::joined_mount_namespace_of_the_runtime_is_refused",
            "namespaces::kind_given_twice_is_refused",
            "namespaces::path_of_another_kind_is_refused",
            "namespaces::path_that_is_relative_is_refused",
            "namespaces::user_namespace_that_is_absent_is_the_hosts",
        ],
        "is about the list of namespaces as it is without a user namespace",
    ),
    (
        &[
            "net_devices::create_that_fails_later_brings_devices_back",
            "net_devices::device_that_cannot_move_brings_the_others_back",
        ],
        "the socket of the container's network has no right to the host's: the kernel brings devices back, without addresses",
    ),
    (
        &["crash::two_hundred_lives_leave_nothing"],
        "the host's root may have more keys than others: 800 containers in a row are more than a user's quota",
    ),
    (&["idmap::"], "says itself where it has a user namespace, and which"),
];
