//! Query parameters of the pod subresources, with the errors that a stock server gives.

use crate::{
    options::{is_true, parse_number},
    status::{Cause, GroupResource, Status},
};

pub struct Options<'a>(pub &'a [(String, String)]);

impl<'a> Options<'a> {
    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(own, _)| own == key).map(|(_, value)| value.clone()).collect()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub fn flag(&self, key: &str) -> bool {
        self.0.iter().find(|(own, _)| own == key).is_some_and(|(_, value)| is_true(value))
    }

    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        self.text(key).map(parse_number).transpose()
    }

    /// To the second. Old clients write `null` for none.
    pub fn time(&self, key: &str) -> Result<Option<String>, Status> {
        let Some(text) = self.text(key).filter(|text| *text != "null") else { return Ok(None) };
        coracle_schema::canonical_time(text, false).map(Some).map_err(Status::bad_request)
    }
}

/// What `kubectl logs` may ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub since_seconds: Option<i64>,
    pub since_time: Option<String>,
    pub tail_lines: Option<i64>,
    pub limit_bytes: Option<i64>,
}

impl LogOptions {
    pub fn parse(query: &[(String, String)], pod: &str) -> Result<LogOptions, Status> {
        let options = Options(query);
        // In this order the first that cannot be read is told.
        let parsed = LogOptions {
            follow: options.flag("follow"),
            limit_bytes: options.number("limitBytes")?,
            previous: options.flag("previous"),
            since_seconds: options.number("sinceSeconds")?,
            since_time: options.time("sinceTime")?,
            tail_lines: options.number("tailLines")?,
            timestamps: options.flag("timestamps"),
        };
        let causes = parsed.causes();
        if causes.is_empty() {
            return Ok(parsed);
        }
        Err(Status::invalid(GroupResource::new("", "PodLogOptions"), pod, causes))
    }

    fn causes(&self) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let Some(lines) = self.tail_lines.filter(|lines| *lines < 0) {
            causes.push(Cause::invalid("tailLines", lines, "must be greater than or equal to 0"));
        }
        if let Some(bytes) = self.limit_bytes.filter(|bytes| *bytes < 1) {
            causes.push(Cause::invalid("limitBytes", bytes, "must be greater than 0"));
        }
        if let Some(seconds) = self.since_seconds.filter(|seconds| *seconds < 1) {
            causes.push(Cause::invalid("sinceSeconds", seconds, "must be greater than 0"));
        }
        if self.since_time.is_some() && self.since_seconds.is_some() {
            let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            causes.push(Cause::forbidden("", why));
        }
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(key: &str, value: &str) -> Result<LogOptions, (u16, String)> {
        let query = [(key.to_owned(), value.to_owned())];
        LogOptions::parse(&query, "web").map_err(|status| (status.code, status.message))
    }

    #[test]
    fn flags_are_false_only_where_they_say_so() {
        for (value, expected) in [
            ("", true),
            ("1", true),
            ("no", true),
            ("true", true),
            ("false", false),
            ("False", false),
            ("0", false),
        ] {
            assert_eq!(parsed("follow", value).unwrap().follow, expected, "{value:?}");
        }
    }

    #[test]
    fn a_time_is_read_as_go_reads_it() {
        for (value, expected) in [
            ("", Ok(None)),
            ("null", Ok(None)),
            ("2026-01-02T03:04:05.6+01:00", Ok(Some("2026-01-02T02:04:05Z"))),
            ("x", Err("parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"")),
        ] {
            let expected = expected.map(|time| time.map(str::to_owned)).map_err(|why| (400, why.to_owned()));
            assert_eq!(parsed("sinceTime", value).map(|options| options.since_time), expected, "{value:?}");
        }
        let wide = parsed("tailLines", "9223372036854775808").unwrap_err();
        let why = "strconv.ParseInt: parsing \"9223372036854775808\": value out of range";
        assert_eq!(wide, (400, why.to_owned()));
    }
}
