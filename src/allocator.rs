//! The allocator, and what one role asks of it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use crate::failure::Failure;

/// Columns are large blocks of many sizes that live for a second: this allocator gives them back to the system, from a
/// thread of its own, where the system's allocator keeps them in pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Blocks of 8 MiB and more are otherwise given back at once and asked for again at the next batch: a third of all page
/// faults of an aggregator that catches up.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 21] = b"oversize_threshold:0\0";

/// The answer about an arena that has not been made yet: it will be as those that are still to be made.
const NO_ARENA: c_int = 14;

unsafe extern "C" {
    fn _rjem_mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_len: *mut usize,
        new: *mut c_void,
        new_len: usize,
    ) -> c_int;
}

/// Has memory that was freed given back to the system within so many milliseconds, instead of ten seconds: less for a role
/// that is to stay small, more for one that will need as much again soon.
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
        _rjem_mallctl(
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
        _rjem_mallctl(
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
