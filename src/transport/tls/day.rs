//! Dates of certificates as an operator reads them.

/// A day as 2026-01-31, in UTC; of the civil calendar by the count of days since the first of March of
/// the year 0.
pub(super) fn day(unix_s: i64) -> String {
    const ERA_DAYS: i64 = 146_097; // 400 years
    let days = unix_s.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let in_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * in_year + 2) / 153; // months since March
    let day = in_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
