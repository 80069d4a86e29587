"""How fast, and beside what: every contestant first gives the same answers, then both sides are timed in one run."""
