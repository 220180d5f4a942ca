//! A bounded queue from one thread to another: single producer, single consumer, no lock.
//!
//! Each side keeps its own index and a copy of the other's, so that it touches the other's cache line
//! only when by its copy the ring is full or empty. A producer that finds the ring full and has nothing
//! else to do asks to be woken with [`Producer::await_room`]; the consumer reads that flag with
//! [`Consumer::producer_waits`].

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crossbeam::utils::CachePadded;

/// What both ends share. Indices only grow (and wrap); a slot is `index & mask`.
struct Shared<T> {
    /// Next to take. Written by the consumer.
    head: CachePadded<AtomicUsize>,
    /// Next to fill. Written by the producer.
    tail: CachePadded<AtomicUsize>,
    /// Set by a producer that is about to park; cleared by the consumer that wakes it.
    producer_waits: CachePadded<AtomicBool>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: slots in `head..tail` belong to the consumer, all others to the producer; there is one of
// each (neither end can be cloned), and a slot changes hands only by a release store of an index
// that the other end loads with acquire. So `T` is only ever moved between threads.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, index: usize) -> *mut MaybeUninit<T> {
        self.slots[index & (self.slots.len() - 1)].get()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut head, tail) = (*self.head.get_mut(), *self.tail.get_mut());
        while head != tail {
            // SAFETY: both ends are dropped, and slots in `head..tail` hold values that were not taken.
            unsafe { (*self.slot(head)).assume_init_drop() };
            head = head.wrapping_add(1);
        }
    }
}

/// The sending end.
pub(super) struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

/// The receiving end.
pub(super) struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

/// A ring for `capacity` values, a power of two.
pub(super) fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two(), "a slot is found with a mask");
    let shared = Arc::new(Shared {
        head: CachePadded::default(),
        tail: CachePadded::default(),
        producer_waits: CachePadded::default(),
        slots: (0..capacity)
            .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
            .collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: 0,
        head_seen: 0,
    };
    let consumer = Consumer {
        shared,
        head: 0,
        tail_seen: 0,
    };
    (producer, consumer)
}

impl<T: Send> Producer<T> {
    /// Room seen is room kept: only this end fills.
    pub(super) fn has_room(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) < capacity {
            return true;
        }
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < capacity
    }

    /// Gives the value back when the ring is full.
    pub(super) fn push(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(value);
        }
        // SAFETY: the slot at `tail` is free (room was seen), so it is the producer's, and this is
        // the only producer.
        unsafe { (*self.shared.slot(self.tail)).write(value) };
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Asks to be woken when a full ring has room. False: there is room already.
    pub(super) fn await_room(&mut self) -> bool {
        self.shared.producer_waits.store(true, Ordering::Relaxed);
        // Pairs with the fence in `producer_waits`: of this store followed by the load of `head`,
        // and the consumer's store of `head` followed by its load of the flag, one load at least
        // sees the other's store.
        fence(Ordering::SeqCst);
        if self.has_room() {
            self.shared.producer_waits.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }
}

impl<T: Send> Consumer<T> {
    pub(super) fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: `head` is before a tail loaded with acquire, so the slot was filled and belongs to
        // the consumer; moving `head` on gives it back, so the value is read once.
        let value = unsafe { (*self.shared.slot(self.head)).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Call after a batch of [`Consumer::pop`]: true, once, when the producer waits for the room.
    pub(super) fn producer_waits(&self) -> bool {
        fence(Ordering::SeqCst); // see `await_room`
        self.shared.producer_waits.load(Ordering::Relaxed)
            && self.shared.producer_waits.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn keeps_order_and_refuses_when_full() {
        let (mut producer, mut consumer) = ring(4);
        for round in 0..10 {
            for value in 0..4 {
                assert_eq!(producer.push(round * 4 + value), Ok(()));
            }
            assert!(!producer.has_room());
            assert_eq!(producer.push(99), Err(99));
            for value in 0..4 {
                assert_eq!(consumer.pop(), Some(round * 4 + value));
            }
            assert!(consumer.is_empty());
            assert_eq!(consumer.pop(), None);
        }
    }

    #[test]
    fn a_full_ring_tells_its_producer_of_room_once() {
        let (mut producer, mut consumer) = ring(2);
        assert!(!producer.await_room(), "an empty ring has room");
        assert!(!consumer.producer_waits());
        producer.push(1).unwrap();
        producer.push(2).unwrap();
        assert!(producer.await_room());
        consumer.pop().unwrap();
        assert!(consumer.producer_waits());
        assert!(!consumer.producer_waits());
    }

    #[test]
    fn values_left_behind_are_dropped() {
        struct Counted(Arc<AtomicUsize>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = ring(8);
        for _ in 0..5 {
            assert!(producer.push(Counted(Arc::clone(&dropped))).is_ok());
        }
        drop(consumer.pop());
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        drop(producer);
        drop(consumer);
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
    }

    /// Both threads park when they are blocked, so a lost wake-up hangs and a lost, doubled or
    /// overtaking value fails. Boxed values make a read of a slot that is not ours visible to
    /// sanitizers.
    #[test]
    fn two_threads_park_and_wake_without_loss() {
        const COUNT: u64 = 200_000;
        for capacity in [1, 2, 64] {
            let (mut producer, mut consumer) = ring(capacity);
            let (consumer_parked, main) = (Arc::new(AtomicBool::new(false)), thread::current());
            let parked = Arc::clone(&consumer_parked);
            let receiver = thread::spawn(move || {
                for expected in 0..COUNT {
                    let value: Box<u64> = loop {
                        if let Some(value) = consumer.pop() {
                            break value;
                        }
                        parked.store(true, Ordering::Relaxed);
                        fence(Ordering::SeqCst);
                        if consumer.is_empty() {
                            thread::park();
                        }
                        parked.store(false, Ordering::Relaxed);
                    };
                    assert_eq!(*value, expected);
                    if consumer.producer_waits() {
                        main.unpark();
                    }
                }
            });
            for value in 0..COUNT {
                let mut value = Box::new(value);
                while let Err(refused) = producer.push(value) {
                    value = refused;
                    if producer.await_room() {
                        thread::park();
                    }
                }
                fence(Ordering::SeqCst);
                if consumer_parked.load(Ordering::Relaxed) {
                    receiver.thread().unpark();
                }
            }
            receiver.join().unwrap();
        }
    }
}
