//! `/process/scheduler` and `/process/ioPriority`.
//!
//! Runs in: any process.

use super::{Check, check_range, fail};
use crate::spec::{Process, Scheduler, SchedulerPolicy};

pub(super) fn check(process: &Process) -> Check {
    if let Some(scheduler) = &process.scheduler {
        check_scheduler(scheduler)?;
    }
    if let Some(io) = &process.io_priority {
        check_range(io.priority, 0, 7, || "/process/ioPriority/priority".to_owned())?;
    }
    Ok(())
}

/// The rules of runc and sched(7).
fn check_scheduler(scheduler: &Scheduler) -> Check {
    let pointer = |property: &str| format!("/process/scheduler/{property}");
    let policy = scheduler.policy;
    check_range(scheduler.nice, -20, 19, || pointer("nice"))?;
    if matches!(policy, SchedulerPolicy::Fifo | SchedulerPolicy::Rr) {
        check_range(scheduler.priority, 1, 99, || pointer("priority"))?;
    } else if scheduler.priority != 0 {
        return fail(pointer("priority"), format!("is for SCHED_FIFO and SCHED_RR, not {policy}"));
    }
    if policy == SchedulerPolicy::Deadline {
        return check_deadline(scheduler);
    }
    for (property, value) in [
        ("runtime", scheduler.runtime),
        ("deadline", scheduler.deadline),
        ("period", scheduler.period),
    ] {
        if value != 0 {
            return fail(pointer(property), format!("is for SCHED_DEADLINE, not {policy}"));
        }
    }
    Ok(())
}

/// runtime ≤ deadline ≤ period, where a period of 0 is the deadline (sched_setattr(2)).
fn check_deadline(scheduler: &Scheduler) -> Check {
    let Scheduler { runtime, deadline, period, .. } = *scheduler;
    if runtime == 0 || runtime > deadline {
        return fail(
            "/process/scheduler/runtime",
            format!("is {runtime}, not from 1 to the deadline {deadline}"),
        );
    }
    if period != 0 && deadline > period {
        return fail(
            "/process/scheduler/deadline",
            format!("is {deadline}, above the period {period}"),
        );
    }
    Ok(())
}
