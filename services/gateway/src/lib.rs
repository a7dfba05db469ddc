//! The edge: REST from the annotations, API keys, tenant scoping, one page.
