//! Points in time: seconds since 1970-01-01T00:00:00Z, as the caller gives them.

use std::time::Duration;

use der::DateTime;

/// Seconds since the epoch from RFC 3339 text (`2026-01-31T12:00:00Z`, `…T12:00:00.5+01:00`); years 1970 to 9999.
pub fn parse(text: &str) -> Option<f64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let [date, time] = two(date_time, ['T', 't'])?;
    let [year, month, day] = three(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = three(time, ':', [2, 2, 2])?;
    let small = |n: u32| u8::try_from(n).ok();
    let moment = DateTime::new(
        u16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
    )
    .ok()?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        None => (0.0, rest),
        Some(rest) => {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, zone) = rest.split_at_checked(digits)?;
            if digits.is_empty() || digits.len() > 9 {
                return None;
            }
            (format!("0.{digits}").parse::<f64>().ok()?, zone)
        }
    };
    let offset = match zone {
        "Z" | "z" => 0.0,
        _ => {
            let (sign, zone) = match zone.strip_prefix('+') {
                Some(zone) => (1.0, zone),
                None => (-1.0, zone.strip_prefix('-')?),
            };
            let (hours, minutes) = zone.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0)
        }
    };
    Some(moment.unix_duration().as_secs_f64() + fraction - offset)
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn two(text: &str, separators: [char; 2]) -> Option<[&str; 2]> {
    text.split_once(separators).map(|(a, b)| [a, b])
}

fn three(text: &str, separator: char, digits: [usize; 3]) -> Option<[u32; 3]> {
    let mut parts = text.split(separator);
    let mut out = [0; 3];
    for (slot, digits) in out.iter_mut().zip(digits) {
        *slot = number(parts.next()?, digits)?;
    }
    parts.next().is_none().then_some(out)
}

/// RFC 3339 in UTC, whole seconds.
pub fn format(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds.floor())
        .ok()
        .and_then(|since| DateTime::from_unix_duration(since).ok())
        .map_or_else(|| format!("{seconds} s since 1970"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_with_fraction_and_zone() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(parse("2026-02-28T23:59:59.5Z"), Some(1772323199.5));
        assert_eq!(parse("2026-03-01T00:59:59+01:00"), parse("2026-02-28T23:59:59z"));
        assert_eq!(parse("2024-02-29T00:00:00-00:30"), Some(1709166600.0));
        assert_eq!(format(1709166600.9), "2024-02-29T00:30:00Z");
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zjunk",
            "12026-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:0٣Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
