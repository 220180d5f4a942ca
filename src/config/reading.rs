//! Reading of one value, by its kind.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::kind::{Kind, Value};
use super::options::Opt;
use super::problem::{Place, Problem};
use super::raw::{Given, Typed};

/// What is wrong with one value by itself.
pub(super) fn read<T>(given: &Given<T>) -> Vec<Problem> {
    let Opt { name, kind, .. } = given.option;
    let judge = |place: &Place, value: &Typed| {
        let wrong = kind.read(value).err()?;
        let text = format!("{wrong}; allowed: {}", kind.allowed());
        Some(Problem::new(place, *name, text))
    };
    let Typed::List(items) = &given.value else {
        return judge(&given.place, &given.value).into_iter().collect();
    };
    if !matches!(kind, Kind::Addresses) {
        return judge(&given.place, &given.value).into_iter().collect();
    }
    let mut seen: HashSet<SocketAddr> = HashSet::new();
    let mut problems = Vec::new();
    for item in items {
        problems.extend(judge(&item.place, &item.value));
        let Ok(Value::Addresses(addresses)) = kind.read(&item.value) else {
            continue;
        };
        for address in addresses {
            // Port 0 is another free port each time.
            if !seen.insert(address) && address.port() != 0 {
                let text = format!("{address} is given twice; give it once");
                problems.push(Problem::new(&item.place, *name, text));
            }
        }
    }
    problems
}
