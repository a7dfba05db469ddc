//! Configuration: defaults, then file, then environment, then flags; complete and checked before any socket opens.
