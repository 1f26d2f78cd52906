//! How many seats a request takes: a list, and a watch that begins with one, by the bytes that it reads all at once,
//! whatever the namespace.
//!
//! Every list is made from memory and sent in pieces, which a stock server says of lists from its cache: so none takes
//! more than [`CACHE_MAX_BYTES`]. Sizes are those of the stored JSON, Events' too, which a stock server cannot tell.
//! Source: https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/apiserver/pkg/util/flowcontrol/request/list_work_estimator.go
//! (`SizeBasedListCostEstimate`)

use coracle_store::{Reader, Scope};

use crate::{
    options::{Query, is_true},
    registry::store_resource,
    request_info::RequestInfo,
};

const BYTES_PER_SEAT: u64 = 100_000;
const CACHE_MAX_BYTES: u64 = 1_000_000;
/// Of a list whose options cannot be read: it will be refused.
const MAX_WIDTH: u32 = 100;

/// What there is of a resource.
#[derive(Clone, Copy, Default)]
pub struct Stored {
    pub objects: u64,
    pub bytes: u64,
}

pub fn width(reader: &Reader, info: &RequestInfo, query: Option<&str>) -> u32 {
    estimate(info, query, || {
        let (snapshot, resource) = (reader.snapshot(), store_resource(&info.group, &info.resource));
        let bytes = snapshot.bytes(&resource);
        Stored { objects: snapshot.count(&Scope::all(resource)) as u64, bytes }
    })
}

fn estimate(info: &RequestInfo, query: Option<&str>, stored: impl FnOnce() -> Stored) -> u32 {
    if !matches!(info.verb.as_str(), "list" | "watch") {
        return 1;
    }
    let query = Query::parse(query);
    let asks = query.get("sendInitialEvents").is_some_and(|text| !text.is_empty() && is_true(text));
    if info.verb == "watch" && !asks && !matches!(query.text("resourceVersion"), "" | "0") {
        return 1;
    }
    let limit = match query.text("limit") {
        "" => 0,
        text => match text.parse::<i64>() {
            Ok(limit) => limit,
            Err(_) => return MAX_WIDTH,
        },
    };
    let Stored { objects, bytes } = stored();
    let limited = match u64::try_from(limit) {
        Ok(limit @ 1..) => limit.min(objects),
        _ => objects,
    };
    let read = if info.name.is_empty() { limited } else { 1 };
    let average = bytes.checked_div(objects).unwrap_or_default();
    let seats = (read * average).min(CACHE_MAX_BYTES).div_ceil(BYTES_PER_SEAT);
    u32::try_from(seats).unwrap_or(MAX_WIDTH).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn seats_are_taken_by_the_bytes_that_are_read() {
        let of = |objects: u64, average: u64| Stored { objects, bytes: objects * average };
        const PODS: &str = "/api/v1/namespaces/a/pods";
        for (uri, stored, seats) in [
            (PODS.to_owned(), of(0, 0), 1),
            (PODS.to_owned(), of(10, 1_000), 1),
            (PODS.to_owned(), of(69, 10_000), 7),
            (PODS.to_owned(), of(5_000, 10_000), 10),
            (PODS.to_owned(), of(1, 3_000_000), 10),
            // Many small ones are less than a few large ones.
            (PODS.to_owned(), of(900, 100), 1),
            (format!("{PODS}?limit=20"), of(399, 10_000), 2),
            (format!("{PODS}?limit=500"), of(30, 10_000), 3),
            (format!("{PODS}?limit=0"), of(30, 10_000), 3),
            (format!("{PODS}?limit=-1"), of(30, 10_000), 3),
            (format!("{PODS}?limit=many"), of(30, 10_000), 100),
            (format!("{PODS}?labelSelector=a%3Db"), of(30, 10_000), 3),
            (format!("{PODS}?fieldSelector=metadata.name%3Dx"), of(30, 10_000), 1),
            (format!("{PODS}?fieldSelector=metadata.name%3Dx"), of(3, 250_000), 3),
            (format!("{PODS}/x"), of(30, 10_000), 1),
            (format!("{PODS}?watch=1&resourceVersion=7"), of(30, 10_000), 1),
            (format!("{PODS}?watch=1&resourceVersion=7&sendInitialEvents=true"), of(30, 10_000), 3),
            (format!("{PODS}?watch=1&resourceVersion=7&sendInitialEvents=false"), of(30, 10_000), 1),
            (format!("{PODS}?watch=1&resourceVersion=0"), of(30, 10_000), 3),
            (format!("{PODS}?watch=1"), of(30, 10_000), 3),
        ] {
            let parsed: http::Uri = uri.parse().expect("uri");
            let info = RequestInfo::parse(&Method::GET, &parsed);
            assert_eq!(estimate(&info, parsed.query(), || stored), seats, "{uri} of {}", stored.objects);
        }
        let created = RequestInfo::parse(&Method::POST, &PODS.parse().expect("uri"));
        assert_eq!(estimate(&created, None, || of(30, 10_000)), 1);
    }
}
