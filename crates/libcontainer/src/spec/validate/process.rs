//! `/process`.
//!
//! Runs in: any process.

use super::{
    Check, capabilities, check_count, check_id, check_range, fail, number_list, scheduling,
};
use crate::spec::limits::{MAX_ARG_SPACE, MAX_ARG_STRLEN, MAX_GROUPS, MIN_ARG_SPACE};
use crate::spec::{PosixRlimit, Process, RlimitType, SpecError, User};

pub(super) fn check(process: &Process, warnings: &mut Vec<SpecError>) -> Check {
    check_cwd(&process.cwd)?;
    check_args(&process.args)?;
    check_env(&process.env)?;
    check_arg_space(process)?;
    check_user(&process.user)?;
    if let Some(sets) = &process.capabilities {
        capabilities::check(sets, warnings)?;
    }
    check_rlimits(&process.rlimits)?;
    if let Some(score) = process.oom_score_adj {
        check_range(score, -1000, 1000, || "/process/oomScoreAdj".to_owned())?;
    }
    scheduling::check(process)?;
    if let Some(cpus) = &process.exec_cpu_affinity {
        number_list::check(&cpus.initial, || "/process/execCPUAffinity/initial".to_owned())?;
        number_list::check(&cpus.final_, || "/process/execCPUAffinity/final".to_owned())?;
    }
    Ok(())
}

fn check_cwd(cwd: &str) -> Check {
    const POINTER: &str = "/process/cwd";
    if cwd.is_empty() {
        return fail(POINTER, "Cwd property must not be empty");
    }
    if !cwd.starts_with('/') {
        return fail(POINTER, "Cwd must be an absolute path");
    }
    Ok(())
}

fn check_args(args: &[String]) -> Check {
    match args.first() {
        None => fail("/process/args", "args must not be empty"),
        Some(name) if name.is_empty() => {
            // Docker and Podman look for these words of Go's os/exec.
            fail("/process/args/0", r#"exec: "": executable file not found in $PATH"#)
        }
        Some(_) => Ok(()),
    }
}

/// `NAME=value`, as runc demands it: an entry without a name is a mistake that programs cannot see.
fn check_env(env: &[String]) -> Check {
    for (index, entry) in env.iter().enumerate() {
        let problem = match entry.find('=') {
            None => "missing '='",
            Some(0) => "name cannot be empty",
            Some(_) => continue,
        };
        let problem = format!("invalid environment variable: {problem}");
        return fail(format!("/process/env/{index}"), problem);
    }
    Ok(())
}

/// What execve would answer with E2BIG, after everything else was done.
fn check_arg_space(process: &Process) -> Check {
    let args = arg_space("/process/args", &process.args)?;
    let env = arg_space("/process/env", &process.env)?;
    let space = available_arg_space(&process.rlimits);
    if args + env > space {
        let pointer = if args > env { "/process/args" } else { "/process/env" };
        let problem =
            format!("args and env take {} bytes, and execve takes {space} here", args + env);
        return fail(pointer, problem);
    }
    Ok(())
}

/// Bytes that strings take in the new program: with a NUL and a pointer each.
fn arg_space(pointer: &str, strings: &[String]) -> Result<u64, SpecError> {
    const POINTER_SIZE: u64 = size_of::<*const u8>() as u64;
    let mut space = 0;
    for (index, string) in strings.iter().enumerate() {
        if string.len() >= MAX_ARG_STRLEN {
            let problem =
                format!("is {} bytes, and execve takes {}", string.len(), MAX_ARG_STRLEN - 1);
            return fail(format!("{pointer}/{index}"), problem);
        }
        space += string.len() as u64 + 1 + POINTER_SIZE;
    }
    Ok(space)
}

/// A quarter of the stack limit that the process gets, within the kernel's bounds. Where it keeps the runtime's limit,
/// which may be anything, only the upper bound is certain.
fn available_arg_space(rlimits: &[PosixRlimit]) -> u64 {
    let stack = rlimits.iter().find(|limit| limit.rlimit_type == RlimitType::Stack);
    stack.map_or(MAX_ARG_SPACE, |stack| (stack.soft / 4).clamp(MIN_ARG_SPACE, MAX_ARG_SPACE))
}

fn check_user(user: &User) -> Check {
    check_id(user.uid, || "/process/user/uid".to_owned())?;
    check_id(user.gid, || "/process/user/gid".to_owned())?;
    check_count("/process/user/additionalGids", user.additional_gids.len(), MAX_GROUPS)?;
    for (index, gid) in user.additional_gids.iter().enumerate() {
        check_id(*gid, || format!("/process/user/additionalGids/{index}"))?;
    }
    match user.umask {
        Some(umask) if umask > 0o7777 => {
            fail("/process/user/umask", format!("is {umask}, which has more than permission bits"))
        }
        _ => Ok(()),
    }
}

fn check_rlimits(rlimits: &[PosixRlimit]) -> Check {
    for (index, limit) in rlimits.iter().enumerate() {
        let kind = limit.rlimit_type;
        if rlimits.iter().take(index).any(|earlier| earlier.rlimit_type == kind) {
            return fail(
                format!("/process/rlimits/{index}/type"),
                format!("{kind} is given twice"),
            );
        }
        if limit.soft > limit.hard {
            let problem = format!("is {}, above the hard limit {}", limit.soft, limit.hard);
            return fail(format!("/process/rlimits/{index}/soft"), problem);
        }
    }
    Ok(())
}
