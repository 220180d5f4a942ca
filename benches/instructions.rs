//! Instructions per operation of the hot paths, for `scripts/instructions.sh`, which runs this under
//! callgrind: their number does not depend on how busy the machine is.
//!
//! Without arguments it prints the cases; with the number of one, it runs that case, and callgrind counts
//! what happens in [`measured`] only.

mod support;

/// The broker's own allocator: another one consolidates when it likes, which is no path of the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls before counting begins: caches and buffers are as in a broker that has run for a while.
const WARM_UP: usize = 20;
const MEASURED: u64 = 20;

#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..MEASURED {
        run();
    }
}

fn main() {
    let mut cases = support::cases::all();
    let number = std::env::args().find_map(|argument| argument.parse::<usize>().ok());
    match number {
        None => {
            for (number, case) in cases.iter().enumerate() {
                println!("{number}\t{}\t{}", case.operations * MEASURED, case.name);
            }
        }
        Some(number) => {
            let mut case = cases.swap_remove(number);
            for _ in 0..WARM_UP {
                (case.run)();
            }
            measured(&mut *case.run);
        }
    }
}
