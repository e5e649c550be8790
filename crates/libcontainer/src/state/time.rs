//! Points in time as text.
//!
//! Runs in: any process.

use std::time::{SystemTime, UNIX_EPOCH};

/// `time` as RFC 3339 in UTC with nanoseconds, trailing zeros cut, as Go's `RFC3339Nano` prints it.
pub fn rfc3339(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_from_days(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let nanoseconds = format!(".{:09}", since_epoch.subsec_nanos());
    text.push_str(nanoseconds.trim_end_matches('0').trim_end_matches('.'));
    text.push('Z');
    text
}

/// Year, month and day of the `days`th day after 1970-01-01 in the proleptic Gregorian calendar.
///
/// The year is taken to begin in March, so that the leap day is its last (Howard Hinnant, "chrono-compatible low-level
/// date algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_is_printed_as_go_prints_it() {
        let at = |seconds, nanoseconds| rfc3339(UNIX_EPOCH + Duration::new(seconds, nanoseconds));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399, 120_000_000), "2000-02-28T23:59:59.12Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(at(1_795_392_000, 999_999_999), "2026-11-23T00:00:00.999999999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00Z");
    }
}
