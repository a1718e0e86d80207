//! The structs beside a record, and its implementations. Whatever does not name a field is in the library.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::Type;

use super::model::{Record, Shape};
use super::shapes::{array, plain, through};
use crate::common::{bare, name_type, span_of};

/// A field, as it is written in the output.
struct Column<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    /// Its place in the structs that nobody sees.
    slot: Ident,
    /// Ours, at the field's type.
    span: Span,
    row: TokenStream,
    /// Whether the macro knows the type by name.
    known: bool,
}

pub(super) fn expand(record: &Record) -> TokenStream {
    if matches!(record.shape, Shape::Generic(..)) {
        return TokenStream::new();
    }
    let mut borrows = false;
    let mut columns: Vec<Column<'_>> = record
        .fields
        .iter()
        .enumerate()
        .map(|(i, f)| {
            let span = Span::mixed_site().located_at(span_of(&f.ty));
            let plain = plain(&f.ty, span);
            let known = plain.is_some();
            let (row, borrowed) = plain.unwrap_or_else(|| (through(&f.ty, span), true));
            borrows |= borrowed;
            Column { ident: &f.ident, ty: &f.ty, slot: format_ident!("f{i}", span = Span::mixed_site()), span, row, known }
        })
        .collect();
    if let Some(last) = columns.last_mut().filter(|_| !borrows) {
        // a struct must use its lifetime: `<f64 as Value>::Ref<'a>` is `f64`
        last.row = through(last.ty, last.span);
    }
    let beside = beside(record, &columns);
    let as_record = as_record(record, &columns);
    let as_value = as_value(record, &columns);
    let lookups = lookups(record, &columns);
    ours! {
        #beside
        #[doc(hidden)]
        #[allow(non_camel_case_types, trivial_bounds, private_bounds, clippy::all, clippy::pedantic)]
        const _: () = {
            #as_record
            #as_value
            #lookups
        };
    }
}

