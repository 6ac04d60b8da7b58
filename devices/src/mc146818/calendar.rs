//! The ten clock bytes and the century byte as a calendar.

use super::Mc146818;

const SECONDS: usize = 0;
const SECONDS_ALARM: usize = 1;
const MINUTES: usize = 2;
const MINUTES_ALARM: usize = 3;
const HOURS: usize = 4;
const HOURS_ALARM: usize = 5;
const DAY_OF_WEEK: usize = 6;
const DATE: usize = 7;
const MONTH: usize = 8;
const YEAR: usize = 9;
const CENTURY: usize = Mc146818::CENTURY as usize;

const DAY: u64 = 86_400;
/// Bit 7 of the hours: afternoon, in 12-hour format.
const PM: u8 = 0x80;

/// How register B says the bytes are to be read.
#[derive(Clone, Copy)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    pub(super) fn new(register_b: u8) -> Self {
        Self { binary: register_b & 0x04 != 0, hours_24: register_b & 0x02 != 0 }
    }

    /// The number in `byte`; whatever is no number in BCD is read digit by digit.
    fn decode(self, byte: u8) -> u8 {
        if self.binary { byte } else { (byte >> 4) * 10 + (byte & 15) }
    }

    fn encode(self, number: u64) -> u8 {
        let number = (number % 100) as u8;
        if self.binary { number } else { ((number / 10) << 4) | (number % 10) }
    }

    fn decode_hours(self, byte: u8) -> u8 {
        if self.hours_24 {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM != 0 { 12 } else { 0 }
    }

    fn encode_hours(self, hours: u64) -> u8 {
        if self.hours_24 {
            return self.encode(hours);
        }
        let hour = if hours.is_multiple_of(12) { 12 } else { hours % 12 };
        self.encode(hour) | if hours >= 12 { PM } else { 0 }
    }
}

/// A time of day and a date. Every field is in its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Calendar {
    /// Seconds since midnight.
    second: u64,
    /// 1 to 7; 1 is Sunday.
    day_of_week: u64,
    /// Days since 1 March of the year 0.
    day: u64,
}

/// Days from 1 March of the year 0 to the first of each month, March first.
const MONTH_STARTS: [u64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];
const DAYS_OF_400_YEARS: u64 = 146_097;
const DAYS_OF_10000_YEARS: u64 = 25 * DAYS_OF_400_YEARS;
/// 1 January 1970, a Thursday.
const UNIX_EPOCH: i64 = 719_468;

fn days(year: u64, month: u64, date: u64) -> u64 {
    // January and February belong to the year before; the cycle of 400 years makes room for it.
    let march_year = year + 400 - u64::from(month < 3);
    let month_start = MONTH_STARTS[((month + 9) % 12) as usize];
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    let wrap = if year == 0 && month < 3 { DAYS_OF_10000_YEARS } else { 0 };
    march_year * 365 + leap_days + month_start + date - 1 + wrap - DAYS_OF_400_YEARS
}

/// Year, month and date of a day.
fn date_of(day: u64) -> (u64, u64, u64) {
    let cycle = day / DAYS_OF_400_YEARS;
    let day = day % DAYS_OF_400_YEARS;
    // Leap days come at the end of the years that start in March.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let index = MONTH_STARTS.iter().rposition(|start| *start <= day).unwrap_or(0);
    let month = (index as u64 + 2) % 12 + 1;
    let year = cycle * 400 + year + u64::from(month < 3);
    (year % 10_000, month, day - MONTH_STARTS[index] + 1)
}

impl Calendar {
    pub(super) fn from_unix(seconds: i64) -> Self {
        let day = seconds.div_euclid(DAY as i64).saturating_add(UNIX_EPOCH);
        let day = day.clamp(0, DAYS_OF_10000_YEARS as i64 - 1) as u64;
        let second = seconds.rem_euclid(DAY as i64) as u64;
        Self { second, day, day_of_week: (day + 3) % 7 + 1 }
    }

