use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps text that a database or a verified token holds. An id that belongs to nothing finds nothing.
            pub fn from_text(text: String) -> Self {
                Self(text)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The 16 bytes of the UUID, if it is one in the form that ids have here.
            pub fn to_bytes(&self) -> Option<[u8; 16]> {
                let id = Uuid::try_parse(&self.0).ok()?;
                let mut form = Uuid::encode_buffer();
                (id.hyphenated().encode_lower(&mut form) == self.0.as_str()).then(|| id.into_bytes())
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id.hyphenated().to_string())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// An account's id: a UUIDv7 (RFC 9562) as text. Public, and not a credential.
    UserId
}

id! {
    /// A session's id: a UUIDv7 (RFC 9562) as text. Public, and not a credential.
    SessionId
}

id! {
    /// A mail's id: a UUIDv7 (RFC 9562) as text. Public: it stands in its `Message-ID`.
    MailId
}

impl SessionId {
    /// The id of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Uuid::from_bytes(bytes).into()
    }
}
