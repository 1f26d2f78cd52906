//! `/openapi/v2` and `/openapi/v3`: the schemas of everything that is served.
use crate::{
    status::Status,
    types::{Request, Response, State},
};

pub fn serve(state: &State, segments: &[&str], request: &Request) -> Result<Response, Status> {
    let _ = (state, segments, request);
    Err(Status::unknown_path())
}
