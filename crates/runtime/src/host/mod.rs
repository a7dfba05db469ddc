//! One host for each shape: decider, engine, projection.
