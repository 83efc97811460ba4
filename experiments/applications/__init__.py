"""What the library is for: a task of the clinic each, on real data, judged with care."""
