//! /livez, /readyz and gRPC health: ready means caught up, not merely started.
