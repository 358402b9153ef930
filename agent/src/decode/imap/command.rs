//! A line in, the beginning of a command out. Of one that authenticates nothing is kept but its
//! mechanism.

/// RFC 9051, section 6, and the extensions that clients use.
const KNOWN: &str = " APPEND AUTHENTICATE CAPABILITY CHECK CLOSE COMPRESS COPY CREATE DELETE DELETEACL ENABLE EXAMINE \
    EXPUNGE FETCH GETACL GETMETADATA GETQUOTA GETQUOTAROOT ID IDLE LIST LOGIN LOGOUT LSUB MOVE MYRIGHTS \
    NAMESPACE NOOP NOTIFY RENAME SEARCH SELECT SETACL SETMETADATA SETQUOTA SORT STARTTLS STATUS STORE \
    SUBSCRIBE THREAD UID UNAUTHENTICATE UNSELECT UNSUBSCRIBE ";

/// What the rest of a command, or what follows it, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Its arguments are secret.
    Login,
    /// The lines behind it are secret.
    Authenticate,
    /// A line of another form ends it.
    Idle,
    /// Behind it the connection speaks something else.
    Turns,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) tag: String,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) kind: Kind,
}

impl Command {
    /// Of a line without its end; `None` for what is no command.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        let tag = words.next().filter(|tag| is_tag(tag))?.to_owned();
        let mut name = words.next().filter(|word| is_word(word))?.to_ascii_uppercase();
        let argument = words.next();
        let kind = match name.as_str() {
            "LOGIN" => Kind::Login,
            "AUTHENTICATE" => Kind::Authenticate,
            "IDLE" => Kind::Idle,
            "COMPRESS" | "STARTTLS" => Kind::Turns,
            _ => Kind::Plain,
        };
        let text = match (kind, argument) {
            (Kind::Login, _) => format!("{tag} {name}"),
            (Kind::Authenticate, Some(mechanism)) => format!("{tag} {name} {mechanism}"),
            _ => text.clone().into_owned(),
        };
        // "UID FETCH" and the like.
        if let ("UID", Some(of)) = (name.as_str(), argument.filter(|word| is_word(word))) {
            name = format!("UID {}", of.to_ascii_uppercase());
        }
        Some(Self { tag, name, text, kind })
    }

    /// Whether it is one that is well known.
    pub(super) fn is_known(&self) -> bool {
        let first = self.name.split(' ').next().unwrap_or_default();
        KNOWN.contains(&format!(" {first} "))
    }
}

/// "tag = 1*<any ASTRING-CHAR except "+">"
pub(super) fn is_tag(tag: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte);
    (1..=64).contains(&tag.len()) && tag.bytes().all(is)
}

fn is_word(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