/// Stands in for fields where a struct would have none.
fn marker(columns: &[Column<'_>]) -> TokenStream {
    if columns.is_empty() { ours!(__none: ::core::marker::PhantomData<&'a ()>,) } else { TokenStream::new() }
}
fn marked(columns: &[Column<'_>]) -> TokenStream {
    if columns.is_empty() { ours!(__none: ::core::marker::PhantomData,) } else { TokenStream::new() }
}

/// `TradeRow`, `TradeCols`, `TradeBatch`: what users meet.
fn beside(record: &Record, columns: &[Column<'_>]) -> TokenStream {
    let bounds = bounds(columns);
    let Record { vis, ident, fields, .. } = record;
    let name = bare(ident);
    let [row, cols, batch] = ["Row", "Cols", "Batch"].map(|suffix| format_ident!("{}{suffix}", name, span = ident.span()));
    let docs: Vec<_> = fields.iter().map(|f| &f.doc).collect();
    let field_vis: Vec<_> = fields.iter().map(|f| &f.vis).collect();
    let idents: Vec<_> = columns.iter().map(|c| c.ident).collect();
    let rows = columns.iter().map(|c| &c.row);
    let col_types = columns.iter().map(|c| {
        let ty = c.ty;
        quote_spanned!(c.span=> ::sabot::__private::Col<#ty>)
    });
    let arrays: Vec<_> = columns.iter().map(|c| array(c.ty, c.span)).collect();
    let names = fields.iter().map(|f| &f.name);
    let marker = marker(columns);
    let about = |what: &str| format!("{what} [`{name}`].");
    let (row_doc, cols_doc, batch_doc) = (
        about("A row, borrowed from its columns: what closures see of"),
        about("The columns by name: what `key_by` sees of"),
        about("The columns of a batch as Arrow arrays, of"),
    );
    ours! {
        #[doc = #row_doc]
        #[allow(dead_code, non_snake_case, trivial_bounds, private_bounds, private_interfaces)]
        #vis struct #row<'a> #bounds { #(#[doc = #docs] #field_vis #idents: #rows,)* #marker }
        #[doc = #cols_doc]
        #[allow(dead_code, non_snake_case, trivial_bounds, private_bounds, private_interfaces)]
        #vis struct #cols { #(#[doc = #docs] #field_vis #idents: #col_types,)* }
        #[doc = #batch_doc]
        #[allow(dead_code, non_snake_case, trivial_bounds, private_bounds, private_interfaces)]
        #vis trait #batch #bounds { #(#[doc = #docs] fn #idents(&self) -> &#arrays;)* }
        #[automatically_derived]
        #[allow(non_snake_case, trivial_bounds)]
        impl #batch for ::sabot::__private::Batch<#ident> #bounds {
            #(fn #idents(&self) -> &#arrays { self.column(#names) })*
        }
    }
}

/// `Record`, and what a row needs.
fn as_record(record: &Record, columns: &[Column<'_>]) -> TokenStream {
    let bounds = bounds(columns);
    let Record { ident, fields, .. } = record;
    let name = bare(ident);
    let [row, cols] = ["Row", "Cols"].map(|suffix| format_ident!("{}{suffix}", name, span = ident.span()));
    let idents: Vec<_> = columns.iter().map(|c| c.ident).collect();
    let hidden: Vec<_> = columns.iter().map(|c| &c.slot).collect();
    let bare_names: Vec<_> = columns.iter().map(|c| bare(c.ident)).collect();
    let values: Vec<_> = columns.iter().map(as_value_of).collect();
    let names: Vec<_> = fields.iter().map(|f| &f.name).collect();
    let times = fields.iter().map(|f| f.event_time.map(|_| ours!(.with_event_time())));
    let time = if fields.iter().any(|f| f.event_time.is_some()) { ours!(HasTime) } else { ours!(NoTime) };
    let time_checks = fields.iter().zip(columns).filter(|(f, _)| f.event_time.is_some()).map(|(_, c)| {
        let ty = c.ty;
        quote_spanned!(c.span=> const _: fn(#ty) -> i64 = <#ty as ::sabot::__private::TimeColumn>::event_time;)
    });
    let (marker, marked) = (marker(columns), marked(columns));
    ours! {
        #[automatically_derived]
        impl ::core::clone::Clone for #row<'_> #bounds {
            #[inline(always)]
            fn clone(&self) -> Self { *self }
        }
        #[automatically_derived]
        impl ::core::marker::Copy for #row<'_> #bounds {}
        #[automatically_derived]
        impl ::core::fmt::Debug for #row<'_> #bounds {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::sabot::__private::debug_row(f, #name, &[#((#bare_names, &self.#idents)),*])
            }
        }

        pub struct __Read<'a> #bounds { #(#hidden: #values::Read<'a>,)* #marker }
        impl ::core::clone::Clone for __Read<'_> #bounds {
            #[inline(always)]
            fn clone(&self) -> Self { *self }
        }
        impl ::core::marker::Copy for __Read<'_> #bounds {}
        pub struct __Chunk<'a> #bounds { #(#hidden: #values::Chunk<'a>,)* #marker }
        impl ::core::clone::Clone for __Chunk<'_> #bounds {
            #[inline(always)]
            fn clone(&self) -> Self { *self }
        }
        impl ::core::marker::Copy for __Chunk<'_> #bounds {}

        #[automatically_derived]
        impl ::sabot::__private::Record for #ident #bounds {
            type Row<'a> = #row<'a>;
            type Cols = #cols;
            type Time = ::sabot::__private::#time;
            type Read<'a> = __Read<'a>;
            type Chunk<'a> = __Chunk<'a>;
            const NAME: &'static str = #name;
            fn cols() -> Self::Cols {
                #cols { #(#idents: ::sabot::__private::Col::new(#names),)* }
            }
            fn columns(out: &mut ::std::vec::Vec<::sabot::__private::Column>) {
                #(out.push(#values::column(#bare_names, #names) #times);)*
            }
            fn read<'a>(from: &mut ::sabot::__private::Reader<'a>) -> Self::Read<'a> {
                __Read { #(#hidden: #values::read(from.take()),)* #marked }
            }
            #[inline(always)]
            fn chunk<'a>(read: Self::Read<'a>, at: ::sabot::__private::Window) -> Self::Chunk<'a> {
                __Chunk { #(#hidden: #values::chunk(read.#hidden, at),)* #marked }
            }
            #[inline(always)]
            fn row<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: ::sabot::__private::Lane) -> Self::Row<'a> {
                #row { #(#idents: #values::lane::<VALID>(chunk.#hidden, lane),)* #marked }
            }
        }
        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl ::sabot::__private::IsRecord for #ident #bounds {
            type Itself = Self;
        }
        #[automatically_derived]
        impl ::sabot::__private::Named for #ident #bounds {
            #[inline(always)]
            fn value_ref<'a>(row: <Self as ::sabot::__private::Record>::Row<'a>) -> <Self as ::sabot::__private::Value>::Ref<'a> { row }
            #[inline(always)]
            fn row_ref<'a>(value: <Self as ::sabot::__private::Value>::Ref<'a>) -> <Self as ::sabot::__private::Record>::Row<'a> { value }
        }
        #(#time_checks)*
    }
}

