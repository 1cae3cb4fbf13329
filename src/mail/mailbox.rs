use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use lettre::{Address, message};

use super::Mail;

/// How many mails the mailbox keeps: the newest.
const KEPT: usize = 100;

/// A mail that was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The mail.
    pub mail: Mail,
    /// As a server would have got it (RFC 5322).
    pub raw: Vec<u8>,
}

/// The newest mails, in memory.
pub struct Mailbox {
    pub(super) from: message::Mailbox,
    mails: Mutex<VecDeque<Kept>>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(…)")
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        let address = Address::new_dangerous("hallpass", "localhost");
        Self { from: message::Mailbox::new(Some("Hallpass".to_owned()), address), mails: Mutex::default() }
    }
}

impl Mailbox {
    pub(super) fn keep(&self, mail: Mail, raw: Vec<u8>) {
        let mut mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        if mails.len() == KEPT {
            mails.pop_front();
        }
        mails.push_back(Kept { mail, raw });
    }

    /// What is in it, the oldest first.
    pub fn list(&self) -> Vec<Kept> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes out what is in it, the oldest first.
    pub fn take(&self) -> Vec<Kept> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Mail, Mailbox};
    use crate::model::{MailId, MailKind, Time};

    #[test]
    fn the_mailbox_keeps_the_newest() {
        let mailbox = Mailbox::default();
        for n in 0..250 {
            let id: MailId = uuid::Uuid::from_u128(n).into();
            let [to, subject, text, html] = [(); 4].map(|()| n.to_string());
            let kind = MailKind::Reset;
            mailbox.keep(Mail { id, kind, to, at: Time::from_unix(0), subject, text, html }, Vec::new());
        }
        let kept = mailbox.list();
        assert_eq!((kept.len(), kept[0].mail.to.as_str(), kept[99].mail.to.as_str()), (100, "150", "249"));
        assert!(!format!("{:?}", kept[0]).contains("150"));
        assert_eq!((mailbox.take().len(), mailbox.list().len()), (100, 0));
    }
}
