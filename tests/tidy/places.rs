//! Words that some places of the program may not use although others may.

use super::source::{has_word, numbered, Source};

struct Placed {
    word: &'static str,
    /// Where it may not be.
    kept_out_of: &'static [&'static str],
    except: &'static [&'static str],
    fix: &'static str,
}

const PLACED: &[Placed] = &[
    Placed {
        word: "SessionId",
        kept_out_of: &["src/shard/mesh/block", "src/routing/groups"],
        except: &[],
        fix: "other shards know a session as `MemberId`, which its home resolves",
    },
    Placed {
        word: "SystemTime",
        kept_out_of: &["src/io"],
        except: &["src/io/clock"],
        fix: "the wall clock is read in src/io/clock.rs",
    },
];

/// All places that are named here.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let places = |placed: &Placed| [placed.kept_out_of, placed.except];
    PLACED.iter().flat_map(places).flatten().copied()
}

pub(super) fn words(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let may_not =
        |placed: &&Placed| file.is_below(placed.kept_out_of) && !file.is_below(placed.except);
    for placed in PLACED.iter().filter(may_not) {
        for (number, line) in numbered(&file.production()) {
            if has_word(line, placed.word) {
                let (path, word, fix) = (&file.path, placed.word, placed.fix);
                found.push(format!("{path}:{number}: `{word}`: {fix}"));
            }
        }
    }
    found
}
