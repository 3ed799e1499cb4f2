//! What a call's phones saw, made up, and what it says of the call.
