//! The shell against name servers played by hand.
