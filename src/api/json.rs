//! The one way out for JSON.

use std::marker::PhantomData;

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

/// A `T` as JSON, written. To the document it is poem-openapi's `Json`, which builds a tree of values to write it.
pub struct Json<T> {
    /// None: it could not be written, which text, numbers and lists can.
    text: Option<Vec<u8>>,
    of: PhantomData<fn() -> T>,
}

impl<T> Json<T> {
    /// What was written before.
    pub fn written(text: Vec<u8>) -> Self {
        Self { text: Some(text), of: PhantomData }
    }
}

impl<T: ToJSON + Serialize> Json<T> {
    /// Writes it.
    pub fn new(value: &T) -> Self {
        debug_assert!(serde_json::to_value(value).ok() == value.to_json(), "this is not what the document says");
        Self { text: serde_json::to_vec(value).ok(), of: PhantomData }
    }

    /// The bytes.
    pub fn text(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }
}

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

impl<T: Type + Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let Some(text) = self.text else { return StatusCode::INTERNAL_SERVER_ERROR.into() };
        let mut response = Response::from(text);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        response
    }
}

impl<T: ToJSON + Send> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        payload::Json::<T>::meta()
    }

    fn register(registry: &mut Registry) {
        <payload::Json<T> as ApiResponse>::register(registry);
    }
}
