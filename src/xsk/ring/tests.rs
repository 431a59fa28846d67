//! The rings over real shared pages: a memory file mapped twice, with our end on one side and the kernel's played on the other.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;

const OFFSETS: xdp_ring_offset = xdp_ring_offset { producer: 0, consumer: 64, flags: 128, desc: 192 };
const NEAR_WRAP: u32 = u32::MAX - 1;

/// Both ends of one ring of `size` entries whose indices start at `start`.
fn pair<S: Slot>(size: u32, start: u32) -> (Producer<S>, Consumer<S>) {
    let file = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 1 << 16).unwrap();
    let memory = || Memory::of_socket(file.as_fd(), 0, &OFFSETS, size).unwrap();
    let first: Memory<S> = memory();
    first.producer().store(start, Ordering::Relaxed);
    first.consumer().store(start, Ordering::Relaxed);
    (Producer::over(first), Consumer::over(memory()))
}

#[test]
fn descriptors_cross_the_wrap_unchanged() {
    let (mut ours, mut theirs) = pair::<DescriptorSlot>(4, NEAR_WRAP);
    for round in 0..10_u32 {
        for i in 0..3 {
            assert!(ours.room(1) > 0);
            assert!(ours.write(Descriptor { addr: u64::from(round) << 40 | i, len: round, options: 7 }));
        }
        assert_eq!(theirs.available(1), 0, "not published yet");
        assert_eq!(ours.publish(), 3);
        assert_eq!(ours.outstanding(), 3);
        assert_eq!(theirs.available(4), 3);
        for i in 0..3 {
            let read = theirs.read().unwrap();
            assert_eq!(read, Descriptor { addr: u64::from(round) << 40 | i, len: round, options: 7 });
        }
        assert_eq!(theirs.read(), None);
        theirs.release();
        assert_eq!(ours.outstanding(), 0);
    }
    assert_eq!((ours.lies(), theirs.lies()), (0, 0));
}

#[test]
fn a_full_ring_takes_nothing_more() {
    let (mut ours, mut theirs) = pair::<AddressSlot>(2, NEAR_WRAP);
    assert_eq!(ours.room(2), 2);
    assert!(ours.write(1) && ours.write(2) && !ours.write(3));
    ours.publish();
    assert_eq!(ours.room(1), 0);
    assert_eq!(theirs.available(1), 2);
    assert_eq!(theirs.read(), Some(1));
    theirs.release();
    assert_eq!(ours.room(1), 1);
}

#[test]
fn the_wakeup_flag_is_read() {
    let (ours, theirs) = pair::<AddressSlot>(2, 0);
    assert!(!ours.need_wakeup());
    // SAFETY: `flags` lies aligned in the mapping that `theirs` owns.
    unsafe { theirs.memory.flags.as_ref() }.store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
    assert!(ours.need_wakeup());
}

#[test]
fn offsets_beyond_the_mapping_are_refused() {
    let file = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 1 << 16).unwrap();
    for offsets in [
        xdp_ring_offset { producer: 1 << 20, ..OFFSETS },
        xdp_ring_offset { consumer: u64::MAX, ..OFFSETS },
        xdp_ring_offset { flags: 129, ..OFFSETS },
        xdp_ring_offset { desc: u64::MAX - 7, ..OFFSETS },
    ] {
        assert!(Memory::<AddressSlot>::of_socket(file.as_fd(), 0, &offsets, 4).is_err(), "{offsets:?}");
    }
}
