//! The allocator, and what one role asks of it.

use std::ffi::{CStr, CString, c_int};

use crate::failure::Failure;

/// Columns are large blocks of many sizes that live for a second: this allocator gives them back to the system, from a
/// thread of its own, where the system's allocator keeps them in pieces. It serves the C libraries too: zstd's contexts,
/// made and freed on every thread, otherwise stay in the system's allocator by the hundred megabytes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by the allocator when it starts. Blocks of 8 MiB and more would otherwise be given back at once and asked for
/// again at the next batch: a third of all page faults of an aggregator that catches up.
#[cfg_attr(target_os = "linux", unsafe(export_name = "malloc_conf"))]
#[cfg_attr(not(target_os = "linux"), unsafe(export_name = "_rjem_malloc_conf"))]
static SETTINGS: &[u8; 21] = b"oversize_threshold:0\0";

/// The answer about an arena that has not been made yet: it will be as those that are still to be made.
const NO_ARENA: c_int = 14;

/// Has memory that was freed given back to the system within so many milliseconds, instead of ten seconds. For a role
/// that is to stay small; one that needs much of it again at once would pay for it.
pub fn give_back_within(milliseconds: isize) -> Result<(), Failure> {
    write(c"arenas.dirty_decay_ms", milliseconds)?;
    for arena in 0..arenas()? {
        let name = CString::new(format!("arena.{arena}.dirty_decay_ms"))?;
        match set(&name, milliseconds) {
            0 | NO_ARENA => {}
            error => return Err(refused(&name, error)),
        }
    }
    Ok(())
}

fn write(name: &CStr, value: isize) -> Result<(), Failure> {
    match set(name, value) {
        0 => Ok(()),
        error => Err(refused(name, error)),
    }
}

fn refused(name: &CStr, error: c_int) -> Failure {
    let name = name.to_string_lossy();
    Failure::new(format!("the allocator refuses {name}: error {error}"))
}

/// Sets a value of the type `ssize_t`.
fn set(name: &CStr, mut value: isize) -> c_int {
    // SAFETY: the name ends with a nul, nothing is read back, and the value is of the size that is said; jemalloc
    // compares that with its own and copies the value before it returns.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut value).cast(),
            size_of::<isize>(),
        )
    }
}

/// Most arenas there can be now.
fn arenas() -> Result<u32, Failure> {
    let name = c"arenas.narenas";
    let (mut arenas, mut len) = (0u32, size_of::<u32>());
    // SAFETY: the name ends with a nul, nothing is written, and what is read fits: jemalloc copies at most `len` bytes.
    let error = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            (&raw mut arenas).cast(),
            &raw mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    match error {
        0 => Ok(arenas),
        error => Err(refused(name, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_what_it_is_asked() {
        assert!(arenas().unwrap() > 0);
        assert!(give_back_within(100).is_ok());
        assert!(write(c"arenas.no_such_thing", 1).is_err());
    }
}
