//! Names of options in sentences: as on the command line or as in a scenario file.

/// Form in which sentences name an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As on the command line.
    #[default]
    Options,
    /// As in a scenario file.
    Keys,
}

impl Naming {
    pub(super) fn of(self, option: &str) -> String {
        match self {
            Self::Options => format!("--{option}"),
            Self::Keys => format!("connection.{}", option.replace('-', "_")),
        }
    }
}
