//! The terminal: keys, signals, and a thread that asks the broker, so that a slow answer stops no key.

use std::io::{self, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ratatui::backend::TermionBackend;
use ratatui::termion::event::Key;
use ratatui::termion::input::TermRead;
use ratatui::termion::raw::{IntoRawMode, RawTerminal};
use ratatui::termion::screen::{AlternateScreen, IntoAlternateScreen, ToMainScreen};
use ratatui::termion::{cursor, get_tty};
use ratatui::Terminal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use super::figures::Figures;
use super::reading::{Reader, Reading};
use super::screen::Screen;
use crate::ctl::Failure;

/// How long a signal may wait.
const LOOK_EVERY: Duration = Duration::from_millis(100);

type Taken = Result<Figures, Failure>;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    End,
    NextOrder,
    Pause,
}

enum Event {
    Wish(Wish),
    Taken(Box<Taken>),
}

fn wish(key: Key) -> Option<Wish> {
    match key {
        Key::Char('q') | Key::Esc | Key::Ctrl('c') => Some(Wish::End),
        Key::Char('s') => Some(Wish::NextOrder),
        Key::Char('p') => Some(Wish::Pause),
        _ => None,
    }
}

/// Runs until a key or a signal ends it; the terminal is as it was then.
pub(super) fn run(mut reader: Reader, interval: Duration) -> Result<(), Failure> {
    let first = reader.read()?; // an error is written to the terminal as it was
    let wrong = |error: io::Error| Failure::Usage(format!("the terminal: {error}"));
    let (is_over, is_resized) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&is_over)).map_err(wrong)?;
    }
    signal_hook::flag::register(SIGWINCH, Arc::clone(&is_resized)).map_err(wrong)?;
    let keys = get_tty().map_err(wrong)?.keys();
    let (happened, events) = channel();
    let (next_order, orders) = channel();
    let asked = happened.clone();
    thread::spawn(move || ask(reader, first, interval, (&asked, &orders)));
    thread::spawn(move || {
        // Ends with the process, or with the terminal.
        for wish in keys.map_while(Result::ok).filter_map(wish) {
            if happened.send(Event::Wish(wish)).is_err() {
                return;
            }
        }
    });
    // In this order, so that the screen is left before the mode.
    let raw = Arc::new(io::stdout().into_raw_mode().map_err(wrong)?);
    restore_at_panic(&raw);
    let screen = io::stdout().into_alternate_screen().map_err(wrong)?;
    let mut terminal = Terminal::new(TermionBackend::new(screen)).map_err(wrong)?;
    let shown = show(
        &mut terminal,
        (&is_over, &is_resized),
        (&events, &next_order),
    );
    let _ = terminal.show_cursor(); // fails when the terminal is not there any more
    drop(terminal);
    let _ = raw.suspend_raw_mode();
    shown
}

/// The program may be built so that a panic drops nothing.
fn restore_at_panic(raw: &Arc<RawTerminal<Stdout>>) {
    let (raw, report) = (Arc::clone(raw), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let _ = raw.suspend_raw_mode();
        print!("{ToMainScreen}{}", cursor::Show);
        report(panic);
    }));
}

/// Asks until no one takes it any more.
fn ask(
    mut reader: Reader,
    mut before: Reading,
    interval: Duration,
    (happened, orders): (&Sender<Event>, &Receiver<()>),
) {
    loop {
        match orders.recv_timeout(interval) {
            Ok(()) => reader.next_order(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let taken = reader.read().map(|now| {
            let figures = Figures::between(&before, &now);
            before = now;
            figures
        });
        if happened.send(Event::Taken(Box::new(taken))).is_err() {
            return;
        }
    }
}

fn show(
    terminal: &mut Terminal<TermionBackend<AlternateScreen<Stdout>>>,
    (is_over, is_resized): (&AtomicBool, &AtomicBool),
    (events, next_order): (&Receiver<Event>, &Sender<()>),
) -> Result<(), Failure> {
    let mut screen = Screen::default();
    let mut is_changed = true;
    while !is_over.load(Ordering::Relaxed) {
        if is_changed || is_resized.swap(false, Ordering::Relaxed) {
            let drawn = terminal.draw(|frame| screen.draw(frame));
            drawn.map_err(|_| Failure::Output)?; // the terminal is not there any more
        }
        is_changed = true;
        match events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Wish(Wish::End)) => return Ok(()),
            Ok(Event::Wish(Wish::NextOrder)) => {
                next_order.send(()).map_err(|_| Failure::Output)?;
            }
            Ok(Event::Wish(Wish::Pause)) => screen.is_paused = !screen.is_paused,
            Ok(Event::Taken(_)) if screen.is_paused => {}
            Ok(Event::Taken(taken)) => match *taken {
                Ok(figures) => screen.take(figures),
                Err(failure) => screen.problem = Some(sentence(failure)),
            },
            Err(RecvTimeoutError::Timeout) => is_changed = false,
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::Output),
        }
    }
    Ok(())
}

fn sentence(failure: Failure) -> String {
    match failure {
        Failure::Usage(text) | Failure::Refused(text) | Failure::Unreachable(text) => text,
        Failure::Output => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ask_for_what_the_foot_says() {
        assert_eq!(wish(Key::Char('q')), Some(Wish::End));
        assert_eq!(wish(Key::Ctrl('c')), Some(Wish::End));
        assert_eq!(wish(Key::Char('c')), None);
        assert_eq!(wish(Key::Char('s')), Some(Wish::NextOrder));
        assert_eq!(wish(Key::Char('p')), Some(Wish::Pause));
    }
}