    /// What the clock bytes say; a field out of range counts as the nearest in range.
    pub(super) fn load(cmos: &[u8], format: Format) -> Self {
        let field =
            |index: usize, min: u8, max: u8| u64::from(format.decode(cmos[index]).clamp(min, max));
        let hours = u64::from(format.decode_hours(cmos[HOURS]).min(23));
        let year = field(CENTURY, 0, 99) * 100 + field(YEAR, 0, 99);
        Self {
            second: hours * 3600 + field(MINUTES, 0, 59) * 60 + field(SECONDS, 0, 59),
            day_of_week: field(DAY_OF_WEEK, 1, 7),
            day: days(year, field(MONTH, 1, 12), field(DATE, 1, 31)),
        }
    }

    pub(super) fn store(&self, cmos: &mut [u8], format: Format) {
        let (year, month, date) = date_of(self.day);
        cmos[SECONDS] = format.encode(self.second % 60);
        cmos[MINUTES] = format.encode(self.second / 60 % 60);
        cmos[HOURS] = format.encode_hours(self.second / 3600);
        cmos[DAY_OF_WEEK] = format.encode(self.day_of_week);
        cmos[DATE] = format.encode(date);
        cmos[MONTH] = format.encode(month);
        cmos[YEAR] = format.encode(year % 100);
        cmos[CENTURY] = format.encode(year / 100);
    }

    pub(super) fn add_seconds(&mut self, seconds: u64) {
        let second = self.second + seconds % DAY;
        let days = seconds / DAY + second / DAY;
        self.second = second % DAY;
        self.day_of_week = (self.day_of_week - 1 + days % 7) % 7 + 1;
        self.day = (self.day + days) % DAYS_OF_10000_YEARS;
    }

    /// Seconds, at least 1, until the alarm bytes match; `None` if they hold no time of day.
    pub(super) fn seconds_to_alarm(&self, cmos: &[u8], format: Format) -> Option<u64> {
        // "The don't-care code is any hexadecimal byte from C0 to FF."
        let wanted = |index: usize, decode: fn(Format, u8) -> u8| {
            (cmos[index] < 0xc0).then(|| u64::from(decode(format, cmos[index])))
        };
        let hour = wanted(HOURS_ALARM, Format::decode_hours);
        let minute = wanted(MINUTES_ALARM, Format::decode);
        let second = wanted(SECONDS_ALARM, Format::decode);
        let misses = |wanted: Option<u64>, is: u64| wanted.is_some_and(|w| w != is);
        let mut at = self.second + 1;
        while at <= self.second + DAY {
            if misses(hour, at / 3600 % 24) {
                at = (at / 3600 + 1) * 3600;
            } else if misses(minute, at / 60 % 60) {
                at = (at / 60 + 1) * 60;
            } else if misses(second, at % 60) {
                at += 1;
            } else {
                return Some(at - self.second);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, DAYS_OF_10000_YEARS, date_of, days};

    #[test]
    fn every_day_of_ten_thousand_years_round_trips() {
        let mut expected = (0, 3, 1);
        for day in 0..DAYS_OF_10000_YEARS {
            let (year, month, date) = date_of(day);
            assert_eq!((year, month, date), expected, "day {day}");
            assert_eq!(days(year, month, date), day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (date == length, month == 12) {
                (false, _) => (year, month, date + 1),
                (true, false) => (year, month + 1, 1),
                (true, true) => ((year + 1) % 10_000, 1, 1),
            };
        }
    }

    #[test]
    fn unix_time_has_the_right_weekday() {
        let thursday = Calendar::from_unix(0);
        assert_eq!((date_of(thursday.day), thursday.day_of_week), ((1970, 1, 1), 5));
        let friday = Calendar::from_unix(1_234_567_890);
        assert_eq!((date_of(friday.day), friday.day_of_week), ((2009, 2, 13), 6));
        assert_eq!(friday.second, 23 * 3600 + 31 * 60 + 30);
        assert_eq!(date_of(Calendar::from_unix(i64::MIN).day), (0, 3, 1));
        assert_eq!(date_of(Calendar::from_unix(i64::MAX).day), (0, 2, 29));
    }
}
