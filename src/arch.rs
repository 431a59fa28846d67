//! What the processor and the kernel are told about memory, for which safe Rust has no word: hints, on which nothing but time depends.
//!
//! Called by the engine before it works on a burst, and by tables when they are made. Nothing here reads or changes what the memory holds;
//! where a hint is not known it is nothing. Nothing here panics.

#![allow(unsafe_code)]

use std::ops::Range;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;
/// Bytes of a huge page, on machines whose ordinary pages have 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Has the processor fetch the first `bytes` of a value (at most all of it), and does not wait for them.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T, bytes: usize) {
    let first = std::ptr::from_ref(value).cast::<u8>();
    let bytes = bytes.min(size_of::<T>());
    let mut at = 0;
    while at < bytes {
        line(first.wrapping_add(at));
        at += LINE;
    }
    // The last line of one that does not begin with a line.
    if align_of::<T>() < LINE && bytes > 1 {
        line(first.wrapping_add(bytes - 1));
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn line(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: PREFETCHT0 belongs to SSE, which every x86-64 has; it does not fault, whatever the address, and changes no memory and no register.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
#[inline(always)]
fn line(at: *const u8) {
    // SAFETY: PRFM is a hint of the base instruction set; it does not fault, whatever the address, and changes no memory, register or flag.
    unsafe { std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[inline(always)]
fn line(_: *const u8) {}

/// Asks the kernel to put huge pages behind a table that is filled from its beginning, where it has not been written yet. The first of them stays
/// ordinary, so that a table of which little is used takes no more than that.
pub(crate) fn huge_pages_behind<T>(table: &[T]) {
    let Range { start, end } = whole_pages(table);
    let begins = start.saturating_add(1).next_multiple_of(HUGE_PAGE);
    advise(table, begins..end, Advice::HugeFromNowOn);
}

/// Moves the `nth` part of a table that is in use all over into a huge page, if the kernel can. False when there is no such part.
pub(crate) fn gather<T>(table: &[T], nth: usize) -> bool {
    let Range { start, end } = whole_pages(table);
    let begins = start.next_multiple_of(HUGE_PAGE).saturating_add(nth.saturating_mul(HUGE_PAGE));
    let ends = begins.saturating_add(HUGE_PAGE);
    if ends > end {
        return false;
    }
    advise(table, begins..ends, Advice::HugeFromNowOn);
    advise(table, begins..ends, Advice::HugeNow);
    true
}

/// What the kernel can be told.
#[derive(Clone, Copy)]
enum Advice {
    /// MADV_HUGEPAGE.
    HugeFromNowOn,
    /// MADV_COLLAPSE, since Linux 6.1.
    HugeNow,
}

/// The addresses of a table up to the end of its last whole huge page.
fn whole_pages<T>(table: &[T]) -> Range<usize> {
    let range = table.as_ptr_range();
    range.start.addr()..range.end.addr() / HUGE_PAGE * HUGE_PAGE
}

#[cfg(all(target_os = "linux", not(miri)))]
fn advise<T>(table: &[T], part: Range<usize>, what: Advice) {
    /// Of include/uapi/asm-generic/mman-common.h.
    const MADV_COLLAPSE: libc::c_int = 25;

    let all = table.as_ptr_range();
    if part.start >= part.end || part.start < all.start.addr() || part.end > all.end.addr() {
        return;
    }
    let first = all.start.cast::<u8>().wrapping_add(part.start - all.start.addr()).cast_mut();
    let advice = match what {
        Advice::HugeFromNowOn => libc::MADV_HUGEPAGE,
        Advice::HugeNow => MADV_COLLAPSE,
    };
    // SAFETY: the range lies within the table, whose memory stays mapped while it is borrowed. Neither advice changes what the memory holds or who may
    // read it meanwhile, only which pages the kernel takes for it. A kernel that knows no huge pages refuses, and nothing has happened.
    let _ = unsafe { libc::madvise(first.cast(), part.len(), advice) };
}

#[cfg(any(miri, not(target_os = "linux")))]
fn advise<T>(_: &[T], _: Range<usize>, _: Advice) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_fetched_stays_as_it_is() {
        let value: [u64; 40] = std::array::from_fn(|at| at as u64);
        for bytes in [0, 1, 64, 65, 320, usize::MAX] {
            prefetch(&value, bytes);
            prefetch(&value[3], bytes);
        }
        prefetch(&(), 8);
        assert!(value.iter().enumerate().all(|(at, &value)| at as u64 == value));
    }

    /// What the kernel says of the mapping in which an address lies: `hg` among its flags when huge pages were asked for.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn is_advised(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds =
                range.and_then(|(from, to)| Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?)));
            if let Some((from, to)) = bounds {
                inside = (from..to).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_whitespace().any(|flag| flag == "hg");
            }
        }
        false
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn huge_pages_are_asked_for_behind_the_first_alone() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            eprintln!("this kernel has no huge pages: nothing to ask for");
            return;
        }
        let mut table: Vec<u64> = Vec::with_capacity(4 * HUGE_PAGE / 8);
        huge_pages_behind(table.spare_capacity_mut());
        let base = table.as_ptr().addr();
        assert!(!is_advised(base) && is_advised(base + 2 * HUGE_PAGE));
        // Once it is in use all over, parts of it are moved; what they hold stays.
        table.extend(0..4 * HUGE_PAGE as u64 / 8);
        assert!(gather(&table, 0) && is_advised(base.next_multiple_of(HUGE_PAGE)) && !gather(&table, 4));
        assert!(table.iter().enumerate().all(|(at, &value)| at as u64 == value));
        let mut small: Vec<u64> = Vec::with_capacity(HUGE_PAGE / 8);
        huge_pages_behind(small.spare_capacity_mut());
        assert!(!is_advised(small.as_ptr().addr()));
    }
}
