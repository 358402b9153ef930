//! Server-sent events.

use serde::Serialize;

use super::http::BodyJson;
use crate::decode::ServerEvent;

#[derive(Serialize)]
pub(super) struct EventJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    body: BodyJson<'a>,
}

impl<'a> EventJson<'a> {
    /// Its type and its identifier are of the body as well.
    pub(super) fn of(event: &'a ServerEvent, bodies: bool) -> Self {
        Self {
            event: event.name.as_deref().filter(|_| bodies),
            id: event.id.as_deref().filter(|_| bodies),
            body: BodyJson::of(&event.body, bodies),
        }
    }
}
