//! Get: one object, as stored.

use super::{Answer, Target, answer};
use crate::{options::parse_revision, status::Status, types::State};

pub async fn get(state: &State, target: &Target, resource_version: &str) -> Result<Answer, Status> {
    let asked = parse_revision(resource_version)?;
    super::list::not_in_the_future(state, asked)?;
    let object = state.reader.get(&target.key()).ok_or_else(|| target.not_found())?;
    answer(&target.served, object).await
}
