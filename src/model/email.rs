/// An e-mail address: a plain ASCII local part and an IDNA domain (RFC 5321, RFC 5890), exactly one.
///
/// The local part is shown as it was written and compared without its case; no other spelling rule of any
/// provider (dots, `+tags`) is guessed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    display: String,
    key: String,
}

/// A text that is not one plain address. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one plain e-mail address")]
pub struct InvalidEmail;

impl Email {
    /// Reads one address: no display name, quotes, comments, blanks or IP literals.
    ///
    /// # Errors
    /// [`InvalidEmail`]
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        // RFC 5321, 4.5.3.1: 64 bytes before the @, 254 in all (a path of 256 with its brackets).
        if text.len() > 512 {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
        if local.len() > 64 || !is_dot_atom(local) {
            return Err(InvalidEmail);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
        let top = domain.rsplit('.').next().unwrap_or_default();
        if !domain.contains('.') || top.is_empty() || top.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidEmail);
        }
        let display = format!("{local}@{domain}");
        if display.len() > 254 {
            return Err(InvalidEmail);
        }
        let key = display.to_ascii_lowercase();
        Ok(Self { display, key })
    }

    /// As it was written, with its domain in ASCII.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// As it is compared.
    pub fn as_key(&self) -> &str {
        &self.key
    }
}

/// RFC 5322, 3.2.3. The leading `-` is left out too: it would be an option to a sendmail.
fn is_dot_atom(local: &str) -> bool {
    !local.starts_with('-')
        && local.split('.').all(|atom| {
            !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Email;

    #[test]
    fn one_plain_address_is_accepted() {
        for (text, display, key) in [
            ("Jane.Doe+x@Example.ORG", "Jane.Doe+x@example.org", "jane.doe+x@example.org"),
            ("j@b\u{fc}cher.example", "j@xn--bcher-kva.example", "j@xn--bcher-kva.example"),
        ] {
            let email = Email::parse(text).unwrap();
            assert_eq!((email.display(), email.as_key()), (display, key));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long = format!("a@{}.org", "b.".repeat(150));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@b.example",
            "a@b",
            "a@b@c.example",
            "a@b.example,c@d.example",
            "a b@c.example",
            "\"a b\"@c.example",
            "a(x)@c.example",
            "<a@c.example>",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@c.example\r\nBcc: x@y.example",
            "a..b@c.example",
            ".a@c.example",
            "a.@c.example",
            "-oX@c.example",
            "a@c..example",
            "a@.example",
            "a@c.example.",
            "\u{e9}@c.example",
            "a@xn--example-.org",
            "a@b_c.example",
            "a@c.example\0",
            &long_local,
            &long,
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_stable(text in "\\PC{0,12}@\\PC{0,12}\\.[a-z]{2,3}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.display()).unwrap(), email);
            }
        }
    }
}
