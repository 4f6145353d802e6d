//! A ring of records in memory that processes share: any thread puts some in, and one worker a database takes its own out.
//!
//! A record stays until who reads it says that it is done with it, so that a reader may end at any moment. Nothing here is Postgres's: no LWLock, no ereport. The lock
//! is held for one record, or for a few dozen that are skipped.

use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::spin_lock::{Locked, Slot};

/// Before each record.
#[repr(C)]
struct Header {
    /// Of the record, without its header.
    bytes: u32,
    state: u32,
    database: u32,
    unused: u32,
}

const HEADER: u64 = size_of::<Header>() as u64;
/// Nobody is done with it.
const PENDING: u32 = 0;
/// It is not needed any more.
const DONE: u32 = 1;
/// It stands in the server's log, and makes room when that is needed.
const LOGGED: u32 = 2;

/// Records that are looked at under one lock.
const STEPS: usize = 64;
/// The largest record is this part of the ring.
const LARGEST: u64 = 8;

/// All zeroes, but for the capacity, are an empty ring.
#[repr(C)]
pub(super) struct Head {
    ends: Slot<Ends>,
    /// Processes that put records in.
    pub(super) attached: AtomicU32,
    capacity: AtomicU64,
    /// Records that stand in their table.
    pub(super) written: AtomicU64,
    /// Records that found no room, or could not be written.
    pub(super) dropped: AtomicU64,
}

/// Positions count bytes from the ring's beginning on, and never go back.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ends {
    /// Of the oldest record that somebody needs.
    tail: u64,
    /// Of the next record.
    head: u64,
}

/// The ring.
#[derive(Clone, Copy)]
pub(super) struct Ring {
    head: &'static Head,
    bytes: *mut u8,
}

// SAFETY: the bytes are only reached with the lock held.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Done,
    Full,
    TooLarge,
}

/// A record, and where it is.
pub(super) struct Record {
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

/// Whose records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) database: u32,
    /// Those that were logged as well.
    pub(super) logged: bool,
}

impl Wanted {
    fn fits(self, header: &Header) -> bool {
        header.database == self.database && (header.state == PENDING || (self.logged && header.state == LOGGED))
    }
}

/// The bytes of memory that a ring of this capacity takes.
pub(super) const fn size_for(capacity: usize) -> usize {
    size_of::<Head>().next_multiple_of(16) + capacity
}

/// What a record takes in the ring.
fn room(bytes: u32) -> u64 {
    HEADER + u64::from(bytes).next_multiple_of(HEADER)
}

