use std::fmt;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Time(i64);

impl Time {
    /// From unix seconds.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Unix seconds.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// From its RFC 3339 form, in any offset; a part of a second is left out.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|at| Self(at.unix_timestamp()))
    }

    /// This moment and some seconds, at the latest the end of time.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// RFC 3339 in UTC, as in `2026-11-23T09:00:00Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp(self.0).ok().and_then(|at| at.format(&Rfc3339).ok());
        // Years beyond 9999 have no RFC 3339 form.
        f.write_str(text.as_deref().unwrap_or("9999-12-31T23:59:59Z"))
    }
}

/// A moment by a clock that neither jumps nor steps back: how long something took is told by two of them, whatever
/// somebody does to the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// Milliseconds since some moment, always the same one.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since an earlier tick.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn a_time_is_read_in_any_offset() {
        for text in ["2026-11-23T09:00:00Z", "2026-11-23T10:00:00.9+01:00"] {
            assert_eq!(Time::parse(text), Some(Time::from_unix(1_795_424_400)), "{text}");
        }
        for text in ["", "1795424400", "2026-11-23", "2026-13-23T09:00:00Z"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_prints_as_rfc_3339_in_utc() {
        for (unix, text) in
            [(0, "1970-01-01T00:00:00Z"), (1_795_424_400, "2026-11-23T09:00:00Z"), (i64::MAX, "9999-12-31T23:59:59Z")]
        {
            assert_eq!(Time::from_unix(unix).to_string(), text);
        }
    }
}
