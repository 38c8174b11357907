"""What runs say: rows, tables, series and insights."""
