pub(crate) fn attribute(_o: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream { item }
