//! The OpenAPI document, made from the handlers.

use super::{import, level, problem, registrations, subscribers, targets};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "siprack provisioning", description = "Subscribers, registrations and import of a rack"),
    paths(
        super::home,
        super::metrics_targets,
        subscribers::create,
        subscribers::list,
        subscribers::show,
        subscribers::replace,
        subscribers::remove,
        registrations::list,
        registrations::count,
        registrations::show,
        import::import,
        level::level
    ),
    components(schemas(
        problem::ProblemBody,
        subscribers::NewSubscriber,
        subscribers::NewPassword,
        targets::TargetGroup
    )),
    modifiers(&Token)
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The text of the file api.token in the data directory"))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
