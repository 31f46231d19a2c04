//! The allocator, and what one role asks of it.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::failure::Failure;

/// Columns are large blocks of many sizes that live for a second: this allocator gives them back to the system, from a
/// thread of its own, where the system's allocator keeps them in pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// All arenas there are (`MALLCTL_ARENAS_ALL`), and those that are still to be made.
const DECAY: [&CStr; 2] = [c"arena.4096.dirty_decay_ms", c"arenas.dirty_decay_ms"];

unsafe extern "C" {
    fn _rjem_mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_len: *mut usize,
        new: *mut c_void,
        new_len: usize,
    ) -> c_int;
}

/// Has memory that was freed given back to the system within so many milliseconds, instead of ten seconds. For a role
/// that is to stay small; one that needs much of it again at once would pay for it.
pub fn give_back_within(milliseconds: isize) -> Result<(), Failure> {
    for name in DECAY {
        let mut value = milliseconds;
        // SAFETY: the name ends with a nul, nothing is read back, and the new value is of the type and size that
        // jemalloc documents for it (ssize_t); it is copied before the call returns.
        let failed = unsafe {
            _rjem_mallctl(
                name.as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                (&raw mut value).cast(),
                size_of::<isize>(),
            )
        };
        if failed != 0 {
            let name = name.to_string_lossy();
            return Err(Failure::new(format!(
                "the allocator does not take {name} = {milliseconds}: error {failed}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_what_it_is_asked() {
        assert!(give_back_within(100).is_ok());
        assert!(give_back_within(-7).is_err(), "no time");
    }
}