/// `Value`: the record as a column of another one, and as an owned row.
fn as_value(record: &Record, columns: &[Column<'_>]) -> TokenStream {
    let bounds = bounds(columns);
    let Record { ident, shape, .. } = record;
    let row = format_ident!("{}Row", bare(ident), span = ident.span());
    let idents: Vec<_> = columns.iter().map(|c| c.ident).collect();
    let hidden: Vec<_> = columns.iter().map(|c| &c.slot).collect();
    let values: Vec<_> = columns.iter().map(as_value_of).collect();
    let marked = marked(columns);
    let borrow =
        if record.misread { ours!(::core::unreachable!()) } else { ours!(#row { #(#idents: #values::borrow(&self.#idents),)* #marked }) };
    let own = if matches!(shape, Shape::Named) && !record.misread {
        ours!(#ident { #(#idents: #values::own(value.#idents),)* })
    } else {
        ours!(::core::unreachable!())
    };
    ours! {
        pub struct __Write #bounds { #(#hidden: #values::Write,)* }

        #[automatically_derived]
        impl ::sabot::__private::Value for #ident #bounds {
            type Ref<'a> = #row<'a>;
            type Array = ::sabot::__private::arrow_array::StructArray;
            type Read<'a> = __Read<'a>;
            type Chunk<'a> = __Chunk<'a>;
            type Write = __Write;
            type Fails = ::sabot::__private::Never;
            type Good = Self;
            type Nulled = Self;
            type OrNull = ::core::option::Option<Self>;
            const FIXED: bool = ::sabot::__private::all_fixed(&[#(#values::FIXED),*]);
            fn data_type() -> ::sabot::__private::arrow_schema::DataType { ::sabot::__private::struct_type::<Self>() }
            fn accept(array: &::sabot::__private::arrow_array::ArrayRef) -> ::core::result::Result<::sabot::__private::arrow_array::ArrayRef, ::sabot::__private::Mismatch> {
                ::sabot::__private::accept_struct::<Self>(array)
            }
            fn read<'a>(array: ::core::option::Option<&'a ::sabot::__private::arrow_array::ArrayRef>) -> Self::Read<'a> {
                ::sabot::__private::read_struct::<Self>(array)
            }
            #[inline(always)]
            fn chunk<'a>(read: Self::Read<'a>, at: ::sabot::__private::Window) -> Self::Chunk<'a> {
                <Self as ::sabot::__private::Record>::chunk(read, at)
            }
            // a valid struct may have null children
            #[inline(always)]
            fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: ::sabot::__private::Lane) -> Self::Ref<'a> {
                <Self as ::sabot::__private::Record>::row::<false>(chunk, lane)
            }
            #[inline(always)]
            fn blank<'a>() -> Self::Ref<'a> { #row { #(#idents: #values::blank(),)* #marked } }
            fn borrow(&self) -> Self::Ref<'_> { #borrow }
            fn own(value: Self::Ref<'_>) -> Self { #own }
        }
        #[automatically_derived]
        impl ::sabot::__private::NotNull for #ident #bounds {}
        #[automatically_derived]
        impl ::sabot::__private::Writer<#ident> for __Write #bounds {
            fn new(rows: usize) -> Self { __Write { #(#hidden: ::sabot::__private::Writer::new(rows),)* } }
            #[inline(always)]
            fn put(&mut self, at: usize, value: #row<'_>, env: &::sabot::__private::Env<'_>) {
                #(::sabot::__private::Writer::put(&mut self.#hidden, at, value.#idents, env);)*
            }
            #[inline(always)]
            fn shift(&mut self, from: usize, to: usize) {
                #(::sabot::__private::Writer::shift(&mut self.#hidden, from, to);)*
            }
            fn finish(self, rows: usize, buffers: &::sabot::__private::Buffers) -> ::sabot::__private::arrow_array::ArrayRef {
                ::sabot::__private::finish_struct::<#ident>(rows, ::std::vec![#(::sabot::__private::Writer::finish(self.#hidden, rows, buffers)),*])
            }
        }
        #[automatically_derived]
        impl<'a> ::sabot::__private::Cell<'a, #ident> for #row<'a> #bounds {
            #[inline(always)]
            fn cell(self, _make: ::sabot::__private::Make<'a>) -> ::sabot::__private::Slot<'a, #ident> { ::sabot::__private::Slot::good(self) }
        }
        #[automatically_derived]
        impl ::sabot::__private::Flat for #row<'_> #bounds {}
    }
}

/// `HasColumn`, one per column, by the name of the field.
fn lookups(record: &Record, columns: &[Column<'_>]) -> TokenStream {
    let bounds = bounds(columns);
    let ident = &record.ident;
    // a column of a private type cannot be looked up from where that type is not known
    let text = |vis: &syn::Visibility| quote::ToTokens::to_token_stream(vis).to_string();
    let open = |f: &super::model::Field| text(&f.vis) == text(&record.vis);
    columns
        .iter()
        .zip(&record.fields)
        .filter(|(c, f)| c.known || open(f))
        .map(|(c, _)| {
            let (field, ty) = (c.ident, c.ty);
            let name = name_type(&bare(field), Span::mixed_site());
            let here = c.span;
            let value = quote_spanned!(here=> type V = #ty;);
            ours! {
                #[automatically_derived]
                impl ::sabot::__private::HasColumn<#name, ::sabot::__private::Here> for #ident #bounds {
                    #value
                    #[inline(always)]
                    fn get<'a>(row: &Self::Row<'a>) -> <Self::V as ::sabot::__private::Value>::Ref<'a> { row.#field }
                }
            }
        })
        .collect()
}

/// `where Leg: Value` for the types that the macro does not know. If one is no `Value`, the compiler says so once, here,
/// instead of once for each use of it.
fn bounds(columns: &[Column<'_>]) -> TokenStream {
    let mut bounds = columns.iter().filter(|c| !c.known).map(as_bound).peekable();
    if bounds.peek().is_none() {
        return TokenStream::new();
    }
    ours!(where #(#bounds,)*)
}

fn as_bound(column: &Column<'_>) -> TokenStream {
    let ty = column.ty;
    quote_spanned!(column.span=> #ty: ::sabot::__private::Value)
}

/// `<f64 as Value>`, at the field's type.
fn as_value_of(column: &Column<'_>) -> TokenStream {
    let ty = column.ty;
    quote_spanned!(column.span=> <#ty as ::sabot::__private::Value>)
}
