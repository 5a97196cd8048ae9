"""What every stage owes its files: whole or absent, with a record of how they were made."""
