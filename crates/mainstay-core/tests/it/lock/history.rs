//! A log of who held what when, judged afterwards.
