//! The one way out for JSON.

use poem::{
    IntoResponse, Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse,
    payload::{self, Payload},
    registry::{MetaResponses, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use serde::Serialize;

/// A `T` as JSON. To the document it is poem-openapi's `Json`, which builds a tree of values to write it.
pub struct Json<T>(pub T);

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = payload::Json::<T>::CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        payload::Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        payload::Json::<T>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        <payload::Json<T> as Payload>::register(registry);
    }
}

impl<T: ToJSON + Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        debug_assert!(serde_json::to_value(&self.0).ok() == self.0.to_json(), "this is not what the document says");
        // What is answered is made of text, numbers and lists, which are written without fail.
        let Ok(text) = serde_json::to_vec(&self.0) else { return StatusCode::INTERNAL_SERVER_ERROR.into() };
        let mut response = Response::from(text);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        response
    }
}

impl<T: ToJSON + Serialize> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        payload::Json::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        <payload::Json<T> as ApiResponse>::register(registry);
    }
}