impl Ring {
    /// The ring in `memory`.
    ///
    /// # Safety
    /// Memory of `size_for(capacity)` bytes, aligned to 16, that was all zeroes or a ring of this capacity, and stays as long as the process.
    #[allow(clippy::cast_ptr_alignment, reason = "the caller's promise")]
    pub(super) unsafe fn at(memory: *mut u8, capacity: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let head = &*memory.cast::<Head>();
            head.capacity.store((capacity as u64) & !(HEADER - 1), Ordering::Relaxed);
            Self { head, bytes: memory.add(size_of::<Head>().next_multiple_of(16)) }
        }
    }

    /// What is counted.
    pub(super) fn head(&self) -> &'static Head {
        self.head
    }

    fn capacity(&self) -> u64 {
        self.head.capacity.load(Ordering::Relaxed)
    }

    fn lock(&self) -> Locked<'static, Ends> {
        self.head.ends.lock()
    }

    /// The header of the record at a position. With the lock held.
    #[allow(clippy::cast_ptr_alignment, reason = "positions are multiples of a header's size")]
    fn header(&self, position: u64) -> *mut Header {
        let at = usize::try_from(position % self.capacity()).unwrap_or(0);
        // SAFETY: within the ring: the capacity is a multiple of a header's size, as each position is, so that a header never wraps.
        unsafe { self.bytes.add(at).cast() }
    }

    fn read_header(&self, position: u64) -> Header {
        // SAFETY: a record's header, with the lock held.
        unsafe { ptr::read(self.header(position)) }
    }

    /// Copies between the ring, from `position` on, and `memory`. With the lock held.
    ///
    /// # Safety
    /// `memory` must be of `bytes` bytes, and writable where it is copied to.
    unsafe fn copy(&self, position: u64, memory: *mut u8, bytes: usize, into_ring: bool) {
        let at = usize::try_from(position % self.capacity()).unwrap_or(0);
        let first = bytes.min(usize::try_from(self.capacity()).unwrap_or(0) - at);
        for (ring, other, bytes) in [(at, 0, first), (0, first, bytes - first)] {
            // SAFETY: both within what they belong to.
            unsafe {
                if into_ring {
                    ptr::copy_nonoverlapping(memory.add(other), self.bytes.add(ring), bytes);
                } else {
                    ptr::copy_nonoverlapping(self.bytes.add(ring), memory.add(other), bytes);
                }
            }
        }
    }

    /// Puts a record in.
    pub(super) fn put(&self, database: u32, record: &[u8]) -> Put {
        let Some(bytes) = u32::try_from(record.len()).ok().filter(|bytes| room(*bytes) <= self.capacity() / LARGEST) else {
            return Put::TooLarge;
        };
        let mut ends = self.lock();
        // Room is made by what is in the server's log already.
        for _ in 0..STEPS {
            if ends.head + room(bytes) - ends.tail <= self.capacity() || ends.tail == ends.head {
                break;
            }
            let oldest = self.read_header(ends.tail);
            if oldest.state == PENDING {
                break;
            }
            ends.tail += room(oldest.bytes);
        }
        if ends.head + room(bytes) - ends.tail > self.capacity() {
            return Put::Full;
        }
        // SAFETY: there is room for both.
        unsafe {
            ptr::write(self.header(ends.head), Header { bytes, state: PENDING, database, unused: 0 });
            self.copy(ends.head + HEADER, record.as_ptr().cast_mut(), record.len(), true);
        }
        ends.head += room(bytes);
        Put::Done
    }

    /// Where the next record will be.
    pub(super) fn end(&self) -> u64 {
        self.lock().head
    }

    /// Whether more than half of it is in use.
    pub(super) fn is_half_full(&self) -> bool {
        let ends = self.lock();
        (ends.head - ends.tail) * 2 > self.capacity()
    }

    /// The first record from `position` on that is wanted, and where the next one is.
    fn next(&self, mut position: u64, wanted: impl Fn(&Header) -> bool, scratch: &mut Vec<u8>) -> Option<(u64, u64, u32)> {
        loop {
            let mut needs = 0;
            {
                let ends = self.lock();
                position = position.max(ends.tail);
                for _ in 0..STEPS {
                    if position >= ends.head {
                        return None;
                    }
                    let header = self.read_header(position);
                    let next = position + room(header.bytes);
                    if wanted(&header) {
                        let bytes = header.bytes as usize;
                        if bytes <= scratch.capacity() {
                            // SAFETY: within the capacity, which is written up to there.
                            unsafe {
                                self.copy(position + HEADER, scratch.as_mut_ptr(), bytes, false);
                                scratch.set_len(bytes);
                            }
                            return Some((position, next, header.database));
                        }
                        needs = bytes;
                        break;
                    }
                    position = next;
                }
            }
            // Not under the lock.
            if needs > 0 {
                *scratch = Vec::with_capacity(needs);
            }
        }
    }

    /// The oldest records that are wanted: so many, and about so many bytes.
    pub(super) fn read(&self, wanted: Wanted, most: usize, most_bytes: usize) -> Vec<Record> {
        let (mut records, mut bytes, mut position) = (Vec::new(), 0, 0);
        let mut scratch = Vec::with_capacity(4096);
        while records.len() < most
            && bytes < most_bytes
            && let Some((at, next, _)) = self.next(position, |header| wanted.fits(header), &mut scratch)
        {
            bytes += scratch.len();
            records.push(Record { position: at, bytes: scratch.clone() });
            position = next;
        }
        records
    }

    /// All records that nobody is done with, with their databases, for a server that stops.
    pub(super) fn rest(&self) -> Vec<(u32, Vec<u8>)> {
        let (mut records, mut position) = (Vec::new(), 0);
        let mut scratch = Vec::with_capacity(4096);
        while let Some((_, next, database)) = self.next(position, |header| header.state != DONE, &mut scratch) {
            records.push((database, scratch.clone()));
            position = next;
        }
        records
    }

    /// Whether a wanted record lies before `end`.
    pub(super) fn has_before(&self, wanted: Wanted, end: u64) -> bool {
        let mut scratch = Vec::with_capacity(4096);
        self.next(0, |header| wanted.fits(header), &mut scratch).is_some_and(|(at, ..)| at < end)
    }

    /// The databases that have records.
    pub(super) fn databases(&self, logged: bool) -> Vec<u32> {
        let mut databases: Vec<u32> = Vec::new();
        let (mut position, mut scratch) = (0, Vec::with_capacity(4096));
        loop {
            let others =
                |header: &Header| (header.state == PENDING || (logged && header.state == LOGGED)) && !databases.contains(&header.database);
            let Some((_, next, database)) = self.next(position, others, &mut scratch) else { return databases };
            databases.push(database);
            position = next;
        }
    }

    /// These records are written, or given up.
    pub(super) fn done(&self, records: &[Record]) {
        self.mark(records, DONE);
        loop {
            let mut ends = self.lock();
            for _ in 0..STEPS {
                if ends.tail >= ends.head || self.read_header(ends.tail).state != DONE {
                    return;
                }
                ends.tail += room(self.read_header(ends.tail).bytes);
            }
        }
    }

    /// These records are in the server's log.
    pub(super) fn logged(&self, records: &[Record]) {
        self.mark(records, LOGGED);
    }

    fn mark(&self, records: &[Record], state: u32) {
        for record in records {
            let ends = self.lock();
            if record.position >= ends.tail {
                // SAFETY: a record's header, with the lock held.
                unsafe { (*self.header(record.position)).state = state }
            }
        }
    }
}
