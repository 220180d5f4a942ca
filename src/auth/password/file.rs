//! The password file: `user:hash` per line, as `mosquitto_passwd` writes it.

use std::collections::HashMap;

use super::hash::Hash;
use crate::auth::problem::{account, lines, FileProblem};

/// Longest user name MQTT can carry, in bytes.
const NAME_BYTES_MAX: usize = 65_535;

/// Accounts by user name.
#[derive(Debug)]
pub struct Passwords {
    by_user: HashMap<Box<str>, Hash, ahash::RandomState>,
    /// All names in order: an unknown user is measured against the hash of one of them.
    names: Box<[Box<str>]>,
    /// Chooses which; a client cannot predict it.
    decoy: ahash::RandomState,
}

impl Passwords {
    /// `seed` is random and secret: see [`Passwords::verify`].
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn parse(file: &str, text: &str, seed: u64) -> Result<Self, Vec<FileProblem>> {
        let mut by_user: HashMap<Box<str>, Hash, _> =
            HashMap::with_hasher(ahash::RandomState::with_seeds(seed, 1, 2, 3));
        let mut first_lines: HashMap<&str, usize> = HashMap::new();
        let mut problems = Vec::new();
        for (number, line) in lines(text) {
            let mut wrong = |text: String| problems.push(FileProblem::new(file, number, text));
            let Some((name, hash)) = account(line) else {
                wrong("no colon between a user name and a hash".into());
                continue;
            };
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
                wrong("the user name is empty, longer than 65,535 bytes or has U+0000".into());
                continue;
            }
            if let Some(first) = first_lines.get(name) {
                wrong(format!(
                    "user \"{}\" is there already, in line {first}",
                    name.escape_debug()
                ));
                continue;
            }
            first_lines.insert(name, number);
            match Hash::parse(hash) {
                Ok(hash) => {
                    by_user.insert(name.into(), hash);
                }
                Err(text) => wrong(format!("user \"{}\": {text}", name.escape_debug())),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut names: Vec<Box<str>> = by_user.keys().cloned().collect();
        names.sort_unstable();
        Ok(Self {
            by_user,
            names: names.into(),
            decoy: ahash::RandomState::with_seeds(seed, 4, 5, 6),
        })
    }

    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// Whether user and password belong together. An unknown user costs as much as a known one with
    /// a wrong password: a hash of the file is computed for it, always the same for the same name, so
    /// that neither one try nor many reveal which users have an account.
    #[must_use]
    pub fn verify(&self, user: &str, password: &[u8]) -> bool {
        if let Some(hash) = self.by_user.get(user) {
            return hash.verify(password);
        }
        if !self.names.is_empty() {
            let decoy = (self.decoy.hash_one(user) % self.names.len() as u64) as usize;
            if let Some(hash) = self.by_user.get(&self.names[decoy]) {
                std::hint::black_box(hash.verify(password));
            }
        }
        false
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_user.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::HashKind;

    fn line(user: &str, password: &str) -> String {
        let kind = HashKind::Pbkdf2 { rounds: 2 };
        let hash = Hash::create(kind, password.as_bytes(), [1; 16]).unwrap();
        format!("{user}:{hash}\n")
    }

    #[test]
    fn accounts_of_a_file() {
        let text = format!("# staff\n\n{}{}", line("ann", "one"), line("b c", "two:3"));
        let passwords = Passwords::parse("pw", &text, 1).unwrap();
        assert!(passwords.verify("ann", b"one"));
        assert!(passwords.verify("b c", b"two:3"));
        assert!(!passwords.verify("ann", b"two:3"));
        assert!(
            !passwords.verify("eve", b"one"),
            "a decoy's password lets nobody in"
        );
        assert!(!passwords.verify("", b""));
        let windows = text.replace('\n', "\r\n");
        assert!(Passwords::parse("pw", &windows, 1)
            .unwrap()
            .verify("ann", b"one"));
        assert!(!Passwords::parse("pw", "", 1).unwrap().verify("ann", b""));
    }

    #[test]
    fn white_space_around_a_line_and_its_parts_means_nothing() {
        let ann = line("ann", "one");
        let bob = line("b c", "two").replacen(':', " : ", 1);
        let text = format!("\u{feff}# staff\r\n \t# more\r\n\t {ann}  \r\n  {bob}\t\r\n   \r\n");
        let passwords = Passwords::parse("pw", &text, 1).unwrap();
        assert!(passwords.verify("ann", b"one") && passwords.verify("b c", b"two"));
        assert_eq!(passwords.len(), 2);
        let first = Passwords::parse("pw", &format!("\u{feff}{ann}"), 1).unwrap();
        assert!(first.contains("ann"));
    }

    #[test]
    fn all_problems_at_once() {
        let ann = line("ann", "one");
        let text = format!("ann\n{ann}:x\nbob:secret\n{ann}");
        let problems = Passwords::parse("pw", &text, 1).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 4, "{shown:?}");
        assert!(shown[0].starts_with("pw:1: no colon"));
        assert!(shown[1].starts_with("pw:3: the user name is empty"));
        assert!(shown[2].starts_with("pw:4: user \"bob\": the password is not hashed"));
        assert!(shown[3].starts_with("pw:5: user \"ann\" is there already, in line 2"));
        assert!(!shown.concat().contains("secret"));
    }
}
