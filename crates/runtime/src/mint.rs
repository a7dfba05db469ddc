//! The only source of chance and of new ids.
