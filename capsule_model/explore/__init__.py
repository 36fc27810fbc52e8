"""Every sequence of operations up to a bound, with invariants in each state, and the shortest that breaks one."""
