//! Text and bytes that a kernel makes while it runs, and where borrowed text points to.
//!
//! A closure that returns a `String` gives it to the arena and passes on a `&str`. A column of text is written as
//! views: into the input's own buffers where the text is a slice of the input (no copy), into the arena's blocks where
//! it was made there (one copy, already done), else copied.

use std::cell::RefCell;

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_buffer::Buffer;
use arrow_schema::DataType;

const BLOCK: usize = 64 * 1024;

/// A bump allocator of bytes; addresses stay until it is dropped.
#[derive(Debug, Default)]
pub struct Arena {
    blocks: RefCell<Vec<Vec<u8>>>,
}

impl Arena {
    /// Copies bytes into the arena.
    pub fn bytes(&self, bytes: &[u8]) -> &[u8] {
        let mut blocks = self.blocks.borrow_mut();
        let fits = blocks.last().is_some_and(|b| b.capacity() - b.len() >= bytes.len());
        if !fits {
            blocks.push(Vec::with_capacity(BLOCK.max(bytes.len())));
        }
        let Some(block) = blocks.last_mut() else { return &[] };
        let start = block.len();
        block.extend_from_slice(bytes);
        // SAFETY: the block has room for `bytes`, so `extend_from_slice` did not move it, and a block is never pushed
        // beyond its capacity, truncated or dropped before the arena; the slice stays valid and unaliased for `&self`.
        unsafe { std::slice::from_raw_parts(block.as_ptr().add(start), bytes.len()) }
    }
    /// Copies text into the arena.
    pub fn text(&self, text: &str) -> &str {
        // SAFETY: the bytes are a copy of a `str`.
        unsafe { std::str::from_utf8_unchecked(self.bytes(text.as_bytes())) }
    }
    fn locate(&self, address: usize, len: usize) -> Option<(u32, u32)> {
        let blocks = self.blocks.borrow();
        blocks.iter().enumerate().rev().find_map(|(i, b)| within(b.as_ptr() as usize, b.len(), address, len).map(|at| (i as u32, at)))
    }
    /// The block that is being filled holds what was made for the current row.
    #[inline]
    fn locate_last(&self, address: usize, len: usize) -> Option<(u32, u32)> {
        let blocks = self.blocks.borrow();
        let b = blocks.last()?;
        within(b.as_ptr() as usize, b.len(), address, len).map(|at| (blocks.len() as u32 - 1, at))
    }
    /// Turns the blocks into Arrow buffers, without a copy.
    pub(crate) fn seal(self) -> Vec<Buffer> {
        self.blocks.into_inner().into_iter().map(Buffer::from_vec).collect()
    }
}

fn within(start: usize, size: usize, address: usize, len: usize) -> Option<u32> {
    let at = address.checked_sub(start)?;
    if at + len <= size { u32::try_from(at).ok() } else { None }
}

/// What writers need to know about the running kernel: which buffers text may point into.
#[derive(Debug)]
pub struct Env<'a> {
    buffers: &'a [Buffer],
    arena: Option<&'a Arena>,
}

impl<'a> Env<'a> {
    /// Text may point into these buffers of the input, or into the arena.
    pub fn new(buffers: &'a [Buffer], arena: &'a Arena) -> Self {
        Env { buffers, arena: Some(arena) }
    }
    /// Text is always copied.
    pub const COPY: Env<'static> = Env { buffers: &[], arena: None };

    /// Buffer number and offset of bytes that lie in a known buffer. `hint` is the buffer that hit last.
    #[inline]
    pub(crate) fn locate(&self, bytes: &[u8], hint: &mut usize) -> Option<(u32, u32)> {
        let (address, len) = (bytes.as_ptr() as usize, bytes.len());
        if let Some(b) = self.buffers.get(*hint)
            && let Some(at) = within(b.as_ptr() as usize, b.len(), address, len)
        {
            return Some((*hint as u32, at));
        }
        if let Some(arena) = self.arena
            && let Some((i, at)) = arena.locate_last(address, len)
        {
            return Some((self.buffers.len() as u32 + 1 + i, at));
        }
        for (i, b) in self.buffers.iter().enumerate() {
            if let Some(at) = within(b.as_ptr() as usize, b.len(), address, len) {
                *hint = i;
                return Some((i as u32, at));
            }
        }
        // buffer numbers: the input's, then the writer's own, then the arena's blocks
        self.arena?.locate(address, len).map(|(i, at)| (self.buffers.len() as u32 + 1 + i, at))
    }
    /// Number that the writer's own buffer gets.
    pub(crate) fn own_buffer(&self) -> u32 {
        self.buffers.len() as u32
    }
}

/// The buffers of finished columns: the input's and the sealed arena's.
#[derive(Debug, Default)]
pub struct Buffers {
    input: Vec<Buffer>,
    arena: Vec<Buffer>,
}

impl Buffers {
    /// The buffers that an [`Env`] pointed into.
    pub(crate) fn new(input: Vec<Buffer>, arena: Arena) -> Self {
        Buffers { input, arena: arena.seal() }
    }
    /// All buffers of a column, in the order of the numbers that [`Env`] gave.
    pub(crate) fn with_own(&self, own: Vec<u8>) -> Vec<Buffer> {
        self.input.iter().cloned().chain([Buffer::from_vec(own)]).chain(self.arena.iter().cloned()).collect()
    }
}

/// The buffers that text read from `array` may point into.
pub(crate) fn text_buffers(array: &ArrayRef, out: &mut Vec<Buffer>) {
    match array.data_type() {
        DataType::Utf8 => out.push(array.as_string::<i32>().values().clone()),
        DataType::LargeUtf8 => out.push(array.as_string::<i64>().values().clone()),
        DataType::Utf8View => out.extend(array.as_string_view().data_buffers().iter().cloned()),
        DataType::Binary => out.push(array.as_binary::<i32>().values().clone()),
        DataType::LargeBinary => out.push(array.as_binary::<i64>().values().clone()),
        DataType::BinaryView => out.extend(array.as_binary_view().data_buffers().iter().cloned()),
        DataType::Dictionary(_, _) => {
            if let Some(d) = array.as_any_dictionary_opt() {
                text_buffers(d.values(), out);
            }
        }
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|c| text_buffers(c, out)),
        DataType::List(_) => text_buffers(array.as_list::<i32>().values(), out),
        _ => {}
    }
}
