//! A lock between processes, for sections of a few dozen nanoseconds: no system call, no allocation, no panic in them, and no interrupt is looked at
//! meanwhile, so that a process cannot end with it (but by SIGKILL, after which the server makes the memory anew).

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

/// All zeroes are an open one.
#[repr(C)]
pub(super) struct SpinLock(AtomicU32);

impl SpinLock {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(super) fn take(&self) {
        let mut tries = 0_u32;
        while self.0.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            tries = tries.wrapping_add(1);
            if tries.is_multiple_of(64) {
                // Its holder may be waiting for this very processor.
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    pub(super) fn release(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Something with a lock of its own. All zeroes are an open lock and a content of zeroes.
#[repr(C)]
pub(super) struct Slot<T> {
    lock: SpinLock,
    content: UnsafeCell<T>,
}

// SAFETY: the content is only reached through the lock.
unsafe impl<T: Send> Sync for Slot<T> {}

/// A slot whose lock is held.
pub(super) struct Locked<'a, T>(&'a Slot<T>);

impl<T> Slot<T> {
    pub(super) const fn new(content: T) -> Self {
        Self { lock: SpinLock::new(), content: UnsafeCell::new(content) }
    }

    pub(super) fn lock(&self) -> Locked<'_, T> {
        self.lock.take();
        Locked(self)
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, so nobody else has a reference.
        unsafe { &*self.0.content.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0.content.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        self.0.lock.release();
    }
}
