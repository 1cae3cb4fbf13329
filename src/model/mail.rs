/// What a mailed link or code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "snake_case")]
pub enum Purpose {
    /// To prove an address.
    Verify,
    /// To choose another password.
    Reset,
}

impl Purpose {
    /// As it is stored and logged.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
        }
    }
}

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "snake_case")]
pub enum MailKind {
    /// Prove that this is your address.
    Verify,
    /// The same, when it is sent and the address turns out to be proved by another account: to that one's owner.
    VerifyTaken,
    /// Choose another password.
    Reset,
    /// To the address of before.
    EmailChanged,
    /// By its owner, or by a reset.
    PasswordChanged,
    /// The right password after many wrong ones, from where the account had not logged in.
    LoginAfterFailures,
    /// By its owner, or an operator. There is no account any more.
    AccountDeleted,
}

impl MailKind {
    /// As it is stored and logged.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::VerifyTaken => "verify_taken",
            Self::Reset => "reset",
            Self::EmailChanged => "email_changed",
            Self::PasswordChanged => "password_changed",
            Self::LoginAfterFailures => "login_after_failures",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// What the link and the code that it carries are good for, if it carries any.
    pub const fn purpose(self) -> Option<Purpose> {
        match self {
            Self::Verify => Some(Purpose::Verify),
            Self::Reset => Some(Purpose::Reset),
            Self::VerifyTaken
            | Self::EmailChanged
            | Self::PasswordChanged
            | Self::LoginAfterFailures
            | Self::AccountDeleted => None,
        }
    }
}

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Wraps the bytes.
            pub fn from_bytes(bytes: &[u8]) -> Self {
                Self(bytes.to_vec())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

hash! {
    /// What is kept of a mailed link's token: its SHA-256.
    LinkHash
}

hash! {
    /// What is kept of a mailed code: a MAC.
    CodeHash
}

/// What somebody shows who read a mail.
#[derive(Debug, Clone)]
pub enum Presented {
    /// The token of its link.
    Link(LinkHash),
    /// Its code, and the address that it was mailed to.
    Code {
        /// The address, as it is compared.
        email_key: String,
        /// The code under the `SECRET_KEY` of now.
        current: CodeHash,
        /// Under the one before, or once more under that of now if there is none.
        previous: CodeHash,
    },
}
