"""`trackops status` and `trackops doctor`: the whole system on one screen, and what ails it."""
