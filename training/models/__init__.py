"""Networks: one architecture per file, nothing about data, loss or logging."""
